"""What the client says beside messages: errors, statistics, log lines, and the user's own callbacks for them.

All of it is called on the poll thread, from within ``poll``. Nothing here raises: an exception out of a callback would
destroy messages the client has already taken, the user's callbacks included.
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
# which takes an exception from it for the failure to get a token.
USER_CALLBACKS: Final = ("error_cb", "stats_cb", "throttle_cb", "on_commit")


class ClientLog:
    """The ``logger`` the client is given where the user names none: each of its facilities speaks once in a while."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._throttle = LogThrottle(CLIENT_LOGGER, clock)

    def log(self, level: int, template: str, facility: str, name: str, text: str) -> None:
        """Called by the client with librdkafka's facility (such as ``FAIL``), the client's name and the line."""
        self._throttle.log(level, facility, template % (facility, name, text))


class GuardedLog:
    """The ``logger`` of the user's or ours, for the client: what it raises would come out of ``poll``."""

    def __init__(self, inner: Any) -> None:
        self._inner = inner

    def log(self, *arguments: Any) -> None:
        """Called by the client with the level, a template, and what belongs into it."""
        with suppress(Exception):  # There is no place left to report it to.
            self._inner.log(*arguments)


class ClientEvents:
    """Hears the client. ``errors_by_code`` counts what it said; ``refusal`` is a refusal of credentials, if any."""

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
        """The configuration with our callbacks in place of the user's, which ours call in turn."""
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
        """An error of the client or of a fetch; ends the consumer where it is one that does not go away.

        ``extra`` goes into the log record beside the error's code.
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
