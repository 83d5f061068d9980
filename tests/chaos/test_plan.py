"""A schedule depends on its seed alone, and holds no contradictory faults. Needs no broker."""

from __future__ import annotations

import pytest

from tests.chaos.conductor import CLUSTER_VERBS, Conductor
from tests.chaos.plan import KINDS, SLOTS, Step, as_json, from_json, make_plan

ENGINES = ("async", "thread", "process")
SEEDS = range(60)
SECONDS = 120.0


def plans(engine: str, brokers: int = 1) -> list[list[Step]]:
    return [make_plan(seed, SECONDS, engine=engine, brokers=brokers) for seed in SEEDS]


def test_a_seed_gives_the_same_schedule_each_time_and_another_seed_another() -> None:
    assert make_plan(7, SECONDS, engine="async") == make_plan(7, SECONDS, engine="async")
    assert make_plan(7, SECONDS, engine="async") != make_plan(8, SECONDS, engine="async")
    assert make_plan(7, SECONDS, engine="async") != make_plan(7, SECONDS, engine="thread")


def test_a_schedule_that_was_written_is_read_as_it_was() -> None:
    plan = make_plan(7, SECONDS, engine="process", brokers=3)

    assert from_json(as_json(plan)) == plan


@pytest.mark.parametrize("engine", ENGINES)
def test_steps_ascend_in_time_and_faults_are_dense(engine: str) -> None:
    for plan in plans(engine):
        assert [step.at_seconds for step in plan] == sorted(step.at_seconds for step in plan)
        assert len(plan) > SECONDS / 4


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("brokers", [1, 3])
def test_the_conductor_can_do_every_step(engine: str, brokers: int) -> None:
    verbs = {step.verb for plan in plans(engine, brokers) for step in plan}

    assert all(hasattr(Conductor, f"_{verb}") for verb in verbs)
    assert verbs >= CLUSTER_VERBS - (set() if brokers == 3 else {"kill_follower", "kill_leader", "unclean_election"})


def test_some_seed_draws_each_kind_where_it_may_and_none_where_it_may_not() -> None:
    children = {step.verb for plan in plans("async") for step in plan} & {"kill_child", "freeze_parent"}

    assert not children
    assert {"kill_child", "freeze_parent"} <= {step.verb for plan in plans("process") for step in plan}
    assert len(KINDS) == 18


def test_where_all_is_written_exactly_once_nobody_sets_offsets_back() -> None:
    plans = [make_plan(seed, SECONDS, engine="async", brokers=3, is_once=True) for seed in SEEDS]
    verbs = {step.verb for plan in plans for step in plan}

    assert "reset_offsets" not in verbs
    assert verbs >= {"kill_broker", "stop_broker", "freeze", "kill", "unclean_election"}


@pytest.mark.parametrize("engine", ENGINES)
def test_a_member_is_broken_in_one_way_at_a_time(engine: str) -> None:
    ends = {"start": {"kill", "stop"}, "thaw": {"freeze", "freeze_parent"}, "heal": {"cut", "half_open", "latency"}}
    begins = set().union(*ends.values())
    for plan in plans(engine):
        broken: dict[int, str] = {}
        for step in plan:
            if step.target < SLOTS and step.verb in ends:
                assert broken.pop(step.target) in ends[step.verb], step
            elif step.target < SLOTS and step.verb in begins:
                assert step.target not in broken, step
                broken[step.target] = step.verb
            elif step.verb == "reset_offsets":
                assert not broken, step
        assert not broken


def test_the_brokers_are_broken_or_asked_one_thing_at_a_time() -> None:
    pairs = {"stop_broker": "start_broker", "kill_broker": "start_broker", "refuse_letters": "take_letters"}
    for plan in plans("async"):
        awaited = ""
        for step in plan:
            if step.verb in CLUSTER_VERBS:
                assert awaited in {"", step.verb}, step
                awaited = pairs.get(step.verb, "")
        assert not awaited
