"""Log records as JSON: one line each, with every field of the log call."""

from __future__ import annotations

import json
import logging
from typing import Any

from pyrallel_consumer.cli.run.log import JsonFormatter


def formatted(message: str, *args: object, **more: Any) -> dict[str, Any]:
    record = logging.getLogger("app").makeRecord(
        "app", logging.WARNING, "f", 1, message, args, **({"exc_info": None} | more)
    )
    line = JsonFormatter().format(record)
    assert "\n" not in line
    told = json.loads(line)
    assert isinstance(told, dict)
    return told


def test_a_record_has_its_time_level_logger_and_message() -> None:
    told = formatted("%d of %s", 3, "orders")

    assert told.pop("time").endswith("+00:00")
    assert told == {"level": "warning", "logger": "app", "message": "3 of orders"}


def test_what_was_given_as_extra_is_there_as_it_was() -> None:
    told = formatted("done", extra={"topic": "orders", "offset": 5, "tags": ["a"], "who": None})

    assert (told["topic"], told["offset"], told["tags"], told["who"]) == ("orders", 5, ["a"], None)


def test_an_extra_of_a_name_that_is_taken_stands_beside_it() -> None:
    told = formatted("done", extra={"level": "high", "time": 1})

    assert (told["level"], told["level_"], told["time_"]) == ("warning", "high", 1)


def test_what_json_does_not_know_is_written_as_text() -> None:
    told = formatted("done", extra={"key": b"k", "error_class": ValueError})
    assert (told["key"], told["error_class"]) == ("b'k'", "<class 'ValueError'>")
    told = formatted("done", extra={"by_partition": {("orders", 1): 2}, "ratio": float("nan")})
    assert (told["by_partition"], told["ratio"], told["message"]) == ("{('orders', 1): 2}", "nan", "done")


def test_an_error_in_the_message_is_the_error_of_the_record() -> None:
    told = formatted("cannot read %s: %s", "orders", OSError("no route"))

    assert (told["message"], told["error"]) == ("cannot read orders: no route", "OSError: no route")


def test_an_exception_comes_with_its_traceback() -> None:
    try:
        raise ValueError("bad")
    except ValueError as error:
        told = formatted("failed", exc_info=(type(error), error, error.__traceback__))

    assert told["error"].startswith("Traceback")
    assert told["error"].endswith("ValueError: bad")
