"""Policies carry the settings to the control plane."""

from __future__ import annotations

from typing import Any

import pytest

from pyrallel_consumer.config import ExecutionConfig, ParallelConsumerConfig
from pyrallel_consumer.control_plane.policies import FlowLimits, OrderingPolicy, RetryPolicy
from pyrallel_consumer.dto import NullKeyOrdering, OnExhausted, OrderingMode
from pyrallel_consumer.errors import ConfigurationError


def test_policies_carry_the_settings() -> None:
    parallel = ParallelConsumerConfig(
        ordering_mode="partition", null_key_ordering="partition", queue_max_messages=3, queue_max_bytes=4
    )
    assert parallel.ordering_policy() == OrderingPolicy(OrderingMode.PARTITION, NullKeyOrdering.PARTITION)
    assert parallel.flow_limits() == FlowLimits(max_messages=3, max_bytes=4)
    execution = ExecutionConfig(
        max_retries=1,
        retry_backoff_ms=2,
        exponential_backoff=False,
        max_retry_backoff_ms=3,
        retry_jitter_ms=4,
        task_timeout_ms=5,
    )
    assert execution.retry_policy() == RetryPolicy(1, 2, False, 3, 4, 5)


def test_policies_and_settings_have_the_same_defaults() -> None:
    assert ParallelConsumerConfig().ordering_policy() == OrderingPolicy()
    assert ParallelConsumerConfig().flow_limits() == FlowLimits()
    assert ExecutionConfig().retry_policy() == RetryPolicy()


@pytest.mark.parametrize(
    ("choice", "dlq_enabled", "expected"),
    [
        (None, True, OnExhausted.DLQ),
        (None, False, OnExhausted.STOP),
        ("dlq", True, OnExhausted.DLQ),
        ("skip", True, OnExhausted.SKIP),
        ("skip", False, OnExhausted.SKIP),
        ("pause_partition", False, OnExhausted.PAUSE_PARTITION),
    ],
)
def test_what_follows_the_last_attempt_is_the_named_choice_or_no_silent_drop(
    choice: Any, dlq_enabled: bool, expected: OnExhausted
) -> None:
    assert ExecutionConfig(on_exhausted=choice).exhaustion(dlq_enabled=dlq_enabled) is expected


def test_dead_letters_cannot_be_chosen_where_they_are_off() -> None:
    with pytest.raises(ConfigurationError, match=r"ExecutionConfig\.on_exhausted is dlq and KafkaConfig\.dlq_enabled"):
        ExecutionConfig(on_exhausted="dlq").exhaustion(dlq_enabled=False)


def test_an_initializer_is_a_function_or_the_place_of_one() -> None:
    assert ExecutionConfig(initializer=print).validate_all().initializer is print
    assert ExecutionConfig(initializer="package.module:Class.method").initializer == "package.module:Class.method"
    for wrong in ("module.function", "module:", "rm -rf", 7):
        with pytest.raises(ConfigurationError, match=r"ExecutionConfig\.initializer"):
            ExecutionConfig(initializer=wrong)  # type: ignore[arg-type]
