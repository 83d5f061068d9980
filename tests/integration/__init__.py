"""The whole consumer on the embedded broker."""
