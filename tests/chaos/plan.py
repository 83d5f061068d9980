"""The schedule of one run: what breaks, when and whose, drawn from a seed. Pure: the same seed gives the same schedule.

A fault is one or several steps that hold resources meanwhile (a member's slot, the cluster), so faults that would be
meaningless together are never drawn together: nobody freezes a member that was killed. ``Kind`` lists the faults.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Final, NamedTuple

SLOTS: Final = 3
"""Members that are there from the beginning; one more comes and goes."""
EXTRA_SLOT: Final = SLOTS
WARM_UP_SECONDS: Final = 6.0
SESSION_SECONDS: Final = 6.0
CLUSTER: Final = "cluster"
"""The resource of every fault that breaks the brokers or asks them for a change."""


@dataclass(frozen=True)
class Step:
    """``verb`` happens to ``target`` (a slot, a broker) that many seconds after the start; ``amount`` is the verb's."""

    at_seconds: float
    verb: str
    target: int = 0
    amount: float = 0.0


class Drawn(NamedTuple):
    """One fault: its steps, and how long it holds which resources."""

    steps: list[Step]
    holds: list[object]
    until_seconds: float


class Dice:
    """What the kinds of faults draw from; ``at`` is the moment of the fault."""

    def __init__(self, chance: random.Random, at: float, held: Collection[object], brokers: int) -> None:
        self.at = at
        self.brokers = brokers
        self.chance = chance
        self._held = held

    def free(self, resource: object) -> bool:
        return resource not in self._held

    def slot(self) -> int | None:
        """A slot that no other fault holds, None if there is none."""
        free = [slot for slot in range(SLOTS) if self.free(slot)]
        return self.chance.choice(free) if free else None

    def seconds(self, least: float, most: float) -> float:
        return round(self.chance.uniform(least, most), 2)


def _pair(verb: str, back: str, least: float, most: float) -> Callable[[Dice], Drawn | None]:
    """A fault of one member that ends by a second step after some seconds."""

    def draw(dice: Dice) -> Drawn | None:
        slot, lasts = dice.slot(), dice.seconds(least, most)
        if slot is None:
            return None
        end = dice.at + lasts
        return Drawn([Step(dice.at, verb, slot), Step(end, back, slot)], [slot], end + 1.0)

    return draw


def _latency(dice: Dice) -> Drawn | None:
    slot, end = dice.slot(), dice.at + dice.seconds(3, 8)
    if slot is None:
        return None
    steps = [Step(dice.at, "latency", slot, dice.seconds(0.02, 0.25)), Step(end, "heal", slot)]
    return Drawn(steps, [slot], end)


def _child(dice: Dice) -> Drawn | None:
    slot = dice.slot()
    return None if slot is None else Drawn([Step(dice.at, "kill_child", slot, dice.seconds(0, 1))], [], dice.at)


def _scale_out(dice: Dice) -> Drawn | None:
    if not dice.free(EXTRA_SLOT):
        return None
    end = dice.at + dice.seconds(6, 12)
    return Drawn([Step(dice.at, "start", EXTRA_SLOT), Step(end, "stop", EXTRA_SLOT)], [EXTRA_SLOT], end + 3.0)


def _broker(verb: str) -> Callable[[Dice], Drawn | None]:
    def draw(dice: Dice) -> Drawn | None:
        broker, end = dice.chance.randrange(dice.brokers), dice.at + dice.seconds(0, 4)
        if not dice.free(CLUSTER):
            return None
        return Drawn([Step(dice.at, verb, broker), Step(end, "start_broker", broker)], [CLUSTER], end + 8.0)

    return draw


def _cluster(verb: str, least: float = 0.0, most: float = 0.0, back: str = "") -> Callable[[Dice], Drawn | None]:
    """A change that the brokers are asked for, and its reversal."""

    def draw(dice: Dice) -> Drawn | None:
        if not dice.free(CLUSTER):
            return None
        end = dice.at + dice.seconds(least, most)
        return Drawn([Step(dice.at, verb), *([Step(end, back)] if back else [])], [CLUSTER], end + 2.0)

    return draw


def _reset(dice: Dice) -> Drawn | None:
    """All members stop, a partition's offsets are set back, all start: brokers refuse it while there are members."""
    slots: list[object] = [*range(SLOTS), EXTRA_SLOT]
    if not all(map(dice.free, [*slots, CLUSTER])):
        return None
    steps = [Step(dice.at, "reset_offsets", 0, dice.chance.randint(20, 200))]
    return Drawn(steps, [*slots, CLUSTER], dice.at + 6.0)


