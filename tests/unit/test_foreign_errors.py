"""Exceptions that fail when they are touched can be shown, pickled and logged; parts that fail are left out."""

from __future__ import annotations

import logging
import pickle

import pytest

from pyrallel_consumer import foreign_errors
from pyrallel_consumer.control_plane.failures.letter import error_reason
from pyrallel_consumer.errors import DoNotRetry, ExecutionError, RetryLater
from pyrallel_consumer.execution_plane.processes.remote_error import PackedError, packed_error, restored_error
from pyrallel_consumer.execution_plane.retry import Wait, asked_for
from pyrallel_consumer.testing.engine_contract.touchy_errors import TOUCHY_ERRORS

touchy = pytest.mark.parametrize("name", sorted(TOUCHY_ERRORS))


def raised(name: str) -> BaseException:
    """The error with the traceback of having been raised."""
    error = TOUCHY_ERRORS[name]()
    try:
        raise error
    except BaseException as caught:  # noqa: BLE001 -- whatever it is
        return caught


@touchy
def test_every_exception_has_a_reason_of_bounded_length_that_can_be_encoded(name: str) -> None:
    reason = error_reason(raised(name))

    assert type(reason) is str
    assert 0 < len(reason.encode()) < 5000


@touchy
def test_every_exception_has_a_traceback_of_bounded_length_that_can_be_encoded(name: str) -> None:
    shown = foreign_errors.traceback_of(raised(name))

    assert type(shown) is str
    assert 0 < len(shown.encode()) < 2 * foreign_errors.LONGEST_TRACEBACK


def test_the_frames_are_shown_where_the_rest_of_the_traceback_cannot_be() -> None:
    shown = foreign_errors.traceback_of(raised("odd syntax error"))

    assert "in raised" in shown
    assert shown.splitlines()[-1].startswith("SyntaxError: ")


@touchy
def test_every_exception_travels_between_processes(name: str) -> None:
    packed = PackedError(*pickle.loads(pickle.dumps(tuple(packed_error(raised(name))))))  # noqa: S301 -- our own

    assert sum(len(part) for part in (packed.pickled or b"", packed.description, packed.trace)) < 2_000_000
    restored = restored_error(packed)
    assert type(restored) in {type(TOUCHY_ERRORS[name]()), ExecutionError}
    assert error_reason(restored)
    assert asked_for(restored) is None


@touchy
def test_every_exception_can_be_a_cause_lose_a_frame_and_get_a_note(name: str) -> None:
    error, cause = raised(name), ValueError("cause")

    foreign_errors.set_cause(error, cause)
    foreign_errors.drop_first_frame(error)
    foreign_errors.drop_first_frame(error)
    foreign_errors.add_note(error, "a note")
    foreign_errors.set_attribute(error, "_kept", 5)

    assert foreign_errors.cause_of(error) is cause
    assert foreign_errors.take_attribute(error, "_kept") == 5
    assert foreign_errors.take_attribute(error, "_kept") is None
    assert foreign_errors.attribute(error, "_kept", "otherwise") == "otherwise"


@touchy
def test_what_is_given_to_a_logger_can_be_formatted(name: str) -> None:
    error = foreign_errors.loggable(raised(name))
    exc_info = None if error is None else (type(error), error, foreign_errors.frames_of(error))

    record = logging.LogRecord("test", logging.ERROR, "file", 1, "it failed", (), exc_info)

    assert 0 < len(logging.Formatter().format(record)) < 2 * foreign_errors.LONGEST_TRACEBACK


def test_a_note_is_appended_to_the_notes_that_are_there() -> None:
    error = ValueError()
    error.add_note("first")

    foreign_errors.add_note(error, "second")

    assert error.__notes__ == ["first", "second"]


def test_ctrl_c_while_an_exception_is_looked_at_gets_through() -> None:
    class SlowError(Exception):
        def __str__(self) -> str:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        error_reason(SlowError())


class UnpicklableLaterError(RetryLater):
    def __reduce__(self) -> object:  # type: ignore[override]  # as users do
        raise TypeError("holds a socket")


class ForgetfulLaterError(RetryLater):
    """An error that has another delay after it was restored."""

    def __reduce__(self) -> tuple[object, ...]:
        return RetryLater, (1, "restored")


class UnpicklableNeverError(DoNotRetry):
    __reduce__ = UnpicklableLaterError.__reduce__  # type: ignore[assignment]  # as users do


@pytest.mark.parametrize("kind", [RetryLater, UnpicklableLaterError, ForgetfulLaterError])
@pytest.mark.parametrize("charge", [True, False])
def test_the_wait_that_was_asked_for_survives_the_way_between_processes(
    kind: type[RetryLater], *, charge: bool
) -> None:
    restored = restored_error(packed_error(kind(250, "busy", charge=charge)))

    assert asked_for(restored) == Wait(250, charge)
    assert "busy" in str(restored)


def test_do_not_retry_survives_the_way_between_processes_though_it_cannot_be_pickled() -> None:
    assert isinstance(restored_error(packed_error(UnpicklableNeverError("no stock"))), DoNotRetry)


def test_the_cause_travels_with_the_error_and_the_trace_is_a_note() -> None:
    try:
        try:
            raise KeyError("stock")
        except KeyError as cause:
            raise ValueError("no order") from cause
    except ValueError as error:
        restored = restored_error(packed_error(error))

    assert isinstance(restored.__cause__, KeyError)
    assert "In the worker process:\nTraceback" in restored.__notes__[0]
