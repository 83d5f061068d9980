"""Talks to Kafka. The only package that imports confluent_kafka.

``broker_poller`` is the loop's handle on the poll thread. The thread is in ``polling``, and only it calls the consuming
client. Its decisions are pure, in ``reading``. ``producing`` writes dead letters and records, ``client`` has the
client's settings, errors and events, ``admin`` the look-ups of commands. Begin with ``polling``.
"""
