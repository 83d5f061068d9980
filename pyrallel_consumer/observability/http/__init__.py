"""The endpoint: one server for all consumers of a process, and its paths (``routes``)."""
