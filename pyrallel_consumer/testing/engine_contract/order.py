"""More rules for engines that keep the order of a key themselves (``is_keeping_order``), and are sent runs of a key."""

from __future__ import annotations

import json
import random
from collections import defaultdict
from typing import TYPE_CHECKING

from pyrallel_consumer.control_plane.events import Assigned
from pyrallel_consumer.control_plane.offsets.offset_map import OffsetMap
from pyrallel_consumer.control_plane.policies import RetryPolicy, WorkPolicy
from pyrallel_consumer.control_plane.work_manager import WorkManager
from pyrallel_consumer.dto import OnExhausted, TopicPartition
from pyrallel_consumer.testing.engine_contract.rigs import EngineRigs
from pyrallel_consumer.testing.messages import PlainMessage

if TYPE_CHECKING:
    from pathlib import Path

    from pyrallel_consumer.dto import WorkItem
    from pyrallel_consumer.testing.engine_contract.rig import Rig, Step

NOTHING: list[list[Step]] = [[]]
TP = TopicPartition("test", 0)
FOR_ONCE = RetryPolicy(max_attempts=2, backoff_ms=60_000, timeout_ms=0)


class _Keys:
    """A work manager between messages and the rig, as in a consumer; nothing of it is committed."""

    def __init__(self, rig: Rig, log: Path) -> None:
        policy = WorkPolicy(on_exhausted=OnExhausted.SKIP, is_sending_ahead=True)
        self.manager = WorkManager(policy)
        self.manager.assign(Assigned(TP, 1, 0, OffsetMap(0, 0)))
        self._rig = rig
        self._log = log
        self._seen = 0

    def add(self, scripts: list[tuple[bytes, list[list[Step]]]]) -> None:
        headers = [("log", str(self._log).encode())]
        self.manager.add(
            TP,
            1,
            [
                PlainMessage(TP.topic, TP.partition, offset, key, json.dumps(attempts).encode(), headers=headers)
                for offset, (key, attempts) in enumerate(scripts)
            ],
        )

    def turn(self) -> bool:
        """Take completions in and start every item that may start; returns whether all are done."""
        rig, manager = self._rig, self.manager
        manager.succeed(rig.successes)
        for failed in rig.failures:
            manager.exhaust(failed.item)
        for cancelled in rig.cancellations:
            manager.cancel(cancelled.item)
        rig.successes, rig.failures, rig.cancellations = [], [], []
        manager.allow_runs(rig.engine.run_length())
        capacity = rig.engine.capacity()
        for item in manager.take(capacity):
            rig.engine.submit(item)
        return manager.load.messages == 0


