"""The search by halves: the messages it finds, the order of its calls, and their number."""

from __future__ import annotations

from dataclasses import dataclass, field
from math import ceil, log2

from hypothesis import given
from hypothesis import strategies as st

from pyrallel_consumer.execution_plane.batches.search import Search, cut

ROUNDS = 3


@dataclass(eq=False)
class Message:
    """A message of key ``key``; None is no key. ``fails`` is how many calls with it fail before one succeeds."""

    number: int
    key: int | None
    fails: int = 0

    @property
    def is_poison(self) -> bool:
        return self.fails > 0


@dataclass
class Trial:
    """Plays the worker: a call fails while one of its messages fails."""

    messages: list[Message]
    outage_calls: int = 0
    calls: int = 0
    waits: int = 0
    done: list[Message] = field(default_factory=list)
    found: list[Message] = field(default_factory=list)
    given_back: list[Message] = field(default_factory=list)

    def run(self) -> Trial:
        search = Search(self.messages, lambda message: message.key, ROUNDS)
        while part := search.part:
            self._check_order(part)
            if search.is_waiting:
                search.is_waiting = False
                self.waits += 1
            self.calls += 1
            error = self._error(part)
            if error is None:
                self.done += part
                found = search.passed()
            else:
                found = search.failed(error)
            while found:
                message, its_error = found.pop(0)
                assert isinstance(its_error, ValueError)
                self.found.append(message)
                behind = [each for each in search.items if each.key is not None and each.key == message.key]
                self.given_back += behind
                found += search.drop(set(behind))
        return self

    def _error(self, part: list[Message]) -> ValueError | None:
        if self.outage_calls:
            self.outage_calls -= 1
            return ValueError("outage")
        failing = [message for message in part if message.fails]
        for message in failing:
            message.fails -= 1
        return ValueError(f"{failing}") if failing else None

    def _check_order(self, part: list[Message]) -> None:
        done = set(self.done)
        for key in {message.key for message in part} - {None}:
            of_key = [message for message in self.messages if message.key == key and message not in done]
            tried = [message for message in part if message.key == key]
            assert tried == of_key[: len(tried)]


def keys() -> st.SearchStrategy[list[int | None]]:
    return st.lists(st.none() | st.integers(0, 4), min_size=2, max_size=40)


FOR_EVER = 10_000


@given(keys(), st.data())
def test_every_message_at_fault_is_found_and_no_other(of_keys: list[int | None], data: st.DataObject) -> None:
    poison = data.draw(st.sets(st.integers(0, len(of_keys) - 1), min_size=1))
    messages = [Message(nth, key, FOR_EVER if nth in poison else 0) for nth, key in enumerate(of_keys)]
    trial = Trial(messages).run()
    assert {message.number for message in trial.found} <= poison
    assert sorted(message.number for message in (*trial.done, *trial.found, *trial.given_back)) == list(
        range(len(messages))
    )
    for message in trial.given_back:
        assert any(each.key == message.key and each.number < message.number for each in trial.found)
    assert trial.waits <= ROUNDS


@given(keys(), st.data())
def test_one_message_at_fault_costs_two_calls_a_halving(of_keys: list[int | None], data: st.DataObject) -> None:
    at_fault = data.draw(st.integers(0, len(of_keys) - 1))
    messages = [Message(nth, key, FOR_EVER if nth == at_fault else 0) for nth, key in enumerate(of_keys)]
    trial = Trial(messages).run()
    assert [message.number for message in trial.found] == [at_fault]
    assert trial.calls <= 2 * (ceil(log2(len(messages))) + 2)
    assert trial.waits == 0


def test_one_among_five_hundred_costs_eighteen_calls() -> None:
    for at_fault in range(500):
        trial = Trial([Message(nth, None, FOR_EVER if nth == at_fault else 0) for nth in range(500)]).run()
        assert [message.number for message in trial.found] == [at_fault]
        assert trial.calls <= 2 * 9


@given(keys(), st.sampled_from([2, 3, 5, 6, 8]))
def test_an_outage_is_waited_out_and_nobody_is_charged(of_keys: list[int | None], outage_calls: int) -> None:
    """Three calls a round: the two halves, and the whole batch again after the wait."""
    messages = [Message(nth, key) for nth, key in enumerate(of_keys)]
    trial = Trial(messages, outage_calls=outage_calls).run()
    if len({key for key in of_keys if key is not None}) + of_keys.count(None) > 1:
        assert trial.found == []
        assert len(trial.done) == len(messages)
        assert trial.waits == (outage_calls + 1) // 3


@given(keys(), st.data())
def test_what_recovers_at_some_time_passes_or_is_found(of_keys: list[int | None], data: st.DataObject) -> None:
    messages = [Message(nth, key, data.draw(st.integers(0, 4))) for nth, key in enumerate(of_keys)]
    poison = {message.number for message in messages if message.is_poison}
    trial = Trial(messages).run()
    assert {message.number for message in trial.found} <= poison
    assert len(trial.done) + len(trial.found) + len(trial.given_back) == len(messages)
    assert trial.calls <= 2 * len(messages) + 3 * ROUNDS


def test_two_singles_that_both_fail_are_one_cause_until_the_rounds_are_over() -> None:
    messages = [Message(nth, nth, FOR_EVER) for nth in range(2)]
    trial = Trial(messages).run()
    assert trial.waits == ROUNDS
    assert trial.calls == 3 * ROUNDS + 2
    assert {message.number for message in trial.found} == {0, 1}


@given(keys())
def test_halves_are_cut_between_keys_and_keep_each_key_in_order(of_keys: list[int | None]) -> None:
    messages = [Message(nth, key) for nth, key in enumerate(of_keys)]
    halves = cut(messages, lambda message: message.key)
    assert halves.left
    assert halves.right
    assert sorted(message.number for message in (*halves.left, *halves.right)) == list(range(len(messages)))
    shared = {message.key for message in halves.left} & {message.key for message in halves.right} - {None}
    assert bool(shared) == halves.is_one_key
    assert not halves.is_one_key or len(set(of_keys)) == 1
    for key in set(of_keys) - {None}:
        numbers = [message.number for message in (*halves.left, *halves.right) if message.key == key]
        assert numbers == sorted(numbers)
