"""Rules 6, 10, 13 and 20 for messages that are handed on: once, in order, and in time."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from pyrallel_consumer.control_plane.events import Delivered
from pyrallel_consumer.dto import Message, TopicPartition
from pyrallel_consumer.ingress.reading.read_ahead import ReadAhead
from tests.simulation.oracles.verdict import RuleBroken


def rule_20_reads_ahead_within_bounds(ready: int, limit: int) -> None:
    if ready >= limit:
        raise RuleBroken("20", f"more is read though {ready} messages of {limit} wait to be handed on")


def rule_20_no_more_than_granted(facts: Sequence[Delivered], credit: int) -> None:
    messages = sum(len(fact.messages) for fact in facts)
    if messages > max(0, credit):
        raise RuleBroken("20", f"{messages} messages are handed on, {credit} were granted")


def rule_6_hands_on_only_what_is_assigned(fact: Delivered, current_epoch: int | None) -> None:
    if fact.epoch != current_epoch:
        raise RuleBroken("6", f"{fact} is handed on while epoch {current_epoch} is current")


def rule_10_hands_nothing_on_of_paused_partitions(fact: Delivered, paused: Collection[TopicPartition]) -> None:
    if fact.tp in paused:
        raise RuleBroken("10", f"{fact} is handed on of a paused partition")


def rule_13_hands_on_in_the_order_of_the_log(fact: Delivered, unheard: Sequence[Message]) -> None:
    """``unheard`` are the messages of the partition that were read and not handed on, as a plain list."""
    expected = unheard[: len(fact.messages)]
    if len(expected) != len(fact.messages) or any(a is not b for a, b in zip(expected, fact.messages, strict=True)):
        raise RuleBroken("13", f"{fact} is handed on where {expected} was next")


def rule_20_nothing_is_forgotten(read_ahead: ReadAhead, unheard: Mapping[TopicPartition, Sequence[Message]]) -> None:
    """A partition's position may be reported only while none of its messages is kept."""
    kept = {tp for tp in unheard if tp in read_ahead}
    expected = {tp for tp, messages in unheard.items() if messages}
    if kept != expected or read_ahead.messages != sum(map(len, unheard.values())):
        raise RuleBroken("20", f"{read_ahead.messages} messages of {kept} are kept, and should be of {expected}")
