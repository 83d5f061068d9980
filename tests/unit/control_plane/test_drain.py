"""The bounded wait: wait, cancel once, wait briefly for the cancelled attempts, go on."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from pyrallel_consumer.control_plane.drain import Drain, DrainStep


def test_nothing_running_waits_for_nothing() -> None:
    assert Drain(deadline=10.0).step(running=0, now=0.0) is DrainStep.DONE


def test_running_work_is_waited_for_until_the_deadline_then_cancelled_then_left() -> None:
    drain = Drain(deadline=10.0, settle_seconds=0.1)

    assert drain.step(running=3, now=9.9) is DrainStep.WAIT
    assert drain.next_step_at == 10.0
    assert drain.step(running=3, now=10.0) is DrainStep.CANCEL
    assert drain.next_step_at == 10.1
    assert drain.step(running=2, now=10.05) is DrainStep.WAIT
    assert drain.step(running=2, now=10.1) is DrainStep.DONE


def test_by_default_the_cancelled_have_a_tenth_of_a_second() -> None:
    drain = Drain(deadline=1.0)

    assert drain.step(running=1, now=1.0) is DrainStep.CANCEL
    assert drain.next_step_at == 1.1


def test_work_that_ends_after_the_cancel_ends_the_drain_at_once() -> None:
    drain = Drain(deadline=1.0)
    drain.step(running=1, now=1.0)

    assert drain.step(running=0, now=1.01) is DrainStep.DONE


def test_a_drain_that_was_looked_at_late_still_gives_the_cancelled_their_moment() -> None:
    drain = Drain(deadline=1.0, settle_seconds=0.1)

    assert drain.step(running=1, now=5.0) is DrainStep.CANCEL
    assert drain.step(running=1, now=5.05) is DrainStep.WAIT
    assert drain.step(running=1, now=5.2) is DrainStep.DONE


@given(
    deadline=st.floats(0, 100),
    settle=st.floats(0, 5),
    looks=st.lists(st.tuples(st.floats(0, 30), st.integers(0, 3)), max_size=30),
)
def test_any_drain_cancels_at_most_once_never_early_and_ends_in_bounded_time(
    deadline: float, settle: float, looks: list[tuple[float, int]]
) -> None:
    drain = Drain(deadline, settle)
    now = 0.0
    cancelled_at: float | None = None
    for wait, running in looks:
        now += wait
        step = drain.step(running, now)
        if running == 0:
            assert step is DrainStep.DONE
        elif step is DrainStep.CANCEL:
            assert cancelled_at is None
            assert now >= deadline
            cancelled_at = now
        elif step is DrainStep.DONE:
            assert cancelled_at is not None
            assert now >= cancelled_at + settle
        else:
            assert now < deadline or (cancelled_at is not None and now < cancelled_at + settle)
