"""Dead letters that are not acknowledged yet: which of them go out now, and what becomes of those that failed.

Owned by the event loop; decides and produces nothing. Each dead-letter topic is a *lane* of its own, so that one that
is missing or forbidden keeps no letter of another back. A lane that failed waits, longer each time within a bound, then
sends one letter as a probe; when that arrives all others follow at once. No letter is ever given up: only its own
assignment's end takes it out.

A broker refuses a whole batch for one record in it, and the client does not say which: so each of these letters goes
out again alone. One that is refused alone is changed step by step (``Letter.shrink``) to what its topic takes. When
nothing is left to change, it rests and is tried again, and the others go on.
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
"""Errors that speak of what a letter carries: they do not change until the letter does."""
LETTERS_OWN: Final = REFUSED | {"POLICY_VIOLATION"}
"""Errors that speak of one letter and not of its topic. INVALID_TIMESTAMP does not: letters carry this machine's time,
which every letter is refused for until the clock is right."""

REMIND_SECONDS: Final = 60.0
"""Failures of one kind within so long are told once."""


class NoticeKind(Enum):
    """What there is to tell about a dead-letter topic."""

    FAILS = "fails"
    REFUSES = "refuses"
    SHRINKS = "shrinks"
    RECOVERED = "recovered"


@dataclass(frozen=True, slots=True)
class LetterNotice:
    """To be told to the user: once per burst. ``waiting`` letters are held back; ``code`` is the error's name.

    ``said`` is the sentence that came with it; ``more`` counts the failures since the last notice of the kind.
    """

    kind: NoticeKind
    topic: str
    code: str
    said: str
    waiting: int
    more: int = 0


@dataclass(frozen=True, slots=True)
class LetterPolicy:
    """Seconds between tries, doubling from the first to the last; ``most_under_way`` letters wait for the broker."""

    first_wait_seconds: float = 0.5
    longest_wait_seconds: float = 30.0
    most_under_way: int = 1000

    def wait_seconds(self, failures: int) -> float:
        """The wait after so many failures in a row, at least 1."""
        return min(self.longest_wait_seconds, self.first_wait_seconds * 2.0 ** min(failures - 1, 32))


class _Lane:
    """Letters of one topic. ``failures`` in a row; while there are any, only a probe goes out, not before ``probe_at``.

    ``alone`` go out one by one, ``resting`` are ordered by the time at which they are tried again. ``needs_key``: the
    topic took a letter only with a key that was added.
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

    def queue(self, letter: Letter) -> None:
        """Behind all that waits already, so that no letter that always fails is the probe for ever.

        A letter that must go alone does so to its end: with others it would have them refused, too.
        """
        (self.alone if letter.is_alone else self.ready).append(letter)

    def wake_rested(self, now: float) -> None:
        while self.resting and self.resting[0][0] <= now:
            self.queue(heapq.heappop(self.resting)[2])

    @property
    def next_at(self) -> float | None:
        """When there is something to send, as far as it is a matter of time."""
        if self.failures:
            if self.under_way:
                return None
            if self.ready or self.alone:
                return self.probe_at
        return self.resting[0][0] if self.resting else None

    @property
    def is_alone_under_way(self) -> bool:
        """Whether a letter is under way that nothing may go with."""
        return len(self.under_way) == 1 and next(iter(self.under_way)).is_alone


