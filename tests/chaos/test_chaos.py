"""Two minutes of chaos, with schedules that do not change. ``make chaos`` draws others, and ``OUTPUT=exactly_once``."""

from __future__ import annotations

import pytest

from tests.chaos.run import chaos_run
from tests.kafka.conftest import skip_or_fail
from tests.kafka_jars import KafkaUnavailableError

MINUTES = 1.0
RUNS = [("process", "auto", 1), ("async", "classic", 2)]


@pytest.mark.long
@pytest.mark.parametrize(("engine", "protocol", "seed"), RUNS)
def test_whatever_breaks_nothing_is_missing_out_of_order_or_run_again_without_a_reason(
    engine: str, protocol: str, seed: int
) -> None:
    try:
        result = chaos_run(seed, MINUTES, engine=engine, protocol=protocol, report=print)
    except KafkaUnavailableError as error:
        skip_or_fail(error)

    assert result.is_clean, result.text
