"""The client's events beside messages: errors, statistics, log lines, and the user's own callbacks for them.

All of it is called on the poll thread, from within ``poll``. Nothing here raises, even if a user's callback does: an
exception out of a callback would destroy messages that the client has already taken.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any, Final

from confluent_kafka import KafkaError

from pyrallel_consumer.ingress.client.error_kinds import is_fatal, is_refusal
from pyrallel_consumer.ingress.client.log_throttle import LogThrottle
from pyrallel_consumer.ingress.client.statistics import Statistics
from pyrallel_consumer.log import Log

CLIENT_LOGGER: Final = Log("pyrallel_consumer.client")
# Callbacks of the user's mapping that are called from `poll`. `oauth_cb` is not among them: it answers the client,
# and the client treats an exception of it as the failure to get a token.
USER_CALLBACKS: Final = ("error_cb", "stats_cb", "throttle_cb", "on_commit")


class ClientLog:
    """The client's ``logger`` if the user names none: each facility of the client is logged now and then only."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._throttle = LogThrottle(CLIENT_LOGGER, clock)

    def log(self, level: int, template: str, facility: str, name: str, text: str) -> None:
        """Called by the client with librdkafka's facility (such as ``FAIL``), the client's name and the line."""
        self._throttle.log(level, facility, template % (facility, name, text))


class GuardedLog:
    """The client's ``logger``, the user's or ours, without its exceptions: they would come out of ``poll``."""

    def __init__(self, inner: Any) -> None:
        self._inner = inner

    def log(self, *arguments: Any) -> None:
        """Called by the client with the level, a template, and its arguments."""
        with suppress(Exception):  # Nothing is left to report it to.
            self._inner.log(*arguments)


class ClientEvents:
    """Takes the client's events. ``errors_by_code`` counts its errors; ``refusal`` is a refusal of credentials."""

    def __init__(
        self, clock: Callable[[], float], throttle: LogThrottle, fail_with: Callable[[KafkaError], None]
    ) -> None:
        self._clock = clock
        self._throttle = throttle
        self._fail_with = fail_with
        self._user: dict[str, Callable[..., object]] = {}
        self.statistics = Statistics(clock)
        self.errors_by_code: Counter[str] = Counter()
        self.last_error: KafkaError | None = None
        self.refusal: KafkaError | None = None

    def installed_in(self, configuration: Mapping[str, Any], on_commit: Callable[..., None]) -> dict[str, Any]:
        """The configuration with our callbacks instead of the user's; ours call the user's."""
        own: dict[str, Callable[..., None]] = {
            "error_cb": self._on_error,
            "on_commit": on_commit,
            "stats_cb": self._on_statistics,
        }
        result = dict(configuration)
        result["statistics.interval.ms"] = self.statistics.interval_ms(configuration)
        for name in USER_CALLBACKS:
            users = configuration.get(name)
            if name in own or users is not None:
                result[name] = self._guarded(name, own.get(name), users)
        result["logger"] = GuardedLog(configuration.get("logger") or ClientLog(self._clock))
        return result

    def note(self, error: KafkaError, where: str, extra: Mapping[str, object] | None = None) -> None:
        """An error of the client or of a fetch; it ends the consumer if it is permanent.

        ``extra`` are more fields of the log record, beside the error's code.
        """
        code = error.name()
        self.errors_by_code[code] += 1
        self.last_error = error
        if is_refusal(error):
            self.refusal = error
        if is_fatal(error):
            self._fail_with(error)
            return
        self._throttle.log(logging.WARNING, code, f"{where}: {error.str()} ({code})", {"code": code, **(extra or {})})

    def _on_error(self, error: KafkaError) -> None:
        self.note(error, "the client reports")

    def _on_statistics(self, report: str) -> None:
        try:
            self.statistics.take(report)
        except Exception as error:  # noqa: BLE001 -- a picture: what comes of it must not come out of ``poll``
            said = f"the client's statistics were not understood ({error!r}); whether brokers answer is not known"
            self._throttle.log(logging.ERROR, "statistics", said)

    def _guarded(
        self, name: str, own: Callable[..., None] | None, users: Callable[..., object] | None
    ) -> Callable[..., None]:
        def call(*arguments: object) -> None:
            if own is not None:
                own(*arguments)
            if users is None or (name == "stats_cb" and not self.statistics.is_users_turn):
                return
            try:
                users(*arguments)
            except BaseException as error:  # noqa: BLE001 -- the user's code; see the module's law
                self._throttle.log(logging.ERROR, f"callback {name}", f"your {name} raised {error!r}; it is ignored")

        return call
