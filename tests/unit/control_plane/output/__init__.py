"""Records that workers return: when they are written, and what becomes of them."""
