"""The answer of ``/readyz`` about a consumer of the test's own process."""

from __future__ import annotations

import json
import urllib.error
import urllib.request

from pyrallel_consumer import PyrallelConsumer


def reasons(consumer: PyrallelConsumer) -> list[str]:
    """The reasons why it is not ready."""
    assert consumer.metrics_address is not None
    host, port = consumer.metrics_address
    try:
        with urllib.request.urlopen(f"http://{host}:{port}/readyz", timeout=10) as answer:
            document = json.load(answer)
    except urllib.error.HTTPError as refusal:
        with refusal:
            document = json.load(refusal)
    return [reason["reason"] for reason in document["consumers"][0]["reasons"]]
