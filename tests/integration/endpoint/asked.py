"""Questions to a consumer's endpoint, and their answers."""

from __future__ import annotations

import asyncio
import json
import time
import urllib.error
import urllib.request
from http import HTTPStatus
from typing import Any

from prometheus_client.parser import text_string_to_metric_families

from pyrallel_consumer import MetricsConfig, PyrallelConsumer

LONGEST_ANSWER_SECONDS = 20.0
Samples = dict[tuple[str, tuple[tuple[str, str], ...]], float]


def got(address: tuple[str, int] | None, path: str, method: str = "GET") -> tuple[int, str]:
    """Status and body of any answer, refusals included."""
    assert address is not None
    request = urllib.request.Request(f"http://{address[0]}:{address[1]}{path}", method=method)
    try:
        with urllib.request.urlopen(request, timeout=LONGEST_ANSWER_SECONDS) as answer:  # noqa: S310 -- it is http
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as refusal:
        with refusal:
            return refusal.code, refusal.read().decode()


def scraped(text: str) -> Samples:
    """The samples of a page of metrics by name and sorted labels."""
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


async def ask(consumer: PyrallelConsumer, path: str) -> tuple[int, str]:
    return await asyncio.to_thread(got, consumer.metrics_address, path)


async def ask_json(consumer: PyrallelConsumer, path: str) -> tuple[int, Any]:
    status, text = await ask(consumer, path)
    return status, json.loads(text)


async def reasons(consumer: PyrallelConsumer, path: str = "/readyz") -> list[str]:
    """The reasons why a single consumer is not ready; the status must agree."""
    status, document = await ask_json(consumer, path)
    [one] = document["consumers"]
    assert (status == HTTPStatus.OK) == (document["status"] == one["status"] == "ok") == (not one["reasons"])
    return [reason["reason"] for reason in one["reasons"]]


async def until_reasons(consumer: PyrallelConsumer, wanted: list[str]) -> None:
    deadline = time.monotonic() + LONGEST_ANSWER_SECONDS
    while (found := await reasons(consumer)) != wanted:
        assert time.monotonic() < deadline, f"{found}, not {wanted}"
        await asyncio.sleep(0.02)


def metered(port: int = 0, **more: Any) -> MetricsConfig:
    return MetricsConfig(enabled=True, port=port, **more)
