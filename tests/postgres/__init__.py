"""Workers that write to a real PostgreSQL: every row once in effect."""
