"""What runs the user's worker: one engine contract, several engines."""
