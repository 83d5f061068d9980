"""Logging by the library: under its own names, with the place of the caller, and without harm to the caller."""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from pyrallel_consumer.cli.run.log import JsonFormatter
from pyrallel_consumer.log import Log, listed, relay

NAME = "tests.log"


class Hearing(logging.Handler):
    def __init__(self) -> None:
        super().__init__()
        self.records: list[logging.LogRecord] = []
        self.error: Exception | None = None

    def emit(self, record: logging.LogRecord) -> None:
        if self.error is not None:
            raise self.error
        self.records.append(record)


@pytest.fixture
def hearing() -> Iterator[Hearing]:
    handler = Hearing()
    logger = logging.getLogger(NAME)
    logger.addHandler(handler)
    logger.setLevel(logging.DEBUG)
    yield handler
    logger.removeHandler(handler)
    logger.setLevel(logging.NOTSET)


CALLS: dict[str, Callable[[Log], None]] = {
    "DEBUG": lambda log: log.debug("%d", 1),
    "INFO": lambda log: log.info("%d", 1, extra={"topic": "t"}),
    "WARNING": lambda log: log.warning("%d", 1, extra={"topic": "t"}),
    "ERROR": lambda log: log.error("%d", 1, exc_info=ValueError("x"), extra={"topic": "t"}),
    "CRITICAL": lambda log: log.log(logging.CRITICAL, "%d", 1, extra={"topic": "t"}),
}


@pytest.mark.parametrize("level", CALLS)
def test_a_record_has_its_level_the_place_of_the_call_and_fields_with_a_prefix(hearing: Hearing, level: str) -> None:
    CALLS[level](Log(NAME))

    [record] = hearing.records
    assert (record.levelname, record.getMessage(), record.filename) == (level, "1", "test_log.py")
    assert record.__dict__.get("pyrallel_topic", "t") == "t"
    assert not hasattr(record, "topic")


def test_an_exception_that_is_handled_comes_with_its_traceback(hearing: Hearing) -> None:
    error = ValueError("bad")
    try:
        raise error
    except ValueError:
        Log(NAME).exception("failed")

    assert hearing.records[0].exc_info == (ValueError, error, error.__traceback__)


@pytest.mark.parametrize("level", CALLS)
def test_what_a_handler_raises_is_written_to_standard_error(
    hearing: Hearing, level: str, capsys: pytest.CaptureFixture[str]
) -> None:
    hearing.error = ConnectionError("the log server is away")

    CALLS[level](Log(NAME))

    said = capsys.readouterr().err
    assert "could not log '%d'" in said
    assert "ConnectionError: the log server is away" in said


def test_nothing_is_written_where_the_program_wants_no_errors_of_logging(
    hearing: Hearing, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(logging, "raiseExceptions", False)
    hearing.error = ConnectionError("away")
    Log(NAME).info("x")
    assert capsys.readouterr().err == ""
    monkeypatch.setattr(logging, "raiseExceptions", True)
    monkeypatch.setattr(sys, "stderr", None)
    Log(NAME).info("x")


def test_interrupts_are_not_swallowed(hearing: Hearing) -> None:
    hearing.error = KeyboardInterrupt()  # type: ignore[assignment]
    with pytest.raises(KeyboardInterrupt):
        Log(NAME).info("x")


def test_a_record_of_another_process_is_logged_as_it_was_made(hearing: Hearing) -> None:
    relay({"name": NAME, "levelno": logging.INFO, "levelname": "INFO", "msg": "over there", "args": None, "topic": "t"})
    relay({"name": NAME, "levelno": logging.NOTSET, "msg": "too low"})
    hearing.error = ConnectionError("away")
    relay({"name": NAME, "levelno": logging.INFO, "msg": "x"})

    assert [(record.getMessage(), record.__dict__["topic"]) for record in hearing.records] == [("over there", "t")]


def test_fields_of_ours_have_short_names_in_json_where_these_are_free(hearing: Hearing) -> None:
    def told(**more: Any) -> dict[str, Any]:
        Log(NAME).info("done", extra={"topic": "orders", "level": 3})
        vars(hearing.records[-1]).update(more)
        found = json.loads(JsonFormatter().format(hearing.records[-1]))
        assert isinstance(found, dict)
        return found

    assert (told()["topic"], told()["level"], told()["pyrallel_level"]) == ("orders", "info", 3)
    taken = told(topic="the user's")
    assert (taken["topic"], taken["pyrallel_topic"]) == ("the user's", "orders")


def test_of_many_names_the_first_twenty_are_listed_and_the_others_counted() -> None:
    assert listed(["a", "b"]) == "a, b"
    assert listed([str(number) for number in range(20)]).endswith("18, 19")
    assert listed(["x"] * 2000).endswith("x, and 1,980 more")
