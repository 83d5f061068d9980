"""Whether attempts are traced: the only place that knows OpenTelemetry may be missing. Off, nothing of it is loaded."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pyrallel_consumer.config import ExecutionConfig
from pyrallel_consumer.error_text import ErrorText
from pyrallel_consumer.errors import ConfigurationError

if TYPE_CHECKING:
    from pyrallel_consumer.observability.tracing.spans import ItemsOf, Spans


def spans_for(execution: ExecutionConfig, group: str, items_of: ItemsOf) -> Spans | None:
    """The spans of a consumer of ``group``; None if tracing is off. ``items_of`` gives the messages of a batch.

    Raises ConfigurationError if it is on and OpenTelemetry is not installed.
    """
    if not execution.tracing:
        return None
    try:
        from pyrallel_consumer.observability.tracing.spans import Spans  # noqa: PLC0415 -- an extra, loaded only where asked for
    except ModuleNotFoundError as error:
        raise ConfigurationError(
            f"ExecutionConfig.tracing is on, and {error.name} is not installed: pip install 'pyrallel-consumer[otel]', "
            "or turn tracing off (environment: EXECUTION_TRACING=false)"
        ) from error
    return Spans(group, ErrorText(execution.show_error_text), items_of if execution.batch_size > 1 else None)
