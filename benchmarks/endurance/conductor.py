"""Conducts the soak of one engine: fills its topic at the pace of reading, and has other members come and go."""

from __future__ import annotations

import asyncio
import os
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Final

from benchmark_broker import BenchmarkBroker
from confluent_kafka import KafkaException, Producer
from produce import NUMBER_DIGITS

from endurance.member import MemberJob
from endurance.sample import Sample, read
from endurance.workload import key_of

HERE: Final = Path(__file__).resolve().parents[1]
PARTITIONS: Final = 8
AHEAD: Final = 200_000
"""So many messages wait in the topic, or fewer."""
PRODUCED_AT_ONCE: Final = 10_000
VALUE_BYTES: Final = 100
REBALANCES: Final = 20
"""So many times another member comes, and goes; fewer where a run is short, for one comes after the other."""
VISIT_SECONDS: Final = 8.0
LOOK_SECONDS: Final = 0.02
SILENCE_SECONDS: Final = 120.0
"""A member that gets no further for so long has failed."""
STOP_SECONDS: Final = 60.0


class SoakFailedError(Exception):
    """A member ended early, or stood still; the message says which, and where its log is."""


class Member:
    """A member's process; ``samples`` are what it has printed so far."""

    def __init__(self, process: Process, name: str, log: Path, note: Callable[[str], None]) -> None:
        self.samples: list[Sample] = []
        self.process = process
        self._name = name
        self._log = log
        self._note = note
        self._reading = asyncio.create_task(self._read())

    @property
    def messages(self) -> int:
        return self.samples[-1].messages if self.samples else 0

    def check(self) -> None:
        """Raises SoakFailedError where it ended with an error."""
        if self.process.returncode:
            raise SoakFailedError(f"{self._name} ended with {self.process.returncode}; see {self._log}")

    async def stop(self) -> None:
        """Have it stop in order, and wait for that."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        async with asyncio.timeout(STOP_SECONDS):
            await self.process.wait()
        await self._reading
        self.check()

    def kill(self) -> None:
        with suppress(ProcessLookupError):
            self.process.kill()
        self._reading.cancel()

    async def _read(self) -> None:
        assert self.process.stdout is not None
        async for line in self.process.stdout:
            self._note(line.decode())
            self.samples += read(line.decode().strip())


class Source:
    """Fills the topic; ``produced`` messages so far."""

    def __init__(self, bootstrap_servers: str, topic: str) -> None:
        self.produced = 0
        self._topic = topic
        self._producer = Producer(
            {"bootstrap.servers": bootstrap_servers, "compression.type": "lz4", "linger.ms": 20, "log_level": 3}
        )

    def produce(self) -> None:
        """A further ``PRODUCED_AT_ONCE``; blocks."""
        rest = b" " * (VALUE_BYTES - NUMBER_DIGITS)
        for number in range(self.produced, self.produced + PRODUCED_AT_ONCE):
            self._producer.produce(self._topic, b"%0*d" % (NUMBER_DIGITS, number) + rest, b"key-%d" % key_of(number))
        if self._producer.flush(STOP_SECONDS):
            raise KafkaException("the broker does not acknowledge messages")
        self.produced += PRODUCED_AT_ONCE


async def soak(
    broker: BenchmarkBroker, engine: str, messages: int, folder: Path, report: Callable[[str], None]
) -> list[Sample]:
    """Have the engine's member do ``messages``; ``folder`` keeps its samples and the members' logs."""
    topic = broker.new_topic(PARTITIONS)
    broker.reset(f"{topic}.dlq", 1)
    job = MemberJob(
        engine, broker.bootstrap_servers, topic, f"{topic}-group", messages, 0.0, dict(broker.client_settings)
    )
    kept = folder / f"{engine}.jsonl"
    kept.unlink(missing_ok=True)

    def keep(line: str) -> None:
        with kept.open("a") as file:
            file.write(line)

    members = [await _start(job, "the measured member", folder / f"{engine}.log", keep)]
    try:
        await _conduct(Source(broker.bootstrap_servers, topic), job, members, folder, report)
        for member in members:
            await member.stop()
    finally:
        for member in members:
            member.kill()
    broker.forget(topic)
    broker.forget(f"{topic}.dlq")
    return members[0].samples


async def _conduct(
    source: Source, job: MemberJob, members: list[Member], folder: Path, report: Callable[[str], None]
) -> None:
    """Until the measured member, which is the first, has ended by itself."""
    measured, visit, loop = members[0], 1, asyncio.get_running_loop()
    moved_at, seen, told = loop.time(), 0, 0
    while measured.process.returncode is None:
        for member in members:
            member.check()
        if source.produced - sum(member.messages for member in members) < AHEAD:
            await asyncio.to_thread(source.produce)
        else:
            await asyncio.sleep(LOOK_SECONDS)
        is_alone = members[-1] is measured or members[-1].process.returncode is not None
        if is_alone and measured.messages >= visit * job.messages // (REBALANCES + 1):
            visit += 1
            visitor = replace(job, messages=0, seconds=VISIT_SECONDS)
            log = folder / f"{job.engine}-visitors.log"
            members.append(await _start(visitor, f"visitor {visit - 1}", log, lambda _: None))
        if measured.messages > seen:
            moved_at, seen = loop.time(), measured.messages
        elif loop.time() - moved_at > SILENCE_SECONDS:
            raise SoakFailedError(f"{job.engine}: nothing was done for {SILENCE_SECONDS:.0f} s after {seen:,} messages")
        if seen * 20 // job.messages > told:
            told = seen * 20 // job.messages
            last = measured.samples[-1]
            report(f"{job.engine}: {seen:,} of {job.messages:,}, {last.seconds:,.0f} s, {last.rss_mib:.0f} MiB")
    measured.check()


async def _start(job: MemberJob, name: str, log: Path, note: Callable[[str], None]) -> Member:
    with log.open("a") as file:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "endurance.member", job.text()),
            stdin=PIPE,
            stdout=PIPE,
            stderr=file,
            cwd=HERE,
            env={**os.environ, "PYTHONPATH": os.pathsep.join((str(HERE), str(HERE.parent)))},
        )
    return Member(process, f"{name} of {job.engine}", log, note)
