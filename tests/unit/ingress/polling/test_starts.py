"""Where partitions begin, with a scripted client: in how many requests, for how long, and which answers are errors."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, cast

import pytest
from confluent_kafka import Consumer, KafkaError, KafkaException
from confluent_kafka import TopicPartition as ClientPartition

from pyrallel_consumer.control_plane.offsets.commit_encoder import encode
from pyrallel_consumer.control_plane.offsets.offset_map import OffsetMap
from pyrallel_consumer.dto import TopicPartition
from pyrallel_consumer.errors import BrokerError
from pyrallel_consumer.ingress.admin.admin_look import AdminLook
from pyrallel_consumer.ingress.client.log_throttle import LogThrottle
from pyrallel_consumer.ingress.polling.ending import Ending
from pyrallel_consumer.ingress.polling.starts import (
    DOUBT_SECONDS,
    LOGGER,
    LONGEST_TIMEOUT_SECONDS,
    NobodyAnswered,
    SearchGivenUp,
    StartSearch,
    for_client,
)
from pyrallel_consumer.ingress.reading.start_offset import Position, Reset, Start

TPS = [TopicPartition("orders", partition) for partition in range(600)]
AWAY = KafkaError(KafkaError.COORDINATOR_NOT_AVAILABLE)
LEADERLESS = KafkaError(KafkaError.LEADER_NOT_AVAILABLE)
UNKNOWN_PARTITION = KafkaError(KafkaError._UNKNOWN_PARTITION)  # noqa: SLF001 -- the client's public name of it
TIMED_OUT = KafkaError(KafkaError._TIMED_OUT)  # noqa: SLF001 -- the client's public name of it


class Answer:
    """An answer of the real client: its own class cannot be made with an error."""

    def __init__(self, tp: TopicPartition, offset: int, metadata: str = "", error: KafkaError | None = None) -> None:
        self.topic, self.partition = tp
        self.offset = offset
        self.metadata = metadata
        self.error = error
        self.leader_epoch = 7


class ScriptedClient:
    """A client whose logs hold 0 to 100; the group has ``offsets``; each request takes ``round_trip`` seconds."""

    def __init__(self) -> None:
        self.now = 0.0
        self.round_trip = 0.14
        self.offsets: dict[TopicPartition, tuple[int, str]] = {}
        self.failures: list[KafkaError] = []
        self.silent: set[TopicPartition] = set()
        self.leaderless: set[TopicPartition] = set()
        self.answers_at_once = len(TPS)
        self.asked: list[tuple[str, int]] = []
        self.longest_timeout = 0.0
        self.end_after: tuple[int, Ending] | None = None

    def committed(self, places: list[ClientPartition], *, timeout: float) -> list[Any]:
        return self._answers("committed", places, timeout, lambda tp: self.offsets.get(tp, (-1001, "")))

    def offsets_for_times(self, places: list[ClientPartition], *, timeout: float) -> list[Any]:
        times = {place.offset for place in places}
        assert len(times) == 1
        end = {-2: 0, -1: 100}[times.pop()]
        if self.leaderless.issuperset(TopicPartition(place.topic, place.partition) for place in places):
            self.now += self.round_trip
            raise KafkaException(UNKNOWN_PARTITION)  # the client's answer if there is no leader to ask at all
        answers = self._answers(f"end {end}", places, timeout, lambda tp: (end, ""))
        for answer in answers:
            if TopicPartition(answer.topic, answer.partition) in self.leaderless:
                answer.error = LEADERLESS
        return answers

    def _answers(self, what: str, places: Iterable[ClientPartition], timeout: float, of: Any) -> list[Any]:
        tps = [TopicPartition(place.topic, place.partition) for place in places]
        self.asked.append((what, len(tps)))
        self.longest_timeout = max(self.longest_timeout, timeout)
        if self.end_after is not None and len(self.asked) >= self.end_after[0]:
            self.end_after[1].ask()
        if self.failures:
            self.now += timeout
            raise KafkaException(self.failures.pop(0))
        self.now += self.round_trip
        answers = []
        for at, tp in enumerate(tps):
            error = TIMED_OUT if tp in self.silent or at >= self.answers_at_once else None
            offset, metadata = of(tp)
            answers.append(Answer(tp, offset, metadata, error))
        return answers


class ScriptedAdmin(AdminLook):
    """Knows ``ends``, and nothing of other partitions."""

    def __init__(self) -> None:
        super().__init__({}, lambda: 0.0)
        self.ends: dict[TopicPartition, Position] = {}
        self.asked: list[TopicPartition] = []

    def high_watermarks(self, tps: Iterable[TopicPartition], seconds: float) -> dict[TopicPartition, Position]:
        self.asked += tps
        return {tp: self.ends[tp] for tp in tps if tp in self.ends}


class TimelessEnding(Ending):
    """Waits on the client's clock."""

    def __init__(self, client: ScriptedClient) -> None:
        super().__init__()
        self._client = client

    def wait_asked(self, seconds: float) -> bool:
        self._client.now += seconds
        return self.is_asked


