"""The race itself: rounds over cases, in each case all contenders one after the other, and the result of every lap."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from subprocess import SubprocessError
from typing import Any, Final

from benchmark_broker import BenchmarkBroker
from confluent_kafka import KafkaException

from race.cases import Case
from race.contenders import BENCHMARKS, BY_NAME, Contender, Variant
from race.environments import PeerUnavailableError
from race.lap_plan import LapPlan
from race.laps import Figures, JavaMachine, LapFailedError, patience, running, sender
from race.restart import restart_lap
from race.results import Lap, Results
from race.track import WARM_UP_MESSAGES, Track
from race.traffic import Traffic

JAVA_WARM_UP_SECONDS: Final = 4.0
WARM_UP_TOPIC_MESSAGES: Final = 100_000
LAP_ERRORS: Final = (LapFailedError, KafkaException, SubprocessError, RuntimeError, OSError)
"""The errors that end a lap and not the race."""
LOWER_IS_BETTER: Final = "delivery_to_end_p99_ms"
TRIAL: Final = 0
"""The number of the round in which variants are tried."""


class Race:
    """Runs laps and adds them to ``results``; what a machine lacks is said once and left out."""

    def __init__(
        self,
        broker: BenchmarkBroker,
        track: Track,
        results: Results,
        say: Callable[[str], None],
        step: Callable[[str], None],
    ) -> None:
        self._broker = broker
        self._track = track
        self._results = results
        self._say = say
        self._step = step
        self._java = JavaMachine(say)
        self._chosen: dict[tuple[str, str], Variant] = {}
        self._missing: set[str] = set()

    def close(self) -> None:
        self._java.close()

    def run(self, cases: Sequence[Case], rounds: int, allowed: Sequence[str]) -> None:
        """All rounds; every second round in reverse, so that no contender always profits from its predecessor."""
        field = {case.name: [name for name in case.contenders if name in allowed] for case in cases}
        for case in cases:
            self._try_variants(case, [BY_NAME[name] for name in field[case.name]])
        for number in range(1, rounds + 1):
            for case in cases:
                if number > case.most_rounds:
                    continue
                order = field[case.name][:: 1 if number % 2 else -1]
                for name in order:
                    self._lap(case, BY_NAME[name], number)
            self._results.write()

    def _try_variants(self, case: Case, contenders: Sequence[Contender]) -> None:
        for contender in contenders:
            variants = contender.variants(case)
            if len(variants) == 1 or (contender.family(case), contender.name) in self._chosen:
                continue
            found = [(variant, self._lap(case, contender, TRIAL, variant)) for variant in variants]
            usable = [(variant, figures) for variant, figures in found if figures and variant.is_by_key]
            if usable:
                self._chosen[contender.family(case), contender.name] = max(
                    usable, key=lambda one: _merit(case, one[1])
                )[0]

    def _lap(self, case: Case, contender: Contender, number: int, variant: Variant | None = None) -> Figures | None:
        if contender.name in self._missing:
            return None
        variant = variant or self._chosen.get((contender.family(case), contender.name)) or contender.variants(case)[0]
        title = f"{case.name}, {'trial' if number == TRIAL else f'round {number}'}: {contender.title}"
        self._step(title)
        lap = Lap(case.name, number, contender.name, variant.title, load=os.getloadavg()[0])
        try:
            lap.figures = self._run(case, contender, variant, number)
        except PeerUnavailableError as error:
            self._missing.add(contender.name)
            self._results.missing[contender.name] = str(error)
            self._say(f"left out: {error}")
            return None
        except LAP_ERRORS as error:
            lap.error = str(error) or repr(error)
        if self._track.is_reset:  # in a topic that held messages before, there are more than the lap counts
            lap.flaws = _flaws(case, lap.figures)
        self._results.add(case, contender, lap)
        return lap.figures

    def _run(self, case: Case, contender: Contender, variant: Variant, number: int = TRIAL) -> Figures:
        topic = "" if contender.kind == "yardstick" else self._track.topic(case)
        plan = self._plan(case, contender, variant, topic)
        if case.is_restart:
            return restart_lap(contender, plan, number, self._say)
        when_started = self._sender(case, plan)
        if contender.name == "java":
            figures = self._java.lap(plan, self._warm_up(case, contender, plan), when_started)
        else:
            command = [*contender.command(self._say), plan.to_json()]
            with running(command, contender.environment()) as runner:
                figures = runner.figures(patience(plan), when_started)
                runner.wait_left(patience(plan))
        if contender.kind == "ours" and not figures["is_capped"]:
            figures["uncommitted"] = self._track.uncommitted(topic, plan.group)
        if topic:
            self._track.forget_group(plan.group)
        if case.pace is not None:
            self._track.forget_topic(topic)
        return figures

    def _plan(self, case: Case, contender: Contender, variant: Variant, topic: str) -> LapPlan:
        return LapPlan(
            bootstrap_servers=self._broker.bootstrap_servers,
            topic=topic,
            group=self._track.group(case, contender.name),
            messages=case.traffic.messages + (WARM_UP_MESSAGES if case.pace else 0),
            work=case.work,
            work_ms=case.work_ms,
            cpu_rounds=case.cpu_rounds,
            slow_factor=case.slow_factor,
            sample_mask=case.sample_mask,
            cap_seconds=contender.cap_seconds(case),
            key_numbers=case.traffic.to_dict(),
            settings=variant.settings,
            client_settings={} if contender.name == "java" else self._broker.client_settings,
        )

    def _warm_up(self, case: Case, contender: Contender, plan: LapPlan) -> LapPlan:
        if case.pace is not None:
            # What comes at a pace warms nothing up: there is a topic for it.
            warm = replace(case, name="warm-up", pace=None, work="noop", traffic=Traffic(WARM_UP_TOPIC_MESSAGES, 100))
            plan = self._plan(warm, contender, contender.variants(case)[0], self._track.topic(warm))
        group = self._track.group(case, f"{contender.name}-warm-up")
        return replace(plan, group=group, cap_seconds=min(JAVA_WARM_UP_SECONDS, plan.cap_seconds))

    def _sender(self, case: Case, plan: LapPlan) -> Callable[[], None]:
        if case.pace is None:
            return lambda: None
        order: dict[str, Any] = {
            "bootstrap_servers": plan.bootstrap_servers,
            "traffic": case.traffic.to_dict(),
            "value_bytes": case.value_bytes,
            "burst": case.pace.burst,
            "per_second": case.pace.per_second,
        }
        return sender(plan, order, os.environ | {"PYTHONPATH": str(BENCHMARKS)})


def _merit(case: Case, figures: Figures) -> float:
    """Rate; where that is given by the pace, a short way from delivery to the end."""
    return figures["messages_per_second"] if case.pace is None else -figures.get(LOWER_IS_BETTER, math.inf)


def _flaws(case: Case, figures: Figures | None) -> list[str]:
    """The messages that ran twice or were not committed: with any of them the figures are worthless."""
    if figures is None or case.is_restart:
        return []
    flaws = []
    if figures.get("duplicates"):
        flaws.append(f"{figures['duplicates']:,.0f} messages ran twice")
    if figures.get("uncommitted"):
        flaws.append(f"{figures['uncommitted']:,.0f} messages were left uncommitted")
    return flaws
