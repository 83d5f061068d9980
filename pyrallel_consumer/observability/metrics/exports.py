"""Where a consumer's numbers go besides its endpoint: a Prometheus registry of the user's, and OpenTelemetry."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import TYPE_CHECKING

from pyrallel_consumer.errors import ConfigurationError
from pyrallel_consumer.observability.metrics.series import HasNumbers

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry


def check_exports(registry: object | None, *, is_open_telemetry: bool) -> None:
    """Raise ConfigurationError where the numbers cannot go there."""
    if registry is not None:
        from pyrallel_consumer.observability.metrics.user_registry import check_registry  # noqa: PLC0415 -- who has none loads nothing

        check_registry(registry)
    if is_open_telemetry:
        try:
            import_module("opentelemetry.metrics")
        except ModuleNotFoundError as error:
            raise ConfigurationError(
                f"MetricsConfig.open_telemetry is on, and {error.name} is not installed: "
                "pip install 'pyrallel-consumer[otel]', or turn it off (environment: METRICS_OPEN_TELEMETRY=false)"
            ) from error


def export(
    measured: HasNumbers, registry: CollectorRegistry | None, *, is_open_telemetry: bool
) -> list[Callable[[], None]]:
    """Show the consumer's numbers from now on; returns what ends that. Raises as ``RegistryPlace``."""
    ends: list[Callable[[], None]] = []
    if registry is not None:
        from pyrallel_consumer.observability.metrics.user_registry import RegistryPlace  # noqa: PLC0415 -- as above

        ends.append(RegistryPlace(registry, measured).leave)
    if is_open_telemetry:
        from pyrallel_consumer.observability.metrics.open_telemetry import of_process  # noqa: PLC0415 -- an extra

        ends.append(of_process().join(measured))
    return ends