class LetterQueue:
    """All letters not acknowledged yet. ``sent`` and ``failures_by_code`` only grow."""

    own_errors: ClassVar[frozenset[str]] = LETTERS_OWN

    def __init__(self, policy: LetterPolicy | None = None) -> None:
        self.sent = 0
        self.dropped = 0
        self.failures_by_code: Counter[str] = Counter()
        self._policy = policy or LetterPolicy()
        self._lanes: dict[str, _Lane] = {}
        self._rests = 0
        self._notices: list[LetterNotice] = []
        self._told_at: dict[tuple[NoticeKind, str, str], float] = {}
        self._untold: Counter[tuple[NoticeKind, str, str]] = Counter()

    def __len__(self) -> int:
        """Letters that are not acknowledged."""
        return sum(len(lane) for lane in self._lanes.values())

    @property
    def is_failing(self) -> bool:
        """Whether a dead-letter topic takes nothing now."""
        return any(lane.failures and len(lane) for lane in self._lanes.values())

    @property
    def next_at(self) -> float | None:
        """When ``take`` must be asked again at the latest, None while it depends on answers alone."""
        moments = [at for lane in self._lanes.values() if (at := lane.next_at) is not None]
        return min(moments, default=None)

    def coming(self, which: Callable[[WorkItem], bool]) -> int:
        """Letters of these items that will soon be acknowledged, as far as anybody knows: their topics do not fail."""
        lanes = [lane for lane in self._lanes.values() if not lane.failures]
        return sum(which(letter.item) for lane in lanes for letter in (*lane.ready, *lane.alone, *lane.under_way))

    def items(self) -> list[WorkItem]:
        """The messages whose letters are not acknowledged; in no order."""
        lanes = self._lanes.values()
        resting = [letter.item for lane in lanes for _, _, letter in lane.resting]
        return [letter.item for lane in lanes for letter in (*lane.ready, *lane.alone, *lane.under_way)] + resting

    def add(self, letter: Letter) -> None:
        """A message failed for good."""
        lane = self._lanes.get(letter.topic)
        if lane is None:
            lane = self._lanes[letter.topic] = _Lane()
        lane.queue(letter)

    def take(self, now: float, is_current: Callable[[WorkItem], bool]) -> list[Letter]:
        """The letters to produce now; each will be answered by ``acknowledged`` or ``failed``.

        Those whose assignment ended are dropped: the next owner runs the message again.
        """
        taken: list[Letter] = []
        room = self._policy.most_under_way - sum(len(lane.under_way) for lane in self._lanes.values())
        for lane in self._lanes.values():
            if lane.resting:
                lane.wake_rested(now)
            if room > 0 and (lane.ready or lane.alone):
                letters = self._take_from(lane, room, now, is_current)
                if lane.needs_key:
                    for letter in letters:
                        letter.has_added_key |= letter.lacks_key
                lane.under_way.update(letters)
                room -= len(letters)
                taken += letters
        return taken

    def drop_ended(self, is_current: Callable[[WorkItem], bool]) -> None:
        """Drop what waits of assignments that have ended; a topic without letters does not fail."""
        before = len(self)
        for lane in self._lanes.values():
            lane.ready = deque(letter for letter in lane.ready if is_current(letter.item))
            lane.alone = deque(letter for letter in lane.alone if is_current(letter.item))
            lane.resting = [rest for rest in lane.resting if is_current(rest[2].item)]
            heapq.heapify(lane.resting)
        self.dropped += before - len(self)
        self._forget_empty()

    def acknowledged(self, letter: Letter) -> None:
        """The broker has the letter."""
        lane = self._lanes[letter.topic]
        lane.under_way.discard(letter)
        self.sent += 1
        lane.needs_key |= letter.has_added_key
        if lane.probe is letter:
            lane.probe = None
            lane.failures = 0
            if lane.has_failed:
                lane.has_failed = False
                self._notices.append(LetterNotice(NoticeKind.RECOVERED, letter.topic, "", "", len(lane)))

    def failed(self, letter: Letter, code: str, said: str, now: float, *, is_wanted: bool = True) -> None:
        """The letter did not arrive, as far as anybody knows. One whose assignment has ended is not wanted any more."""
        lane = self._lanes[letter.topic]
        lane.under_way.discard(letter)
        self.failures_by_code[code] += 1
        is_probe = lane.probe is letter
        if is_probe:
            lane.probe = None
        if not is_wanted:
            self.dropped += 1
            self._forget_empty()
        elif code in self.own_errors:
            self._refused(lane, letter, code, said, now)
        else:
            lane.queue(letter)
            if is_probe or not lane.failures:
                lane.failures += 1
                lane.probe_at = now + self._policy.wait_seconds(lane.failures)
            lane.has_failed |= self._tell(NoticeKind.FAILS, letter.topic, code, said, now)

    def take_notices(self) -> list[LetterNotice]:
        """What there is to tell since the last call."""
        notices, self._notices = self._notices, []
        return notices

    # Inside

    def _take_from(self, lane: _Lane, room: int, now: float, is_current: Callable[[WorkItem], bool]) -> list[Letter]:
        if lane.failures:
            if lane.under_way or now < lane.probe_at:
                return []
            letters = self._pop_current(lane.ready, 1, is_current) or self._pop_current(lane.alone, 1, is_current)
            lane.probe = letters[0] if letters else None
            return letters
        if lane.is_alone_under_way or (lane.alone and lane.under_way):
            return []
        return self._pop_current(lane.alone, 1, is_current) or self._pop_current(lane.ready, room, is_current)

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
        self._lanes = {topic: lane for topic, lane in self._lanes.items() if len(lane)}

    def _refused(self, lane: _Lane, letter: Letter, code: str, said: str, now: float) -> None:
        if not letter.is_alone:
            letter.is_alone = True  # Another letter of its batch may be the one that is refused.
            lane.queue(letter)
        elif code in REFUSED and letter.can_shrink(code):
            letter.shrink(code)
            self._tell(NoticeKind.SHRINKS, letter.topic, code, said, now)
            lane.queue(letter)
        else:
            self._rest(lane, letter, code, said, now)

    def _rest(self, lane: _Lane, letter: Letter, code: str, said: str, now: float) -> None:
        letter.failures += 1
        self._rests += 1
        heapq.heappush(lane.resting, (now + self._policy.wait_seconds(letter.failures), self._rests, letter))
        self._tell(NoticeKind.REFUSES, letter.topic, code, said, now)

    def _tell(self, kind: NoticeKind, topic: str, code: str, said: str, now: float) -> bool:
        """Add a notice, unless one like it was told not long ago; returns whether it was added."""
        about = kind, topic, code
        if now - self._told_at.get(about, float("-inf")) < REMIND_SECONDS:
            self._untold[about] += 1
            return False
        self._told_at[about] = now
        waiting = len(self._lanes[topic])
        self._notices.append(LetterNotice(kind, topic, code, said, waiting, self._untold.pop(about, 0)))
        return True
