"""A consumer without a broker, for tests. ``consumer_kit`` is the beginning; nothing here is loaded unless asked for.

``life`` is one run of the real consumer in a ``world`` of the kit's own: ``memory_kafka``, ``memory_poller``,
``memory_producer``, ``clock``. ``mover`` moves the clock and knows when all is settled, ``ledger`` what became of each
message.
"""
