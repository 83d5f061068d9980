"""``run --check`` of the dead letters: where they go, and whether they are kept long enough."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from pyrallel_consumer.cli.check.table import Finding, Verdict
from pyrallel_consumer.cli.run.settings import RunSettings
from pyrallel_consumer.dto import OnExhausted
from pyrallel_consumer.ingress.admin.admin_look import AdminLook
from pyrallel_consumer.ingress.client.client_events import ClientLog
from pyrallel_consumer.ingress.client.client_settings import admin_configuration
from pyrallel_consumer.ingress.reading.subscription import Subscription, check_letter_topics

SUBJECT: Final = "dead letters"
SECONDS: Final = 5.0
HOUR_MS: Final = 3_600_000
SHORT_RETENTION_MS: Final = 7 * 24 * HOUR_MS
"""Kafka's default retention; with less, letters may be deleted before anybody looks at them."""


def check_letters(settings: RunSettings, subscription: Subscription) -> None:
    """Raise ConfigurationError if the name of a dead-letter topic is not valid."""
    if _on_exhausted(settings) is OnExhausted.DLQ:
        check_letter_topics(subscription, settings.kafka.dlq_topic_suffix)


def letters_checked(settings: RunSettings, topics: Iterable[str], known: Iterable[str]) -> list[Finding]:
    """The findings about the dead-letter topics of ``topics``; ``known`` are all existing topics."""
    on_exhausted = _on_exhausted(settings)
    if on_exhausted is not OnExhausted.DLQ:
        return [Finding(SUBJECT, Verdict.OK, f"none: after the last attempt on_exhausted = {on_exhausted}")]
    names = [f"{name}{settings.kafka.dlq_topic_suffix}" for name in topics]
    missing = [name for name in names if name not in known]
    findings = []
    if missing:
        sentence = f"{', '.join(missing)}: not there; create it unless the brokers do, or failed messages wait for it"
        findings.append(Finding(SUBJECT, Verdict.WARNING, sentence))
    there = [name for name in names if name in known]
    if there:
        configuration = admin_configuration(settings.kafka) | {"logger": ClientLog(time.monotonic)}
        told = AdminLook(configuration, time.monotonic).topic_settings(there, SECONDS)
        sentences = [sentence for name, found in told.items() for sentence in warnings_of(name, found)]
        findings += [Finding(SUBJECT, Verdict.WARNING, sentence) for sentence in sentences]
    return findings or [Finding(SUBJECT, Verdict.OK, f"to {', '.join(names)}")]


def warnings_of(topic: str, settings: Mapping[str, str]) -> Sequence[str]:
    """The settings of a dead-letter topic that lose letters."""
    found = []
    policies = settings.get("cleanup.policy", "delete").split(",")
    if "compact" in policies:
        found.append(f"{topic}: cleanup.policy={','.join(policies)} keeps one letter of each key; set it to delete")
    retention_ms = _number(settings.get("retention.ms"))
    if "delete" in policies and retention_ms is not None and 0 <= retention_ms < SHORT_RETENTION_MS:
        hours = f"{retention_ms / HOUR_MS:.3g} h"
        found.append(f"{topic}: retention.ms={retention_ms} deletes letters after {hours}; raise it, or look sooner")
    retention_bytes = _number(settings.get("retention.bytes"))
    if "delete" in policies and retention_bytes is not None and retention_bytes >= 0:
        found.append(f"{topic}: retention.bytes={retention_bytes} deletes the oldest of many letters; set it to -1")
    return found


def _on_exhausted(settings: RunSettings) -> OnExhausted:
    return settings.execution.exhaustion(dlq_enabled=settings.kafka.dlq_enabled)


def _number(text: str | None) -> int | None:
    try:
        return int(text) if text is not None else None
    except ValueError:
        return None
