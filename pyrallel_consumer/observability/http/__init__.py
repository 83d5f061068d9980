"""The endpoint: one server for all consumers of a process, and which path is answered by what (``routes``)."""
