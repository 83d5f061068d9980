"""Dead letters that are not acknowledged yet: which letters are sent now, and what happens to a refused letter.

Owned by the event loop; decides, and produces nothing. Each dead-letter topic has its own queue, so that a topic that
is missing or forbidden delays no letter of another topic. After a failure the topic's queue waits, longer each time up
to a bound, and then sends one letter as a probe. When the probe arrives, all others follow at once. No letter is ever
given up: it leaves the queue when it is acknowledged, or when its assignment ends.

A broker refuses a whole batch for one record in it, and the client does not say which. So each letter of the batch is
sent again alone. A letter that is refused alone is changed step by step (``Letter.shrink``) until its topic accepts it.
When nothing is left to change, the letter rests and is tried again later, and the others go on.
"""

from __future__ import annotations

import heapq
from collections import Counter, deque
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, ClassVar, Final

from pyrallel_consumer.control_plane.failures.letter import TOO_LARGE, UNREADABLE

if TYPE_CHECKING:
    from collections.abc import Callable

    from pyrallel_consumer.control_plane.failures.letter import Letter
    from pyrallel_consumer.dto import WorkItem

REFUSED: Final = TOO_LARGE | {"INVALID_RECORD", "INVALID_MSG", "INVALID_MSG_SIZE", UNREADABLE}
"""Errors about the content of a letter: they stay the same until the letter changes."""
LETTERS_OWN: Final = REFUSED | {"POLICY_VIOLATION"}
"""Errors about one letter, and not about its topic. INVALID_TIMESTAMP is not among them: letters carry this machine's
time, so every letter is refused until the clock is right."""

REMIND_SECONDS: Final = 60.0
"""Failures of one kind are logged once within this time."""


class NoticeKind(Enum):
    """The kinds of notices about a dead-letter topic."""

    FAILS = "fails"
    REFUSES = "refuses"
    SHRINKS = "shrinks"
    RECOVERED = "recovered"


@dataclass(frozen=True, slots=True)
class LetterNotice:
    """A notice to log, once per burst. ``waiting`` letters are held back; ``code`` is the error's name.

    ``said`` is the error's text; ``more`` counts the failures since the last notice of the same kind.
    """

    kind: NoticeKind
    topic: str
    code: str
    said: str
    waiting: int
    more: int = 0


@dataclass(frozen=True, slots=True)
class LetterPolicy:
    """Seconds between tries, doubling from the first to the last; at most ``most_under_way`` letters are under way."""

    first_wait_seconds: float = 0.5
    longest_wait_seconds: float = 30.0
    most_under_way: int = 1000

    def wait_seconds(self, failures: int) -> float:
        """The wait after ``failures`` failures in a row, at least 1."""
        return min(self.longest_wait_seconds, self.first_wait_seconds * 2.0 ** min(failures - 1, 32))


class _TopicQueue:
    """Letters of one topic. After ``failures`` in a row only a probe is sent, not before ``probe_at``.

    ``alone`` letters are sent one by one; ``resting`` ones are ordered by the time of their next try. ``needs_key``:
    the topic accepted a letter only after a key was added.
    """

    __slots__ = ("alone", "failures", "has_failed", "needs_key", "probe", "probe_at", "ready", "resting", "under_way")

    def __init__(self) -> None:
        self.ready: deque[Letter] = deque()
        self.alone: deque[Letter] = deque()
        self.resting: list[tuple[float, int, Letter]] = []
        self.under_way: set[Letter] = set()
        self.failures = 0
        self.probe_at = 0.0
        self.probe: Letter | None = None
        self.has_failed = False
        self.needs_key = False

    def __len__(self) -> int:
        return len(self.ready) + len(self.alone) + len(self.resting) + len(self.under_way)

    def append(self, letter: Letter) -> None:
        """Put the letter behind all waiting ones, so that a letter that always fails is not the probe forever.

        A letter that must be sent alone stays alone: in a batch it would have the others refused, too.
        """
        (self.alone if letter.is_alone else self.ready).append(letter)

    def wake_rested(self, now: float) -> None:
        while self.resting and self.resting[0][0] <= now:
            self.append(heapq.heappop(self.resting)[2])

    @property
    def next_at(self) -> float | None:
        """When there is something to send, None if that depends on answers only."""
        if self.failures:
            if self.under_way:
                return None
            if self.ready or self.alone:
                return self.probe_at
        return self.resting[0][0] if self.resting else None

    @property
    def is_alone_under_way(self) -> bool:
        """Whether a letter is under way that must be alone."""
        return len(self.under_way) == 1 and next(iter(self.under_way)).is_alone


