"""Consumers in a Prometheus registry of the user's: one collector for each registry, for all consumers in it.

Consumers may live on different event loops, so a lock guards the table.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

from pyrallel_consumer.errors import ConfigurationError
from pyrallel_consumer.observability.metrics.metrics import ConsumerCollector
from pyrallel_consumer.observability.metrics.series import HasNumbers

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry

_lock = threading.Lock()


class _Members:
    """The consumers in one registry; the tuple is replaced, so that a scrape sees one or the other."""

    def __init__(self) -> None:
        self.all: tuple[HasNumbers, ...] = ()
        self.collector = ConsumerCollector(lambda: self.all)


_members: WeakKeyDictionary[CollectorRegistry, _Members] = WeakKeyDictionary()


def check_registry(registry: object) -> None:
    """Raise ConfigurationError where ``registry`` is no registry of prometheus_client."""
    if not all(callable(getattr(registry, name, None)) for name in ("register", "unregister")):
        raise ConfigurationError(
            f"registry={registry!r}: give a prometheus_client.CollectorRegistry, such as prometheus_client.REGISTRY"
        )


class RegistryPlace:
    """One consumer's place in ``registry``, from its making to ``leave``.

    Raises ConfigurationError where the registry has metrics of these names already, of somebody else's.
    """

    def __init__(self, registry: CollectorRegistry, measured: HasNumbers) -> None:
        self._registry = registry
        self._measured = measured
        with _lock:
            members = _members.get(registry)
            if members is None:
                members = _Members()
                try:
                    registry.register(members.collector)
                except ValueError as error:
                    raise ConfigurationError(
                        f"registry: it has metrics of the consumer's names already, of another collector: {error}"
                    ) from error
                _members[registry] = members
            self._of = members
            members.all = (*members.all, measured)

    def leave(self) -> None:
        """Show this consumer no more. For any thread; a second call does nothing."""
        members = self._of
        with _lock:
            before = members.all
            members.all = tuple(each for each in before if each is not self._measured)
            if before and not members.all:
                del _members[self._registry]
                self._registry.unregister(members.collector)
