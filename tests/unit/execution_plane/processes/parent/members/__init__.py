"""What the engines record of each worker process."""