class OrderContract(EngineRigs):
    """Runs of one key: in order, one at a time, and given back behind an item that did not succeed."""

    async def test_a_key_is_kept_in_order_whatever_becomes_of_its_messages(
        self, rigs: list[Rig], tmp_path: Path
    ) -> None:
        rig = await self.rig(rigs, RetryPolicy(max_attempts=2, backoff_ms=1, jitter_ms=2, timeout_ms=0), slots=64)
        log, chance = tmp_path / "log", random.Random(5)
        failing: list[list[list[Step]]] = [[[["raise", "ValueError"]], []], [[["raise", "DoNotRetry"]]]]
        scripts = [NOTHING] * 12 + failing
        keys = _Keys(rig, log)
        keys.add([(b"k%d" % chance.choice((0, 0, 0, 1, 2)), chance.choice(scripts)) for _ in range(400)])
        await rig.until(keys.turn)
        offsets: dict[str, list[int]] = defaultdict(list)
        running: dict[str, str] = {}
        for line in log.read_text().splitlines():
            key, attempt = line[1:].split(":")
            if line[0] == "+":
                assert key not in running, f"{attempt} began while {running[key]} ran"
                running[key] = attempt
                offsets[key].append(int(attempt.split("/")[0]))
            else:
                assert running.pop(key) == attempt
        assert sum(len(set(begun)) for begun in offsets.values()) == 400
        for begun in offsets.values():
            assert begun == sorted(begun)

    async def test_what_stands_behind_a_failed_attempt_is_given_back_unbegun(
        self, rigs: list[Rig], tmp_path: Path
    ) -> None:
        rig = await self.rig(rigs, FOR_ONCE, slots=16)
        log = tmp_path / "log"
        items = rig.run([[]], [[["raise", "ValueError"]], []], [[]], [[]], log=log)
        for item in items:
            rig.engine.submit(item)
        await rig.until_finished(3)
        assert rig.successes == items[:1]
        assert {(cancelled.item, cancelled.attempt) for cancelled in rig.cancellations} == {
            (items[2], 1),
            (items[3], 1),
        }
        assert (rig.engine.running(), list(rig.engine.waiting())) == (0, [items[1]])
        assert log.read_text().count("+") == 2

    async def test_behind_a_message_that_waits_for_its_retry_nothing_is_taken(self, rigs: list[Rig]) -> None:
        rig = await self.rig(rigs, FOR_ONCE)
        first, second = rig.run([[["raise", "ValueError"]], []], [[]])
        rig.engine.submit(first)
        await rig.until(lambda: rig.engine.status().waiting_retries == 1)
        rig.engine.submit(second)
        await rig.until_finished(1)
        assert [cancelled.item for cancelled in rig.cancellations] == [second]
        rig.engine.withdraw(lambda _: True)
        await rig.until_finished(2)
        rig.engine.submit(second)
        await rig.until_finished(3)
        assert rig.successes == [second]

    async def test_after_a_message_that_failed_for_good_the_key_goes_on(self, rigs: list[Rig]) -> None:
        rig = await self.rig(rigs)
        items = rig.run([[["raise", "DoNotRetry"]]], [[]], [[]])
        for item in items:
            rig.engine.submit(item)
        await rig.until_finished(3)
        assert [failed.item for failed in rig.failures] == items[:1]
        assert {cancelled.item for cancelled in rig.cancellations} == set(items[1:])
        for item in items[1:]:
            rig.engine.submit(item)
        await rig.until_finished(5)
        assert rig.successes == items[1:]

    async def test_one_key_holds_up_no_other(self, rigs: list[Rig], gate: Path) -> None:
        rig = await self.rig(rigs, slots=16)
        blocked = rig.run([[["wait", str(gate)]]], [[]], [[]])
        others = [item for _ in range(4) for item in rig.run([[]], [[]])]
        for item in (*blocked, *others):
            rig.engine.submit(item)
        await rig.until_finished(8)
        assert set(rig.successes) == set(others)
        gate.touch()
        await rig.until_finished(11)
        assert rig.successes[8:] == blocked

    async def test_a_run_that_is_cancelled_comes_back_whole(self, rigs: list[Rig], gate: Path) -> None:
        rig = await self.rig(rigs, slots=16)
        items = rig.run([[["wait", str(gate)]]], *[NOTHING] * 7)
        for item in items:
            rig.engine.submit(item)
        await rig.until(lambda: rig.engine.running() == 8)
        rig.engine.cancel(lambda _: True)
        gate.touch()
        await rig.until_finished(8)
        assert {cancelled.item for cancelled in rig.cancellations} == set(items)
        assert rig.engine.capacity() == 16

    async def test_a_run_is_withdrawn_but_for_what_has_begun(self, rigs: list[Rig], tmp_path: Path, gate: Path) -> None:
        rig = await self.rig(rigs, slots=16)
        log = tmp_path / "log"
        items: list[WorkItem] = rig.run([[["wait", str(gate)]]], *[NOTHING] * 7, log=log)
        for item in items:
            rig.engine.submit(item)
        await rig.until(lambda: log.exists() and "+" in log.read_text())
        rig.engine.withdraw(lambda _: True)
        await rig.until(lambda: rig.engine.running() == 1)
        gate.touch()
        await rig.until_finished(8)
        assert rig.successes == items[:1]
        assert {(cancelled.item, cancelled.attempt) for cancelled in rig.cancellations} == {
            (item, 1) for item in items[1:]
        }
        assert log.read_text().count("+") == 1

    async def test_a_run_that_is_withdrawn_unbegun_comes_back_in_any_part_but_from_its_end(
        self, rigs: list[Rig], gate: Path
    ) -> None:
        rig = await self.rig(rigs, slots=16)
        items: list[WorkItem] = rig.run([[["wait", str(gate)]]], *[NOTHING] * 7)
        for item in items:
            rig.engine.submit(item)
        rig.engine.withdraw(lambda _: True)
        gate.touch()
        await rig.until_finished(8)
        done = len(rig.successes)
        assert rig.successes == items[:done]
        assert {cancelled.item for cancelled in rig.cancellations} == set(items[done:])

    async def test_beside_a_run_that_is_withdrawn_other_keys_go_on_in_order(
        self, rigs: list[Rig], tmp_path: Path, gate: Path
    ) -> None:
        rig = await self.rig(rigs, slots=64)
        log = tmp_path / "log"
        runs = [rig.run([[["wait", str(gate)]]], *[NOTHING] * 5, log=log) for _ in range(8)]
        for item in (item for run in runs for item in run):
            rig.engine.submit(item)
        await rig.until(lambda: log.exists() and "+" in log.read_text())
        gone = {item for run in runs[::2] for item in run}
        rig.engine.withdraw(gone.__contains__)
        gate.touch()
        await rig.until_finished(48)
        assert {cancelled.item for cancelled in rig.cancellations} <= gone
        for run in runs:
            done = [item for item in rig.successes if item in run]
            assert done == run[: len(done)]
        assert log.read_text().count("+") == len(rig.successes)
