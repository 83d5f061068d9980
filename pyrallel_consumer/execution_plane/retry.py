"""After a failed attempt: how long to wait before the next one, or to give up.

Pure formulas over ``RetryPolicy`` and the worker's exception; randomness comes in as a number in [0, 1).
No exception of a worker makes these functions raise.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from pyrallel_consumer.errors import DoNotRetry, RetryLater, delay_in_range
from pyrallel_consumer.foreign_errors import attempted, attribute, is_a

if TYPE_CHECKING:
    from pyrallel_consumer.control_plane.policies import RetryPolicy

MOST_UNCHARGED: Final = 1000
"""How often one message may be put off without counting an attempt; after that, ``charge=False`` has no effect."""

_MAX_DOUBLINGS = 62
"""More doublings change no realistic wait, and a huge power costs memory and time."""


class Wait(NamedTuple):
    """The wait before another attempt, and whether the ended attempt counts."""

    milliseconds: float
    is_charged: bool = True


def backoff_ms(policy: RetryPolicy, attempt: int, jitter: float) -> float:
    """Milliseconds between the end of failed attempt ``attempt`` (1-based) and the start of the next one.

    ``jitter`` in [0, 1) is the share of ``policy.jitter_ms`` that is added on top of the bounded backoff.
    """
    if policy.exponential:
        backoff = policy.backoff_ms << min(attempt - 1, _MAX_DOUBLINGS)
    else:
        backoff = policy.backoff_ms * attempt
    return min(backoff, policy.max_backoff_ms) + jitter * policy.jitter_ms


def asked_for(error: BaseException) -> Wait | None:
    """The wait that a ``RetryLater`` asks for; None for another error, or if the delay is not in range.

    A user's subclass may lack the delay, or raise when it is read.
    """
    if not is_a(error, RetryLater):
        return None
    delay_ms = attempted(lambda: delay_in_range(attribute(error, "delay_ms")), None)
    return None if delay_ms is None else Wait(delay_ms, attribute(error, "charge", otherwise=True) is not False)


def is_of_its_own(error: BaseException) -> bool:
    """Whether this error of a single message decides about that message alone."""
    return is_a(error, DoNotRetry) or asked_for(error) is not None


def next_wait(
    policy: RetryPolicy, attempt: int, error: BaseException, jitter: float, uncharged: int = 0
) -> Wait | None:
    """The wait before the attempt after ``attempt``, which failed with ``error``; None = there is none.

    ``RetryLater`` sets its own wait, without jitter and without the upper bound, and ``DoNotRetry`` ends it at once.
    ``uncharged`` is how often the message was put off without a charge. With a policy of no attempts at all there never
    is a wait: somebody else tries again.
    """
    if is_a(error, DoNotRetry) or not policy.max_attempts:
        return None
    asked = asked_for(error)
    if asked is not None and not asked.is_charged and uncharged < MOST_UNCHARGED:
        return asked
    if attempt >= policy.max_attempts:
        return None
    return Wait(backoff_ms(policy, attempt, jitter) if asked is None else asked.milliseconds)
