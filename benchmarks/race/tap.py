"""The tap: notes when confluent-kafka delivers messages, whichever program polls. To be opened before their import."""

from __future__ import annotations

from typing import Any

import confluent_kafka

from race.stopwatch import Stopwatch


def open_tap(stopwatch: Stopwatch) -> None:
    """From now on ``confluent_kafka.Consumer`` is a class that reports its deliveries to ``stopwatch``."""
    client = confluent_kafka.Consumer

    class Tapped(client):  # type: ignore[misc, valid-type]
        def poll(self, *given: Any, **named: Any) -> Any:
            message = super().poll(*given, **named)
            if message is not None and message.error() is None:
                stopwatch.deliver((message,))
            return message

        def consume(self, *given: Any, **named: Any) -> Any:
            messages = super().consume(*given, **named)
            if messages:
                stopwatch.deliver([message for message in messages if message.error() is None])
            return messages

    confluent_kafka.Consumer = Tapped  # type: ignore[misc]
