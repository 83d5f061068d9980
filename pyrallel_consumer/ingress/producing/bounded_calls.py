"""``BoundedCalls``: blocking calls of a client on a thread of its own, so that only this one hangs.

The client's calls have timeouts, and do not always keep them: ``send_offsets_to_transaction`` waits forever for a group
coordinator whose connection the client has given up after all brokers were away (librdkafka 2.16). Nothing can end a
call that has begun. So its thread stays behind with the client, and ends when the call does.
"""

from __future__ import annotations

import contextlib
import queue
import threading
from collections.abc import Callable
from concurrent.futures import Future
from concurrent.futures import TimeoutError as NotInTime
from typing import Final

from confluent_kafka import KafkaError, KafkaException

THREAD_NAME: Final = "pyrallel-transaction-calls"


class BoundedCalls:
    """For one client, and for one thread that asks. A call that was not waited for is the last one."""

    def __init__(self) -> None:
        self._asked: queue.SimpleQueue[tuple[Callable[[], object], Future[None]] | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name=THREAD_NAME, daemon=True)
        self._thread.start()

    def make(self, call: Callable[[], object], name: str, seconds: float) -> None:
        """Make ``call``, and raise what it raises; a fatal KafkaException (_TIMED_OUT) if it does not return then."""
        future: Future[None] = Future()
        self._asked.put((call, future))
        for _ in range(2):  # A process that stood still uses up one wait, and the call goes on with it.
            with contextlib.suppress(NotInTime):
                return future.result(seconds / 2)
        told = f"the client's call {name} did not return within {seconds:g} s, beyond its own timeout"
        raise KafkaException(KafkaError(KafkaError._TIMED_OUT, told, fatal=True))  # noqa: SLF001 -- the client's name

    def end(self, farewell: Callable[[], None], seconds: float) -> None:
        """Call ``farewell`` at last, when earlier calls have returned, and wait for that for so long."""
        self._asked.put((farewell, Future()))
        self._asked.put(None)
        del farewell  # The client that it holds is destroyed by the thread that may wait for it.
        self._thread.join(seconds)

    def _run(self) -> None:
        while (asked := self._asked.get()) is not None:
            call, future = asked
            del asked
            try:
                call()
            except BaseException as error:  # noqa: BLE001 -- it is raised where it is waited for
                future.set_exception(error)
            else:
                future.set_result(None)
            del call, future  # This may destroy the client, and that may wait, too.
