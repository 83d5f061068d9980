"""What running consumers show over HTTP."""