class LetterQueue:
    """All letters not acknowledged yet. ``sent`` and ``failures_by_code`` only grow."""

    own_errors: ClassVar[frozenset[str]] = LETTERS_OWN

    def __init__(self, policy: LetterPolicy | None = None) -> None:
        self.sent = 0
        self.dropped = 0
        self.failures_by_code: Counter[str] = Counter()
        self._policy = policy or LetterPolicy()
        self._queues: dict[str, _TopicQueue] = {}
        self._rests = 0
        self._notices: list[LetterNotice] = []
        self._told_at: dict[tuple[NoticeKind, str, str], float] = {}
        self._untold: Counter[tuple[NoticeKind, str, str]] = Counter()

    def __len__(self) -> int:
        """Letters that are not acknowledged."""
        return sum(len(queue) for queue in self._queues.values())

    @property
    def is_failing(self) -> bool:
        """Whether a dead-letter topic accepts nothing now."""
        return any(queue.failures and len(queue) for queue in self._queues.values())

    @property
    def next_at(self) -> float | None:
        """When ``take`` must be called again at the latest, None while that depends on answers only."""
        moments = [at for queue in self._queues.values() if (at := queue.next_at) is not None]
        return min(moments, default=None)

    def coming(self, which: Callable[[WorkItem], bool]) -> int:
        """How many letters of these items will probably be acknowledged soon: their topics do not fail."""
        queues = [queue for queue in self._queues.values() if not queue.failures]
        return sum(which(letter.item) for queue in queues for letter in (*queue.ready, *queue.alone, *queue.under_way))

    def items(self) -> list[WorkItem]:
        """The messages whose letters are not acknowledged; in no order."""
        queues = self._queues.values()
        resting = [letter.item for queue in queues for _, _, letter in queue.resting]
        return [letter.item for queue in queues for letter in (*queue.ready, *queue.alone, *queue.under_way)] + resting

    def add(self, letter: Letter) -> None:
        """A message failed permanently: send its letter."""
        queue = self._queues.get(letter.topic)
        if queue is None:
            queue = self._queues[letter.topic] = _TopicQueue()
        queue.append(letter)

    def take(self, now: float, is_current: Callable[[WorkItem], bool]) -> list[Letter]:
        """The letters to produce now; each will be answered by ``acknowledged`` or ``failed``.

        Letters whose assignment ended are dropped: the next owner runs the message again.
        """
        taken: list[Letter] = []
        room = self._policy.most_under_way - sum(len(queue.under_way) for queue in self._queues.values())
        for queue in self._queues.values():
            if queue.resting:
                queue.wake_rested(now)
            if room > 0 and (queue.ready or queue.alone):
                letters = self._take_from(queue, room, now, is_current)
                if queue.needs_key:
                    for letter in letters:
                        letter.has_added_key |= letter.lacks_key
                queue.under_way.update(letters)
                room -= len(letters)
                taken += letters
        return taken

    def drop_ended(self, is_current: Callable[[WorkItem], bool]) -> None:
        """Drop waiting letters whose assignment has ended. A topic without letters does not count as failing."""
        before = len(self)
        for queue in self._queues.values():
            queue.ready = deque(letter for letter in queue.ready if is_current(letter.item))
            queue.alone = deque(letter for letter in queue.alone if is_current(letter.item))
            queue.resting = [rest for rest in queue.resting if is_current(rest[2].item)]
            heapq.heapify(queue.resting)
        self.dropped += before - len(self)
        self._forget_empty()

    def acknowledged(self, letter: Letter) -> None:
        """The broker has the letter."""
        queue = self._queues[letter.topic]
        queue.under_way.discard(letter)
        self.sent += 1
        queue.needs_key |= letter.has_added_key
        if queue.probe is letter:
            queue.probe = None
            queue.failures = 0
            if queue.has_failed:
                queue.has_failed = False
                self._notices.append(LetterNotice(NoticeKind.RECOVERED, letter.topic, "", "", len(queue)))

    def failed(self, letter: Letter, code: str, said: str, now: float, *, is_wanted: bool = True) -> None:
        """The letter probably did not arrive. ``is_wanted`` is False if its assignment has ended."""
        queue = self._queues[letter.topic]
        queue.under_way.discard(letter)
        self.failures_by_code[code] += 1
        is_probe = queue.probe is letter
        if is_probe:
            queue.probe = None
        if not is_wanted:
            self.dropped += 1
            self._forget_empty()
        elif code in self.own_errors:
            self._refused(queue, letter, code, said, now)
        else:
            queue.append(letter)
            if is_probe or not queue.failures:
                queue.failures += 1
                queue.probe_at = now + self._policy.wait_seconds(queue.failures)
            queue.has_failed |= self._tell(NoticeKind.FAILS, letter.topic, code, said, now)

    def take_notices(self) -> list[LetterNotice]:
        """The notices since the last call."""
        notices, self._notices = self._notices, []
        return notices

    # Inside

    def _take_from(
        self, queue: _TopicQueue, room: int, now: float, is_current: Callable[[WorkItem], bool]
    ) -> list[Letter]:
        if queue.failures:
            if queue.under_way or now < queue.probe_at:
                return []
            letters = self._pop_current(queue.ready, 1, is_current) or self._pop_current(queue.alone, 1, is_current)
            queue.probe = letters[0] if letters else None
            return letters
        if queue.is_alone_under_way or (queue.alone and queue.under_way):
            return []
        return self._pop_current(queue.alone, 1, is_current) or self._pop_current(queue.ready, room, is_current)

    def _pop_current(self, letters: deque[Letter], most: int, is_current: Callable[[WorkItem], bool]) -> list[Letter]:
        found: list[Letter] = []
        while letters and len(found) < most:
            letter = letters.popleft()
            if is_current(letter.item):
                found.append(letter)
            else:
                self.dropped += 1
        return found

    def _forget_empty(self) -> None:
        self._queues = {topic: queue for topic, queue in self._queues.items() if len(queue)}

    def _refused(self, queue: _TopicQueue, letter: Letter, code: str, said: str, now: float) -> None:
        if not letter.is_alone:
            letter.is_alone = True  # The broker may have refused another letter of its batch.
            queue.append(letter)
        elif code in REFUSED and letter.can_shrink(code):
            letter.shrink(code)
            self._tell(NoticeKind.SHRINKS, letter.topic, code, said, now)
            queue.append(letter)
        else:
            self._rest(queue, letter, code, said, now)

    def _rest(self, queue: _TopicQueue, letter: Letter, code: str, said: str, now: float) -> None:
        letter.failures += 1
        self._rests += 1
        heapq.heappush(queue.resting, (now + self._policy.wait_seconds(letter.failures), self._rests, letter))
        self._tell(NoticeKind.REFUSES, letter.topic, code, said, now)

    def _tell(self, kind: NoticeKind, topic: str, code: str, said: str, now: float) -> bool:
        """Add a notice, unless a similar one was logged recently; returns whether it was added."""
        about = kind, topic, code
        if now - self._told_at.get(about, float("-inf")) < REMIND_SECONDS:
            self._untold[about] += 1
            return False
        self._told_at[about] = now
        waiting = len(self._queues[topic])
        self._notices.append(LetterNotice(kind, topic, code, said, waiting, self._untold.pop(about, 0)))
        return True
