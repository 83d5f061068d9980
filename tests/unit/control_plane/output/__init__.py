"""Records that workers return: when they are written, and what happens to refused ones."""
