"""The edges of the Kafka client: its configuration from our settings, its errors as ours, and its callbacks.

Begin with ``client_settings``.
"""
