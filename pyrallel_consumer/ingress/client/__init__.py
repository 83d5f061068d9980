"""The Kafka client's edges: our settings in its words, its errors in ours, what it reports from its callbacks.

Begin with ``client_settings``.
"""
