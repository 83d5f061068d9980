"""Of the Ray engine, what needs no Ray."""
