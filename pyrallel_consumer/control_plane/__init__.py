"""What is decided: assignments, order, offsets to commit, backpressure; pure."""
