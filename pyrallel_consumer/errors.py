"""The whole exception hierarchy, sorted by who broke it.

``ConfigurationError`` and ``StateError``: you, the caller. ``BrokerError``: Kafka or the way to it.
``ExecutionError``: the run of a worker. ``InvariantViolation``: us. The exception of a user's worker is data
(``CompletionEvent.error``) and is never raised through this package's stack. A worker may raise ``RetryLater`` and
``DoNotRetry`` to control its retries.
"""

from __future__ import annotations

from collections.abc import Mapping
from numbers import Real
from typing import Any, Final

_LONGEST_DELAY_MS: Final = 86_400_000


class PyrallelConsumerError(Exception):
    """Root of every error this library raises."""


class ConfigurationError(PyrallelConsumerError, ValueError):
    """A setting, topic or worker does not fit. Raised before any connection is made; names the setting."""


class WorkerMismatchError(ConfigurationError):
    """The worker's kind does not fit the execution mode; the message names the mode that would fit."""


class StateError(PyrallelConsumerError, RuntimeError):
    """A method was called in a state that does not allow it: started twice, stopped before it started."""


class BrokerError(PyrallelConsumerError):
    """The broker refused, or could not be reached.

    ``code`` is librdkafka's or the protocol's name of the error (``_ALL_BROKERS_DOWN``,
    ``TOPIC_AUTHORIZATION_FAILED``); ``retriable`` says whether the same call may succeed later.
    """

    def __init__(self, message: str, *, code: str, retriable: bool = False) -> None:
        super().__init__(message)
        self.code = code
        self.retriable = retriable


class BrokerUnreachableError(BrokerError):
    """No broker of ``bootstrap_servers`` answered in time."""


class AuthenticationError(BrokerError):
    """The broker refused the credentials or the TLS handshake failed."""


class UnknownTopicError(BrokerError):
    """A subscribed topic does not exist."""


class ExecutionError(PyrallelConsumerError):
    """An attempt failed for a reason outside the worker's own code."""


class TaskTimeoutError(ExecutionError, TimeoutError):
    """An attempt ran longer than ``task_timeout_ms``."""


class ProcessDiedError(ExecutionError):
    """The worker process died while it ran an attempt: killed, out of memory, a crash in C code, ``os._exit``."""


class LifespanError(ExecutionError):
    """The ``lifespan``, or a worker that is a context manager, failed when it was entered or left, with the cause.

    When it is entered, the consumer does not start. When it is left, all that was processed is committed already.
    """


class MessageExhaustedError(ExecutionError):
    """A message failed its last attempt and ``on_exhausted`` is ``stop``; the worker's error is the cause.

    ``place`` has the message's ``topic``, ``partition``, ``offset`` and ``epoch``.
    """

    def __init__(self, message: str, place: Mapping[str, object] | None = None) -> None:
        super().__init__(message)
        self.place = dict(place or {})


class RecordError(ExecutionError):
    """A worker's return value cannot be written: it is no record, or one that Kafka cannot store."""


class RecordRefusedError(RecordError):
    """The broker refused a record that a worker returned, and will refuse it again; ``code`` is the error's name."""

    def __init__(self, message: str, *, code: str) -> None:
        super().__init__(message)
        self.code = code


class PoisonKeyError(ExecutionError):
    """A message was not tried, because several messages of its key had failed: the reason in its dead letter."""


class RetryLater(Exception):  # noqa: N818 -- a signal that workers raise, named as they say it
    """Raised by a worker: try this message again after ``delay_ms`` milliseconds, 0 to 86,400,000 (24 hours).

    The attempt counts as a failed one. With ``charge=False`` it does not count, up to 1,000 times for one message. Use
    that when the message is not at fault, for example when a service asks to be called later. ValueError if the delay
    is not a number or out of range. A subclass without a valid delay is an ordinary failed attempt.
    """

    def __init__(self, delay_ms: float, reason: str = "", *, charge: bool = True) -> None:
        if delay_in_range(delay_ms) is None:
            raise ValueError("RetryLater: delay_ms must be a number of milliseconds from 0 to 86,400,000 (24 hours)")
        super().__init__(reason or f"the worker asked for another attempt in {delay_ms} ms")
        self.delay_ms = delay_ms
        self.charge = charge

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.delay_ms, str(self)), self.__dict__


class DoNotRetry(Exception):  # noqa: N818 -- a signal that workers raise, named as they say it
    """Raised by a worker: this message can never be processed, so give it up without further attempts."""


class DecodeError(ExecutionError, DoNotRetry):
    """The key or value of a message cannot be decoded: it is given up without another attempt, its bytes untouched.

    ``field`` is ``key`` or ``value``; ``topic``, ``partition`` and ``offset`` are the message's. The cause is the
    deserializer's error. A deserializer may raise this itself: missing fields are filled in.
    """

    def __init__(
        self, message: str, *, topic: str = "", partition: int = -1, offset: int = -1, field: str = "value"
    ) -> None:
        super().__init__(message)
        self.topic = topic
        self.partition = partition
        self.offset = offset
        self.field = field


class BatchFailed(Exception):  # noqa: N818 -- a signal that workers raise, named as they say it
    """Raised by a worker that takes batches: names the messages that failed, ``{item: error, ...}``.

    The others are done. Items are matched by ``item.id`` and ``item.epoch``, so copies will do. A named message is
    tried again as its error says (``RetryLater``, ``DoNotRetry``, or any other exception). Later messages of its key in
    the batch run again after it, and no attempt counts for that. TypeError if an error is not an exception, ValueError
    if no message is named.
    """

    def __init__(self, errors: Mapping[Any, BaseException]) -> None:
        if not isinstance(errors, Mapping):
            raise TypeError(f"BatchFailed takes {{item: error, ...}}, not {type(errors).__name__}")
        for item, error in errors.items():
            if not isinstance(error, BaseException):
                raise TypeError(
                    f"BatchFailed takes {{item: error, ...}}: the error of {item!r} is {error!r} and no exception"
                )
        if not errors:
            raise ValueError("BatchFailed names no message: return, where none failed, or raise the error of the batch")
        super().__init__(f"{len(errors)} messages of a batch failed")
        self.errors = dict(errors)

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.errors,), self.__dict__


class InvariantViolation(PyrallelConsumerError):  # noqa: N818 -- states what happened; never caught by us
    """A rule of the control plane does not hold: a bug of this library. Stops the consumer, never caught."""


def delay_in_range(delay_ms: object) -> float | None:
    """``delay_ms`` as a float where it is a real number from 0 to 24 hours, else None. A boolean is no number."""
    if isinstance(delay_ms, bool) or not isinstance(delay_ms, Real):
        return None
    try:
        milliseconds = float(delay_ms)
    except OverflowError:
        return None
    return milliseconds if 0 <= milliseconds <= _LONGEST_DELAY_MS else None