def _unclean(dice: Dice) -> Drawn | None:
    """The follower stops while the leader writes on; then the leader stops and the follower comes back as leader."""
    if not dice.free(CLUSTER):
        return None
    first, second = dice.at + dice.seconds(2, 4), dice.at + dice.seconds(5, 7)
    steps = [Step(dice.at, "kill_follower"), Step(first, "kill_leader"), Step(second, "unclean_election")]
    return Drawn(steps, [CLUSTER], second + 20.0)


class Kind(NamedTuple):
    """A fault that may be drawn. ``engines``: only with these engines; ``brokers``: only with at least this many
    brokers.

    ``once``: also where all is written exactly once. If offsets are set back, messages are written again.
    """

    weight: int
    draw: Callable[[Dice], Drawn | None]
    engines: str = "async thread process"
    brokers: int = 1
    once: bool = True


KINDS: Final[dict[str, Kind]] = {
    "kill": Kind(6, _pair("kill", "start", 0.5, 4)),
    "short freeze": Kind(3, _pair("freeze", "thaw", 0.5, SESSION_SECONDS - 3)),
    "long freeze": Kind(5, _pair("freeze", "thaw", SESSION_SECONDS + 2, SESSION_SECONDS + 5)),
    "long freeze of the parent alone": Kind(
        4, _pair("freeze_parent", "thaw", SESSION_SECONDS + 2, SESSION_SECONDS + 5), "process"
    ),
    "restart": Kind(4, _pair("stop", "start", 0.0, 0.5)),
    "scale in": Kind(2, _pair("stop", "start", 5, 9)),
    "scale out": Kind(3, _scale_out),
    "child killed": Kind(8, _child, "process"),
    "latency": Kind(3, _latency),
    "cut": Kind(3, _pair("cut", "heal", 0.2, 10)),
    "half-open": Kind(3, _pair("half_open", "heal", 1, 12)),
    "broker restarted": Kind(1, _broker("stop_broker")),
    "broker killed": Kind(2, _broker("kill_broker")),
    "dead letters refused": Kind(2, _cluster("refuse_letters", 3, 8, "take_letters")),
    "partitions added": Kind(1, _cluster("add_partitions")),
    "topic made anew": Kind(2, _cluster("make_anew", 4, 6)),
    "offsets reset": Kind(1, _reset, once=False),
    "unclean election": Kind(4, _unclean, brokers=3),
}


def make_plan(seed: int, fault_seconds: float, *, engine: str, brokers: int = 1, is_once: bool = False) -> list[Step]:
    """The schedule, ascending in time. Faults begin within ``fault_seconds`` after the warm-up.

    ``is_once``: the members write exactly once.
    """
    mode = engine.partition("-")[0]
    kinds = [kind for kind in KINDS.values() if mode in kind.engines.split() and brokers >= kind.brokers]
    if is_once:
        kinds = [kind for kind in kinds if kind.once]
    return sorted(_steps(random.Random(f"{seed} {engine} {brokers}"), fault_seconds, kinds, brokers), key=_time)


def _steps(chance: random.Random, fault_seconds: float, kinds: Sequence[Kind], brokers: int) -> Iterator[Step]:
    held_until: dict[object, float] = {}
    at = WARM_UP_SECONDS
    while at < WARM_UP_SECONDS + fault_seconds:
        kind = chance.choices(kinds, [kind.weight for kind in kinds])[0]
        held = {each for each, until in held_until.items() if until > at}
        drawn = kind.draw(Dice(chance, at, held, brokers))
        if drawn is None:
            at = round(at + 0.5, 2)
            continue
        held_until.update(dict.fromkeys(drawn.holds, drawn.until_seconds))
        yield from drawn.steps
        at = round(at + chance.uniform(1.0, 4.0), 2)


def _time(step: Step) -> float:
    return step.at_seconds


def as_json(plan: list[Step]) -> str:
    """One step a line, to be read, changed and replayed."""
    return "".join(json.dumps(asdict(step)) + "\n" for step in plan)


def from_json(text: str) -> list[Step]:
    return [Step(**json.loads(line)) for line in text.splitlines() if line]
