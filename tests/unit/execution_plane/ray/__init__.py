"""The parts of the Ray engine that need no Ray."""
