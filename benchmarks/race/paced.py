"""The sender of paced messages: a process of its own that sends each one at its moment, whatever the others do."""

from __future__ import annotations

import json
import sys
import time
from typing import Any, Final

from confluent_kafka import Producer

from race.lap_plan import INTENDED_DIGITS, PLAIN
from race.traffic import Traffic

FLUSH_SECONDS: Final = 30.0
SPIN_SECONDS: Final = 0.0005
LEAD_SECONDS: Final = 0.3


def send(order: dict[str, Any]) -> None:
    """Every message carries the moment at which it should have been sent; a late sender does not move it."""
    producer = Producer({"bootstrap.servers": order["bootstrap_servers"], "linger.ms": 0, "acks": 1})
    producer.list_topics(order["topic"], timeout=FLUSH_SECONDS)
    keys = Traffic(**order["traffic"]).key_numbers()
    burst, per_second = order["burst"], order["per_second"]
    rest = PLAIN + b"x" * (order["value_bytes"] - INTENDED_DIGITS - 1)
    begin_ns = time.perf_counter_ns() + int(LEAD_SECONDS * 1e9)
    for number, key in enumerate(keys):
        intended_ns = begin_ns + int(number // burst * burst / per_second * 1e9)
        while (ahead_ns := intended_ns - time.perf_counter_ns()) > 0:
            producer.poll(min(ahead_ns / 1e9, SPIN_SECONDS))
        producer.produce(order["topic"], b"%0*d" % (INTENDED_DIGITS, intended_ns) + rest, b"key-%d" % key)
    left = producer.flush(FLUSH_SECONDS)
    if left:
        raise RuntimeError(f"{left} messages were not sent within {FLUSH_SECONDS:.0f} s")


if __name__ == "__main__":
    send(json.loads(sys.argv[1]))