class Rig:
    def __init__(self, reset: Reset = "earliest", *, is_read_committed: bool = True) -> None:
        self.client = ScriptedClient()
        self.admin = ScriptedAdmin()
        self.ending = TimelessEnding(self.client)
        self.search = StartSearch(
            reset,
            is_read_committed=is_read_committed,
            admin=self.admin,
            ending=self.ending,
            clock=lambda: self.client.now,
            throttle=LogThrottle(LOGGER, lambda: self.client.now),
        )

    def find(self, *tps: TopicPartition) -> list[Start]:
        return self.search.find(cast("Consumer", self.client), tps)


@pytest.fixture
def rig() -> Rig:
    return Rig()


def test_six_hundred_partitions_far_away_are_asked_for_in_three_requests(rig: Rig) -> None:
    starts = rig.find(*TPS)

    assert [start.tp for start in starts] == TPS
    assert rig.client.asked == [("committed", 600), ("end 0", 600), ("end 100", 600)]
    assert rig.client.now < 0.5


def test_only_what_was_not_answered_is_asked_for_again(rig: Rig) -> None:
    rig.client.answers_at_once = 250

    rig.find(*TPS)

    assert [asked for what, asked in rig.client.asked if what == "committed"] == [600, 350, 100]


def test_a_search_goes_on_for_as_long_as_answers_come_in(rig: Rig) -> None:
    rig.client.answers_at_once = 1
    rig.client.round_trip = 50.0

    assert len(rig.find(*TPS[:6])) == 6
    assert rig.client.now > 300


def test_a_coordinator_that_is_away_for_almost_a_minute_ends_nothing(rig: Rig) -> None:
    rig.client.failures = [AWAY] * 8

    assert rig.find(TPS[0])[0].offset == 0
    assert 30 < rig.client.now < 60
    assert rig.client.longest_timeout == LONGEST_TIMEOUT_SECONDS


def test_without_any_answer_for_a_minute_the_member_is_told_to_join_anew(
    rig: Rig, caplog: pytest.LogCaptureFixture
) -> None:
    rig.client.failures = [AWAY] * 100

    with pytest.raises(NobodyAnswered):
        rig.find(*TPS)

    assert 60 <= rig.client.now < 75
    assert "for orders[0] and 599 more partitions for 60 s: leaving the group and joining it anew" in caplog.text


def test_one_silent_partition_does_not_end_the_consumer_either(rig: Rig) -> None:
    rig.client.silent = {TPS[3]}

    with pytest.raises(NobodyAnswered):
        rig.find(*TPS[:5])


def test_partitions_without_a_leader_hold_the_others_up_for_seconds_only_and_begin_where_the_group_was(
    rig: Rig, caplog: pytest.LogCaptureFixture
) -> None:
    known = OffsetMap(50, 60, (50, 55), 7)
    rig.client.leaderless = {TPS[1], TPS[2]}
    rig.client.offsets = {tp: (50, encode(known, tp)) for tp in TPS[:2]}

    starts = rig.find(*TPS[:4])

    assert DOUBT_SECONDS <= rig.client.now < DOUBT_SECONDS + 1
    assert [(start.offset, start.restored, start.must_commit) for start in starts] == [
        (50, known, False),
        (50, known, False),
        (0, OffsetMap(0, 0), False),
        (0, OffsetMap(0, 0), True),
    ]
    assert "the leader of orders[1] is away" in caplog.text
    assert "the leader of orders[2] is away" in caplog.text


