"""Records that workers return: which of them are written when, and what becomes of those that are refused. Pure."""
