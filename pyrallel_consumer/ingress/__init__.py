"""Talks to Kafka: the only package that imports confluent_kafka.

``broker_poller`` is the loop's handle on the poll thread, which lives in ``polling`` and alone calls the consuming
client. Its decisions are pure, in ``reading``. ``producing`` writes dead letters, ``client`` has the client's settings,
errors and events, ``admin`` the look-ups of commands. Begin with ``polling``.
"""
