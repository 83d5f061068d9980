"""Carries out ``dlq list``, ``show`` and ``replay``, from the settings to the exit code."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType
from typing import Self

from rich.console import Console

from pyrallel_consumer.cli.command import EXIT_FAILED, EXIT_OK, EXIT_SIGNALLED, kafka_config
from pyrallel_consumer.cli.dlq.bookmark import bookmark_of
from pyrallel_consumer.cli.dlq.counts import Counts, table_of
from pyrallel_consumer.cli.dlq.filter import LetterFilter, parse_filters
from pyrallel_consumer.cli.dlq.letter import StoredLetter, letter_of
from pyrallel_consumer.cli.dlq.listing import LISTED_TEXTS, Listing
from pyrallel_consumer.cli.dlq.plan import Where
from pyrallel_consumer.cli.dlq.progress import Display, display_for
from pyrallel_consumer.cli.dlq.replay import Replay, ReplayPlan
from pyrallel_consumer.cli.dlq.shown import json_of, lines_of
from pyrallel_consumer.cli.table import print_table
from pyrallel_consumer.cli.terminal import complain, printable, say, say_json
from pyrallel_consumer.config import KafkaConfig
from pyrallel_consumer.control_plane.offsets.offset_map import OffsetMap
from pyrallel_consumer.dto import TopicPartition
from pyrallel_consumer.errors import PyrallelConsumerError, UnknownTopicError
from pyrallel_consumer.ingress.admin.dead_letter_reader import DeadLetterReader
from pyrallel_consumer.ingress.admin.record_sender import RecordSender
from pyrallel_consumer.ingress.admin.transactional_sender import TransactionalSender
from pyrallel_consumer.runtime.life.stop_signals import signals_to_take

COUNTED_TEXTS = (0, 1, 2, 3)
"""Columns of the counts that are text; the others are numbers."""


@dataclass(frozen=True, slots=True)
class ReplayOptions:
    """The options that only a replay has."""

    max_replays: int
    rate: float | None
    limit: int | None
    is_dry_run: bool
    allowed_topics: tuple[str, ...]
    is_exactly_once: bool = False


def run_list(where: Where, *, most_listed: int, as_json: bool) -> int:
    """Lists ``most_listed`` letters one by one.

    Raises a PyrallelConsumerError if the broker refuses or a setting does not fit.
    """
    config = kafka_config(where.bootstrap_servers)
    console = Console(highlight=False)
    suffix = config.dlq_topic_suffix
    name = where.topic_name(suffix)
    counts, listing = Counts(), Listing(most_listed)
    letter_filter = parse_filters(where.filters, _now_ms(), where.group)
    with display_for(console, "reading", time.monotonic) as display:
        topics = _topics(config, where, name, suffix)
        for dlq_topic, partitions in sorted(topics.items()):
            with DeadLetterReader(config, where.replay_group_of(dlq_topic)) as reader:
                tps = [TopicPartition(dlq_topic, number) for number in range(partitions)]
                for letter, is_replayed in _selected(reader, tps, letter_filter, display):
                    counts.add(letter, is_replayed=is_replayed)
                    listing.add(letter, is_replayed=is_replayed)
    rows = counts.rows()
    if not rows:
        say(f"No letters in {name or f'any topic that ends in {suffix}'}.")
    else:
        print_table(console, table_of(rows, _now_ms()), COUNTED_TEXTS)
    if listing.letters:
        say("")
        print_table(console, listing.table(), LISTED_TEXTS)
    if listing.left_out:
        say(f"and {listing.left_out:,} more letters: raise --limit, or choose some by --filter and --group")
    if as_json:
        found = {"ok": True, "topics": sorted(topics), "letters": counts.letters}
        listed = {"listed": listing.to_json()} if most_listed else {}
        say_json(found | {"counts": [row.to_json() for row in rows]} | listed)
    return EXIT_OK


def run_show(where: Where, partition: int, offset: int, *, as_json: bool) -> int:
    """Like ``run_list``; exit code 1 if the letter does not exist."""
    config = kafka_config(where.bootstrap_servers)
    name = where.topic_name(config.dlq_topic_suffix) or ""
    with DeadLetterReader(config, where.replay_group_of(name)) as reader:
        partitions = _partitions(reader, name, where.hint(config.dlq_topic_suffix))
        tp = TopicPartition(name, partition)
        low, end = reader.ends(tp) if partition < partitions else (0, 0)
        if low <= offset < end:
            for stored in reader.read(tp, offset, offset + 1):
                if stored is not None:
                    letter = letter_of(tp, stored.offset, stored.record)
                    say("\n".join(lines_of(letter)))
                    if as_json:
                        say_json({"ok": True, **json_of(letter)})
                    return EXIT_OK
    there = f"its letters are at {low} to {end - 1}" if low < end else "it has none"
    if partition >= partitions:
        there = f"{name} has {partitions} partitions"
    complain(f"Error: there is no letter {tp}@{offset}: {there}")
    return EXIT_FAILED


def run_replay(where: Where, options: ReplayOptions, *, as_json: bool) -> int:
    """Like ``run_list``; exit code 1 if a letter could not be sent back."""
    config = kafka_config(where.bootstrap_servers)
    name = where.topic_name(config.dlq_topic_suffix) or ""
    own_topic = where.source_topic(config.dlq_topic_suffix)
    plan = ReplayPlan(
        dlq_topic=name,
        group=where.replay_group_of(name),
        letter_filter=parse_filters(where.filters, _now_ms(), where.group),
        max_replays=options.max_replays,
        is_dry_run=options.is_dry_run,
        rate=options.rate,
        limit=options.limit,
        allowed_topics=frozenset(options.allowed_topics) | ({own_topic} if own_topic else set()),
    )
    console = Console(highlight=False)
    display = display_for(console, "replaying", time.monotonic)
    with _Signals() as signals, DeadLetterReader(config, plan.group) as reader:
        partitions = _partitions(reader, name, where.hint(config.dlq_topic_suffix))
        is_once = options.is_exactly_once and not options.is_dry_run
        sender = TransactionalSender(config, plan.group) if is_once else RecordSender(config)
        replay = Replay(plan, reader, sender, display, stop_reason=signals.why, clock=time.monotonic)
        with display, _told(replay):
            replay.run(partitions)
    outcome = replay.outcome
    outcome.is_signalled = signals.number is not None and outcome.stopped_because == signals.why()
    for sentence in outcome.sentences():
        say(printable(sentence))
    if outcome.error:
        complain(f"Error: {outcome.error}")
    if as_json:
        say_json(outcome.to_json())
    if outcome.is_signalled and signals.number is not None:
        return EXIT_SIGNALLED + signals.number
    return EXIT_OK if outcome.is_ok else EXIT_FAILED


@contextmanager
def _told(replay: Replay) -> Iterator[None]:
    """Run the replay. The error that ends it is part of its outcome, so the rest of the outcome is printed too."""
    try:
        yield
    except PyrallelConsumerError as error:
        replay.outcome.error = str(error)


class _Signals:
    """The first signal asks for an orderly end; another one ends the process at once."""

    def __init__(self) -> None:
        self.number: signal.Signals | None = None
        self._before = {number: signal.getsignal(number) for number in signals_to_take()}

    def __enter__(self) -> Self:
        for number in self._before:
            signal.signal(number, self._on_signal)
        return self

    def __exit__(self, *_: object) -> None:
        self._give_back()

    def why(self) -> str | None:
        """Why no more letters may be sent, None while there is no reason."""
        return None if self.number is None else self.number.name

    def _on_signal(self, number: int, _frame: FrameType | None) -> None:
        self.number = signal.Signals(number)
        self._give_back()

    def _give_back(self) -> None:
        for number, before in self._before.items():
            signal.signal(number, before)


def _topics(config: KafkaConfig, where: Where, name: str | None, suffix: str) -> Mapping[str, int]:
    with DeadLetterReader(config, where.replay_group_of(name or "all")) as reader:
        if name is not None:
            return {name: _partitions(reader, name, where.hint(suffix))}
        return {topic: count for topic, count in reader.topics().items() if topic.endswith(suffix)}


def _partitions(reader: DeadLetterReader, name: str, hint: str) -> int:
    partitions = reader.topics().get(name)
    if partitions is None:
        raise UnknownTopicError(
            f"there is no topic {name!r}, or it may not be seen{hint}", code="UNKNOWN_TOPIC_OR_PART"
        )
    return partitions


def _selected(
    reader: DeadLetterReader, tps: Sequence[TopicPartition], letter_filter: LetterFilter, display: Display
) -> Iterator[tuple[StoredLetter, bool]]:
    """The selected letters, and whether each was replayed."""
    found = 0
    for tp in tps:
        low, end = reader.ends(tp)
        noted = reader.noted(tp)
        try:
            finished = bookmark_of(tp, noted.offset, noted.metadata, low, end).finished()
        except ValueError:
            finished = OffsetMap(low, low)  # the replayed letters are unknown: a replay would say why
        waiting = frozenset(finished.unfinished)
        display.begin(end - low)
        position = low
        for stored in reader.read(tp, low, end):
            if stored is None:
                continue
            letter = letter_of(tp, stored.offset, stored.record)
            if letter_filter.selects(letter):
                found += 1
                yield letter, stored.offset < finished.top and stored.offset not in waiting
            display.advance(stored.offset + 1 - position, f"{found:,} letters")
            position = stored.offset + 1
        display.advance(end - position, f"{found:,} letters")


def _now_ms() -> int:
    return round(time.time() * 1000)
