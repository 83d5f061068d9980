"""Records that workers return: when each is written, and what happens to refused ones. Pure."""
