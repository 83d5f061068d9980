"""How long the session of a KIP-848 group is: the broker's to set, asked until it is told, and not waited for.

The question needs DESCRIBE_CONFIGS on the group. Without that right Kafka's default counts. Belongs to the poll thread.
"""

from __future__ import annotations

from concurrent.futures import Future
from math import inf
from typing import Any, Final

from pyrallel_consumer.ingress.admin.admin_look import AdminLook, answered
from pyrallel_consumer.ingress.reading.coordinator_silence import CoordinatorSilence

ANSWER_SECONDS: Final = 5.0
ASK_AGAIN_SECONDS: Final = 60.0
SESSION: Final = "consumer.session.timeout.ms"


class GroupSession:
    """Tells ``silence`` of the session of ``group``."""

    def __init__(self, admin: AdminLook, group: str, silence: CoordinatorSilence) -> None:
        self._admin = admin
        self._group = group
        self._silence = silence
        self._ask_at = -inf
        self._answer: Future[Any] | None = None

    def look(self, now: float) -> None:
        """Ask, or take the answer when it is there. ``now`` is the monotonic clock's."""
        if self._answer is not None:
            self._admin.serve()
            if self._answer.done():
                self._take(answered(self._answer))
                self._answer = None
        elif now >= self._ask_at:
            self._ask_at = now + ASK_AGAIN_SECONDS
            self._answer = self._admin.group_settings(self._group, ANSWER_SECONDS)

    def _take(self, settings: Any) -> None:
        told = None if settings is None else settings.get(SESSION)
        if told is not None and str(told.value).isdigit():
            self._silence.session_seconds = int(told.value) / 1000
            self._ask_at = inf
