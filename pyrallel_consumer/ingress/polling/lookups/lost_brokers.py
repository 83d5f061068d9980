"""Whether the client has lost its brokers permanently, so that another client must read.

Either its statistics tell that it knows none, or no broker answers it while other clients are answered: librdkafka may
keep asking brokers at addresses that are out of date (both are told in its issue 5301). In the second case a new admin
client asks, which knows only the bootstrap servers. Nothing waits for its answer. Belongs to the poll thread.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from typing import Any, Final

from pyrallel_consumer.ingress.admin.admin_look import AdminLook, answered
from pyrallel_consumer.ingress.client.statistics import Statistics
from pyrallel_consumer.log import Log

LOGGER: Final = Log("pyrallel_consumer.ingress")
LONG_SECONDS: Final = 20.0
TIMES: Final = 4
"""So many answers in a row, ``ASK_EVERY_SECONDS`` apart: a client connects within 10 s to a broker that comes back."""
MOST_SECONDS: Final = 300.0
"""The silence that is waited for doubles with each client that was given up, up to this."""
ASK_EVERY_SECONDS: Final = 5.0
ANSWER_SECONDS: Final = 4.0


class LostBrokers:
    """``made_admin`` makes an admin client that has asked nothing yet."""

    def __init__(self, made_admin: Callable[[], AdminLook], statistics: Statistics, clock: Callable[[], float]) -> None:
        self._made_admin = made_admin
        self._silence = statistics.silence
        self._known = statistics.known_brokers
        self._patience_seconds = LONG_SECONDS
        self._ask_at = clock()
        self._times = 0
        self._admin: AdminLook | None = None
        self._answers: Mapping[str, Future[Any]] = {}

    def is_client_lost(self, topics: Sequence[str], now: float) -> bool:
        """Whether our client knows no broker, or a new client hears one while ours has heard none for long.

        The answer is logged, and given once.
        """
        if self._known.are_lost:
            LOGGER.warning("the client has lost all brokers and looks for none any more: a new client joins the group")
            self._known.forget()
            self._let_go()
            return True
        if self._silence.seconds < self._patience_seconds or not topics:
            self._let_go()
            self._times = 0
            return False
        if self._admin is None:
            if now >= self._ask_at:
                self._ask_at = now + ASK_EVERY_SECONDS
                self._admin = self._made_admin()
                self._answers = self._admin.topic_ids(topics[:1], ANSWER_SECONDS)
            return False
        self._admin.serve()
        if not all(answer.done() for answer in self._answers.values()):
            return False
        is_heard = any(answered(answer) is not None for answer in self._answers.values())
        self._let_go()
        self._times = self._times + 1 if is_heard else 0
        if self._times < TIMES:
            return False
        self._times = 0
        self._patience_seconds = min(2 * self._patience_seconds, MOST_SECONDS)
        LOGGER.warning(
            "no broker has answered this client for %.0f s, and other clients are answered: a new one joins the group",
            self._silence.seconds,
        )
        return True

    def _let_go(self) -> None:
        if self._admin is not None:
            self._admin.close()
            self._admin, self._answers = None, {}
