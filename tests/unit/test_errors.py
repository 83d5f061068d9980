"""The exception hierarchy: the class says whose fault it is, and catching the plain Python class works too."""

from __future__ import annotations

import itertools
import pickle
from typing import Any

import pytest

from pyrallel_consumer import errors
from pyrallel_consumer.errors import BatchFailed, BrokerError, DoNotRetry, PyrallelConsumerError, RetryLater

SIGNALS = {RetryLater, DoNotRetry, BatchFailed}
ALL = [value for value in vars(errors).values() if isinstance(value, type) and issubclass(value, Exception)]


def test_every_error_but_the_workers_signals_has_the_one_root() -> None:
    outside = {error for error in ALL if not issubclass(error, PyrallelConsumerError)}

    assert outside == SIGNALS


@pytest.mark.parametrize("error", ALL)
def test_every_error_says_what_it_means(error: type[Exception]) -> None:
    assert error.__doc__


@pytest.mark.parametrize(
    ("error", "plain"),
    [
        (errors.ConfigurationError, ValueError),
        (errors.WorkerMismatchError, errors.ConfigurationError),
        (errors.StateError, RuntimeError),
        (errors.TaskTimeoutError, TimeoutError),
        (errors.BrokerUnreachableError, BrokerError),
        (errors.AuthenticationError, BrokerError),
        (errors.UnknownTopicError, BrokerError),
    ],
)
def test_errors_are_also_what_a_reader_of_plain_python_expects(error: type, plain: type) -> None:
    assert issubclass(error, plain)


def test_a_broker_error_carries_its_code_and_whether_trying_again_may_help() -> None:
    error = BrokerError("no way in", code="TOPIC_AUTHORIZATION_FAILED")

    assert (str(error), error.code, error.retriable) == ("no way in", "TOPIC_AUTHORIZATION_FAILED", False)
    assert BrokerError("wait", code="_TRANSPORT", retriable=True).retriable


def test_retry_later_carries_its_delay_and_a_reason() -> None:
    assert RetryLater(250).delay_ms == 250
    assert "250 ms" in str(RetryLater(250))
    assert str(RetryLater(0, "the shop is closed")) == "the shop is closed"


@pytest.mark.parametrize(
    "delay",
    [-1, float("nan"), float("inf"), 10**400, 10**5000, 86_400_001, True, "5", None],
    ids=itertools.count(),
)
def test_retry_later_refuses_what_is_no_delay_and_says_what_is(delay: Any) -> None:
    with pytest.raises(ValueError, match=r"delay_ms must be a number of milliseconds from 0 to 86,400,000"):
        RetryLater(delay)


def test_retry_later_survives_its_way_between_processes() -> None:
    later = RetryLater(250, "the shop is closed", charge=False)
    later.add_note("it is Sunday")
    restored = pickle.loads(pickle.dumps(later))  # noqa: S301 -- our own

    assert (restored.delay_ms, restored.charge, str(restored)) == (250, False, "the shop is closed")
    assert restored.__notes__ == ["it is Sunday"]