def test_where_every_leader_is_away_the_committed_offsets_are_believed(rig: Rig) -> None:
    rig.client.leaderless = set(TPS)
    rig.client.offsets = dict.fromkeys(TPS, (50, ""))

    assert {start.offset for start in rig.find(*TPS)} == {50}
    assert rig.client.now < DOUBT_SECONDS + 1


def test_a_group_without_an_offset_that_begins_at_the_end_waits_for_the_leader() -> None:
    rig = Rig("latest")
    rig.client.leaderless = {TPS[1]}

    with pytest.raises(NobodyAnswered):
        rig.find(*TPS[:2])


def test_an_answer_that_will_not_change_ends_the_search_at_once(rig: Rig) -> None:
    rig.client.failures = [KafkaError(KafkaError.GROUP_AUTHORIZATION_FAILED)]

    with pytest.raises(BrokerError, match="asking for the committed offsets of the group") as raised:
        rig.find(*TPS)

    assert raised.value.code == "GROUP_AUTHORIZATION_FAILED"
    assert len(rig.client.asked) == 1


def test_the_end_of_the_consumer_waits_for_no_answer(rig: Rig) -> None:
    rig.client.failures = [AWAY] * 100
    rig.client.end_after = (2, rig.ending)

    with pytest.raises(SearchGivenUp) as raised:
        rig.find(*TPS)

    assert not isinstance(raised.value, NobodyAnswered)
    assert len(rig.client.asked) == 2


def test_a_commit_within_the_log_needs_no_second_opinion(rig: Rig) -> None:
    known = OffsetMap(50, 100, (50,), 7)
    rig.client.offsets = {TPS[0]: (50, encode(known, TPS[0]))}

    assert rig.find(TPS[0]) == [Start(TPS[0], 50, known, leader_epoch=7)]
    assert rig.admin.asked == []


@pytest.mark.parametrize("reset", ["earliest", "latest"])
def test_an_offset_beyond_an_open_transaction_is_believed_where_the_log_reaches_that_far(reset: Reset) -> None:
    rig = Rig(reset)
    rig.client.offsets = {TPS[0]: (120, "")}
    rig.admin.ends = {TPS[0]: Position(120)}

    assert rig.find(*TPS[:2])[0] == Start(TPS[0], 120, OffsetMap(120, 120), leader_epoch=7)
    assert rig.admin.asked == [TPS[0]]


def test_an_offset_beyond_the_end_of_the_log_is_reset(rig: Rig) -> None:
    rig.client.offsets = {TPS[0]: (120, "")}
    rig.admin.ends = {TPS[0]: Position(119)}

    [start] = rig.find(TPS[0])

    assert (start.offset, start.must_commit) == (0, True)


def test_where_nobody_can_tell_the_end_of_the_log_the_committed_offset_is_believed(rig: Rig) -> None:
    rig.client.offsets = {TPS[0]: (120, "")}

    assert rig.find(TPS[0])[0].offset == 120


def test_a_reader_of_uncommitted_records_knows_the_end_of_the_log() -> None:
    rig = Rig(is_read_committed=False)
    rig.client.offsets = {TPS[0]: (120, "")}

    assert rig.find(TPS[0])[0].offset == 0
    assert rig.admin.asked == []


@pytest.mark.parametrize(("known", "told"), [(None, None), (5, 5)])
def test_the_client_is_told_the_leader_epoch_by_which_it_notices_a_cut_log(known: int | None, told: int | None) -> None:
    place = for_client(Start(TPS[1], 9, OffsetMap(9, 9), leader_epoch=known))

    assert (place.topic, place.partition, place.offset) == ("orders", 1, 9)
    assert place.leader_epoch == told
