"""The book of the batch engine, in a world that plays control loop and worker with sets and lists."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from random import Random
from typing import Any

import pytest

from pyrallel_consumer.control_plane.policies import BatchPolicy, RetryPolicy
from pyrallel_consumer.dto import BatchBy, WorkItem
from pyrallel_consumer.errors import DoNotRetry, RetryLater
from pyrallel_consumer.execution_plane.batches.batch import Batch
from pyrallel_consumer.execution_plane.batches.book import BatchBook
from pyrallel_consumer.execution_plane.engine import CompletionChannel
from pyrallel_consumer.execution_plane.worker.named_failures import NamedFailures
from pyrallel_consumer.record import BatchRecords, Record, Records
from pyrallel_consumer.testing.messages import PlainMessage

MAX_ATTEMPTS = 3
LINGER = 5.0


class Key:
    """An origin; ``sealed`` is a field as in a queue of the control plane."""

    epoch = 1

    def __init__(self, name: bytes | None, partition: int) -> None:
        self.name = name
        self.partition = partition
        self.is_ordered = name is not None

    def seal(self) -> None:
        pass


class BookWorld:
    """Every message ends once, in order; no message is charged or given up for another one's fault."""

    def __init__(self, seed: int) -> None:
        self.random = random = Random(seed)
        self.now = 0.0
        self.slots = random.choice([4, 8, 30])
        self.size = min(random.randint(1, 8), self.slots)
        self.max_bytes = random.choice([1 << 20, 40])
        self.by = random.choice(list(BatchBy))
        self.spans_keys = random.random() < 0.3
        """Whether an origin has messages of several keys, as with order per partition."""
        policy = BatchPolicy(self.size, self.max_bytes, LINGER, self.by)
        retry = RetryPolicy(max_attempts=MAX_ATTEMPTS, backoff_ms=1000, jitter_ms=0)
        self.channel = CompletionChannel(lambda: None)
        self.book = BatchBook(policy, retry, self.slots, lambda: 0.0, self.channel)
        self.keys = [Key(name, partition) for partition in range(2) for name in (b"a", b"b", b"c", None)]
        self.offset = 0
        self.alive: dict[Any, list[WorkItem]] = defaultdict(list)
        """Submitted items without a completion, in the order of submission."""
        self.charges: dict[WorkItem, int] = defaultdict(int)
        self.failed_alone: set[WorkItem] = set()
        self.waits_until: dict[WorkItem, float] = {}
        self.running: list[Batch] = []
        self.ended: set[WorkItem] = set()
        self.returned: dict[WorkItem, int] = {}
        """Messages of the call that ends, whose records the worker returned, and their attempts."""

    def run(self, steps: int) -> None:
        idle = [self.submit, self.submit, self.call, self.call, self.wait, self.withdraw]
        ends = [self.succeed, self.succeed, self.fail, self.fail, self.put_off, self.name_some, self.cut_short]
        for _ in range(steps):
            self.random.choice(idle + ends if self.running else idle)()
            self.check_slots()
        self.end_all()

    # The control loop

    def submit(self) -> None:
        items = []
        for _ in range(min(self.random.randint(1, 8), self.book.capacity)):
            key = self.random.choice(self.keys)
            name = self.random.choice([b"a", b"b"]) if self.spans_keys else key.name
            message = PlainMessage("orders", key.partition, self.offset, name, b"x" * 8)
            item = WorkItem(message, self.offset, key)
            self.offset += 1
            items.append(item)
            self.alive[key].append(item)
        self.book.submit_all(items, self.now)
        self.take_reports()

    def call(self) -> None:
        self.book.wake(self.now)
        batch = self.book.take_call(self.now, is_enough=self.random.random() < 0.5)
        if batch is not None:
            self.check_call(batch)
            self.running.append(batch)

    def wait(self) -> None:
        self.now += self.random.choice([0.1, 1.0, 5.0, 60.0])

    def succeed(self) -> None:
        batch = self.ending()
        if self.random.random() < 0.5:
            self.book.succeeded(batch, self.now)
        else:
            self.book.returned(batch, BatchRecords(self.records_of(batch, range(len(batch))), None), self.now)
        self.take_reports()

    def fail(self) -> None:
        error = self.random.choice([ValueError, ValueError, DoNotRetry])
        batch = self.ending()
        if len(batch) == 1:
            self.failed_alone.add(batch.roots[0])
        self.book.failed(batch, error(), self.now)
        self.take_reports()

    def put_off(self) -> None:
        batch = self.ending()
        self.book.failed(batch, RetryLater(3000, charge=False), self.now)
        self.take_reports()

    def name_some(self) -> None:
        batch = self.ending()
        places = self.random.sample(range(len(batch)), self.random.randint(1, len(batch)))
        stopped: set[Any] = set()
        for place in sorted(places):
            root = batch.roots[place]
            if root.origin not in stopped:
                self.failed_alone.add(root)
            if root.origin.is_ordered:
                stopped.add(root.origin)
        named = NamedFailures({place: ValueError() for place in places})
        if self.random.random() < 0.5:
            self.book.failed(batch, named, self.now)
        else:
            others = [place for place in range(len(batch)) if place not in places]
            self.book.returned(batch, BatchRecords(self.records_of(batch, others), named), self.now)
        self.take_reports()

    def records_of(self, batch: Batch, places: Sequence[int]) -> dict[int, Records]:
        """For some of these places a record that names its message and its attempt."""
        chosen = [place for place in places if self.random.random() < 0.7]
        self.returned = {batch.roots[place]: batch.items[place].attempt for place in chosen}
        return {place: (Record("out", b"%d" % batch.roots[place].offset),) for place in chosen}

    def cut_short(self) -> None:
        """The call was cancelled for some of its messages, or for all of them by the program's end."""
        batch = self.ending()
        chosen = self.random.sample(list(batch.roots), self.random.randint(0, len(batch)))
        batch.leaving.update(chosen)
        self.book.given_back(batch, self.now)
        self.take_reports()

    def withdraw(self) -> None:
        partition = self.random.choice([0, 1])
        remainder = self.random.choice([None, 0, 1])
        self.book.withdraw(lambda item: item.partition == partition and remainder in (None, item.offset % 2), self.now)
        if remainder is None:
            in_calls = {root for batch in self.running for root in batch.roots}
            self.take_reports()
            for key, items in self.alive.items():
                assert key.partition != partition or in_calls.issuperset(items)
        self.take_reports()

    # What must hold

    def check_slots(self) -> None:
        asleep = len(self.book.sleepers)
        due = self.book.sleepers.due_count
        alive = sum(map(len, self.alive.values()))
        assert self.book.capacity == max(0, self.slots - alive + asleep - due)
        assert alive - asleep <= self.slots

    def check_call(self, batch: Batch) -> None:
        assert 0 < len(batch) <= self.size
        assert len(batch.roots) == 1 or sum(len(item.payload or b"") for item in batch.items) <= self.max_bytes
        if self.by is BatchBy.KEY:
            assert len({(item.partition, item.key) for item in batch.items}) == 1
        elif self.by is BatchBy.PARTITION:
            assert len({item.tp for item in batch.items}) == 1
        for other in self.running:
            assert not {each.origin for each in other.roots if each.origin.is_ordered} & {
                each.origin for each in batch.roots
            }
        for origin in {root.origin for root in batch.roots}:
            roots = [root for root in batch.roots if root.origin is origin]
            if origin.is_ordered:
                assert roots == self.alive[origin][: len(roots)]
        for root, item in zip(batch.roots, batch.items, strict=True):
            assert item.attempt == self.charges[root] + 1
            assert self.waits_until.get(root, 0.0) <= self.now

    def ending(self) -> Batch:
        batch = self.random.choice(self.running)
        self.running.remove(batch)
        return batch

    def note_charges(self) -> None:
        """Only messages that failed alone or by name are charged, once each; the wait depends on their number."""
        for root, retry in self.book.charged:
            if retry.is_charged:
                assert root in self.failed_alone
                self.failed_alone.remove(root)
                self.charges[root] += 1
                assert retry.due_at == self.now + 2.0 ** (self.charges[root] - 1)
            self.waits_until[root] = retry.due_at
        self.book.charged.clear()

    def take_reports(self) -> None:
        self.note_charges()
        finished = self.channel.drain(10_000)
        for root, (attempt, [record]) in self.channel.returned.items():
            assert root in finished.successes
            assert (attempt, record.value) == (self.returned[root], b"%d" % root.offset)
        done = [item for item in finished.successes if item in self.returned]
        assert len(done) == len(self.channel.returned)
        self.channel.returned.clear()
        self.returned = {}
        for failed in finished.failures:
            assert failed.item in self.failed_alone
            assert failed.attempt == self.charges[failed.item] + 1 <= MAX_ATTEMPTS
            self.end(failed.item)
        for cancelled in finished.cancellations:
            self.end(cancelled.item)
        for item in finished.successes:
            self.end(item)

    def end(self, item: WorkItem) -> None:
        assert item not in self.ended
        self.ended.add(item)
        self.alive[item.origin].remove(item)

    def end_all(self) -> None:
        """Everything can be brought to its end, and nothing is left."""
        for _ in range(2000):
            for batch in self.running:
                self.book.succeeded(batch, self.now)
            self.running.clear()
            self.take_reports()
            if not any(self.alive.values()):
                break
            self.now += 61
            self.call()
        assert not any(self.alive.values())
        assert self.book.capacity == self.slots
        assert self.book.next_call_at() is None
        assert self.book.is_empty
        assert not self.book.sleepers.awake


@pytest.mark.parametrize("first", range(0, 1500, 100))
def test_every_message_ends_once_in_order_and_is_charged_for_itself_alone(first: int) -> None:
    for seed in range(first, first + 100):
        try:
            BookWorld(seed).run(80)
        except BaseException:
            print(f"seed {seed}")
            raise
