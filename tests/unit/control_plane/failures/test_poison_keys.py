"""The circuit per key: which keys are poisoned, for how long, and what is remembered of them."""

from __future__ import annotations

from pyrallel_consumer.control_plane.failures.poison_keys import MOST_KEYS, PoisonKeys, PoisonPolicy
from pyrallel_consumer.dto import TopicPartition, WorkItem
from pyrallel_consumer.testing import PlainMessage


class Epoch:
    epoch = 1
    is_ordered = False


POLICY = PoisonPolicy(failures=3, cooldown_seconds=10.0)


def item(key: bytes | None = b"a", partition: int = 0) -> WorkItem:
    return WorkItem(PlainMessage("orders", partition, 0, key), 0, Epoch())


def poisoned(now: float = 100.0) -> PoisonKeys:
    keys = PoisonKeys(POLICY)
    keys.observe(now)
    for _ in range(3):
        keys.failed(item())
    return keys


def test_a_key_is_poisoned_by_so_many_failures_in_a_row() -> None:
    keys = PoisonKeys(POLICY)
    assert not keys
    keys.failed(item())
    keys.failed(item())
    assert keys
    assert not keys.is_poisoned(item())
    keys.failed(item())

    assert keys.is_poisoned(item())
    assert keys.poisoned == 1
    assert not keys.is_poisoned(item(b"b"))
    assert not keys.is_poisoned(item(b"a", partition=1))


def test_a_success_in_between_begins_the_count_anew() -> None:
    keys = PoisonKeys(POLICY)
    keys.failed(item())
    keys.failed(item())
    keys.succeeded(item())
    assert not keys
    keys.failed(item())

    assert not keys.is_poisoned(item())


def test_after_the_cooldown_one_more_failure_poisons_it_anew_and_a_success_clears_it() -> None:
    keys = poisoned(now=100.0)
    keys.observe(109.9)
    assert keys.is_poisoned(item())
    keys.observe(110.0)
    assert not keys.is_poisoned(item())
    assert keys.poisoned == 0

    keys.failed(item())
    assert keys.is_poisoned(item())
    keys.observe(120.0)
    keys.succeeded(item())
    keys.failed(item())
    assert not keys.is_poisoned(item())


def test_messages_without_a_key_are_never_counted() -> None:
    keys = PoisonKeys(POLICY)
    for _ in range(9):
        keys.failed(item(None))
    keys.succeeded(item(None))

    assert not keys
    assert not keys.is_poisoned(item(None))


def test_without_policy_no_key_is_poisoned() -> None:
    keys = PoisonKeys(None)
    for _ in range(9):
        keys.failed(item())

    assert not keys


def test_a_partition_that_is_no_longer_ours_is_forgotten() -> None:
    keys = poisoned()
    keys.failed(item(b"b", partition=1))
    keys.forget(TopicPartition("orders", 0))

    assert not keys.is_poisoned(item())
    assert keys
    keys.forget(TopicPartition("orders", 1))
    assert not keys


def test_only_so_many_keys_are_remembered_the_latest_failures_first() -> None:
    keys = poisoned()
    for number in range(MOST_KEYS - 1):
        keys.failed(item(b"%d" % number))
    assert keys.is_poisoned(item())
    keys.failed(item(b"one more"))

    assert not keys.is_poisoned(item())
