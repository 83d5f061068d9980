"""The place of an error in a dead letter: its types and places, none of its texts, whatever the error does."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from pyrallel_consumer.control_plane.failures.error_trace import LONGEST_TRACE, MOST_ERRORS, MOST_FRAMES, error_trace


def raised(function: Callable[[], Any]) -> BaseException:
    try:
        function()
    except BaseException as error:  # noqa: BLE001 -- whatever it is, the test looks at it
        return error
    raise AssertionError("nothing was raised")


def fail() -> None:
    raise ValueError("4711")


def fail_from() -> None:
    try:
        fail()
    except ValueError as error:
        raise KeyError("secret") from error


def fail_while() -> None:
    try:
        fail()
    except ValueError:
        raise KeyError("secret")  # noqa: B904 -- the context is what is tested


def fail_from_none() -> None:
    try:
        fail()
    except ValueError:
        raise KeyError("secret") from None


def test_a_trace_names_types_files_lines_and_functions_and_no_text() -> None:
    lines = error_trace(raised(fail)).splitlines()

    assert lines[0] == "ValueError"
    assert lines[-1].startswith(f'  File "{__file__}", line ')
    assert lines[-1].endswith(", in fail")
    assert "4711" not in "".join(lines)


@pytest.mark.parametrize(
    ("function", "types"),
    [
        (fail_from, ["KeyError", "caused by ValueError"]),
        (fail_while, ["KeyError", "caused by ValueError"]),
        (fail_from_none, ["KeyError"]),
    ],
)
def test_causes_follow_as_python_would_show_them(function: Callable[[], None], types: list[str]) -> None:
    lines = error_trace(raised(function)).splitlines()

    assert [line for line in lines if not line.startswith(" ")] == types
    assert "secret" not in "".join(lines)


def test_the_trace_of_a_worker_process_is_told_without_its_texts() -> None:
    error = ValueError("4711")
    error.add_note(
        'In the worker process:\nTraceback (most recent call last):\n  File "shop.py", line 3, in work\n    raise\n'
        "ValueError: 4711"
    )

    assert error_trace(error) == 'ValueError\n  File "shop.py", line 3, in work'


def test_long_chains_deep_recursion_and_long_names_are_bounded() -> None:
    error: BaseException = ValueError()
    for _ in range(100):
        cause, error = error, ValueError()
        error.__cause__ = cause

    def recurse(depth: int) -> None:
        if depth:
            recurse(depth - 1)
        raise ValueError

    assert len(error_trace(error).splitlines()) == MOST_ERRORS
    assert len(error_trace(raised(lambda: recurse(100))).splitlines()) == 1 + MOST_FRAMES
    assert len(error_trace(type("E" * 9000, (Exception,), {})())) == LONGEST_TRACE


def test_causes_that_go_in_a_circle_end() -> None:
    first, second = ValueError(), KeyError()
    first.__cause__, second.__cause__ = second, first

    assert len(error_trace(first).splitlines()) == MOST_ERRORS


class BadCauseError(Exception):
    @property
    def __cause__(self) -> Any:  # type: ignore[override]  # a stranger may do this
        raise KeyError


class StrangeCauseError(Exception):
    __cause__ = "no error"  # type: ignore[assignment]  # as above


class BadNotesError(Exception):
    __notes__ = 5  # type: ignore[assignment]  # as above


class NoAttributesError(Exception):
    def __getattr__(self, name: str) -> Any:
        raise KeyError(name)


@pytest.mark.parametrize("kind", [BadCauseError, StrangeCauseError, BadNotesError, NoAttributesError])
def test_an_error_that_resists_being_read_has_a_trace_of_what_can_be_read(kind: type[Exception]) -> None:
    assert error_trace(kind()).splitlines()[0] == kind.__name__
