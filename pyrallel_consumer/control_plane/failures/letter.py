"""A dead letter: a message that failed permanently, the reason, and how much of the message the letter carries.

Pure: ``record_of`` returns the record to produce, and produces nothing. If its topic refuses a letter, the letter is
changed step by step (``Letter.shrink``) until the topic accepts it, and its headers say so: a letter that never arrives
would block its offset forever. A letter never carries the timestamp of its message: retention by time would delete the
letter of an old message at once.
"""

from __future__ import annotations

from enum import IntEnum
from typing import TYPE_CHECKING, Final, NamedTuple

from pyrallel_consumer import foreign_errors

if TYPE_CHECKING:
    from pyrallel_consumer.dto import Headers, WorkItem

ERROR_REASON: Final = "x-error-reason"
RETRY_ATTEMPT: Final = "x-retry-attempt"
SOURCE_TOPIC: Final = "source-topic"
PARTITION: Final = "partition"
OFFSET: Final = "offset"
EPOCH: Final = "epoch"
ORIGINAL_TIMESTAMP: Final = "x-original-timestamp"
"""When the message was written, in milliseconds since 1970, as text."""
CONSUMER_GROUP: Final = "x-consumer-group"
FAILED_AT: Final = "x-failed-at"
"""When the last attempt failed, in milliseconds since 1970, as text."""
TRACEBACK: Final = "x-error-traceback"
PAYLOAD_OMITTED: Final = "x-payload-omitted"
"""Why key and value are missing, if ``dlq_payload_mode`` alone is not the reason."""
HEADERS_OMITTED: Final = "x-headers-omitted"
"""How many of the message's own headers are missing; ``UNREADABLE_HEADERS`` where they could not be read."""
KEY_ADDED: Final = "x-key-added"
"""The topic accepted no record without a key, so the letter got one. One of the two values below."""
ONLY_KEY: Final = b"key"
KEY_AND_VALUE: Final = b"key and empty value"

UNREADABLE: Final = "UNREADABLE"
"""The error code, not a broker's, of a message whose key, value or headers could not be read."""
UNREADABLE_HEADERS: Final = b"unreadable: a header's name is not UTF-8"
TOO_LARGE: Final = frozenset({"MSG_SIZE_TOO_LARGE", "RECORD_LIST_TOO_LARGE"})

LONGEST_REASON: Final = 1000
"""Characters of an error's text that travel with a letter."""

LONGEST_BARE_REASON: Final = 200
"""Like ``LONGEST_REASON``, for a letter in its smallest form."""

_CUT: Final = "..."


class LetterForm(IntEnum):
    """How much of the message a letter carries."""

    FULL = 0
    WITHOUT_HEADERS = 1
    """Key and value, without the message's own headers."""
    METADATA_ONLY = 2
    """The message's own headers, without key and value."""
    BARE = 3
    """Nothing of the message; the reason is short and the traceback is left out."""

    @property
    def has_payload(self) -> bool:
        return self in {LetterForm.FULL, LetterForm.WITHOUT_HEADERS}

    @property
    def has_headers(self) -> bool:
        return self in {LetterForm.FULL, LetterForm.METADATA_ONLY}


# A letter that is too large loses its payload first: the payload is most of it. A letter that the topic calls invalid
# keeps its payload as long as possible: the refusal does not say which part is wrong.
_SMALLER: Final = {
    LetterForm.FULL: LetterForm.METADATA_ONLY,
    LetterForm.WITHOUT_HEADERS: LetterForm.BARE,
    LetterForm.METADATA_ONLY: LetterForm.BARE,
}
_PLAINER: Final = {
    LetterForm.FULL: LetterForm.WITHOUT_HEADERS,
    LetterForm.WITHOUT_HEADERS: LetterForm.BARE,
    LetterForm.METADATA_ONLY: LetterForm.BARE,
}


class Record(NamedTuple):
    """One record of a topic. A record to be produced has no ``timestamp``: it gets the time at which it is sent."""

    key: bytes | None
    value: bytes | None
    headers: Headers
    timestamp: int | None = None


class Letter:
    """One message on its way to ``topic``, in the form that ``form`` says; compared by identity.

    ``attempt`` is the number of the last attempt, 0 if none was made. ``group``, ``failed_at_ms`` and ``traceback``
    are None if unknown. ``trace`` are headers that replace the message's headers of the same names: the
    context of the last attempt, if attempts are traced. ``has_added_key``: the letter has a key, its message has none.
    ``refused_with`` is the error because of which the letter carries less than configured. With
    ``has_unreadable_headers`` the message's headers are not read again.
    ``is_alone`` and ``failures`` are the queue's own.
    """

    __slots__ = (
        *("attempt", "epoch", "failed_at_ms", "failures", "form", "group", "has_added_key", "has_unreadable_headers"),
        *("is_alone", "item", "reason", "refused_with", "topic", "trace", "traceback"),
    )

    def __init__(
        self,
        item: WorkItem,
        topic: str,
        reason: str,
        attempt: int,
        form: LetterForm,
        *,
        trace: Headers | None = None,
        group: str = "",
        failed_at_ms: int | None = None,
        traceback: str = "",
    ) -> None:
        self.item = item
        self.topic = topic
        self.reason = reason
        self.attempt = attempt
        self.epoch = item.epoch
        self.form = form
        self.trace: Headers = trace or []
        self.group = group
        self.failed_at_ms = failed_at_ms
        self.traceback = traceback
        self.has_added_key = False
        self.has_unreadable_headers = False
        self.refused_with: str | None = None
        self.is_alone = False
        self.failures = 0

    @property
    def lacks_key(self) -> bool:
        """Whether the letter has no key."""
        return not self.has_added_key and (not self.form.has_payload or self.item.key is None)

    def can_shrink(self, code: str) -> bool:
        """Whether ``shrink`` can still change something, after the letter was refused with this error."""
        return self.form is not LetterForm.BARE or (code not in TOO_LARGE | {UNREADABLE} and self.lacks_key)

    def shrink(self, code: str) -> None:
        """Change the letter by one step, so that the topic may accept it. Requires ``can_shrink``."""
        if code in TOO_LARGE:
            self.form = _SMALLER[self.form]
        elif code != UNREADABLE and self.lacks_key:
            self.has_added_key = True  # A compacted topic refuses records without a key, with a general error.
            return
        else:
            self.has_unreadable_headers |= code == UNREADABLE and self.form.has_headers
            self.form = _PLAINER[self.form]
        self.refused_with = code

    def __repr__(self) -> str:
        return f"<Letter {self.item.id} to {self.topic} {self.form.name}>"


def record_of(letter: Letter) -> Record:
    """Key, value and headers of the letter as it is now.

    Our headers come after the message's own headers. If a name occurs twice, the last one is ours.
    """
    item, form = letter.item, letter.form
    key, value = (item.key, item.payload) if form.has_payload else (None, None)
    own = item.headers if form.has_headers else ()
    replaced = {name for name, _ in letter.trace}
    headers = [
        *(header for header in own if header[0] not in replaced),
        *letter.trace,
        *_headers_of(letter),
        *_omissions_of(letter),
    ]
    if letter.has_added_key:
        # Without a value it would be a tombstone, which compaction removes after a day.
        headers.append((KEY_ADDED, ONLY_KEY if value is not None else KEY_AND_VALUE))
        key, value = item.id.encode(), value or b""
    return Record(key, value, headers)


def _headers_of(letter: Letter) -> Headers:
    """The headers that say why the message failed, and where it was read."""
    item, is_bare = letter.item, letter.form is LetterForm.BARE
    reason = _cut(letter.reason, LONGEST_BARE_REASON) if is_bare else letter.reason
    headers: Headers = [
        (ERROR_REASON, reason.encode(errors="replace")),
        (RETRY_ATTEMPT, b"%d" % letter.attempt),
        (SOURCE_TOPIC, item.topic.encode()),
        (PARTITION, b"%d" % item.partition),
        (OFFSET, b"%d" % item.offset),
        (EPOCH, b"%d" % letter.epoch),
    ]
    timestamp = item.timestamp
    if timestamp is not None:
        headers.append((ORIGINAL_TIMESTAMP, b"%d" % timestamp))
    if letter.group:
        headers.append((CONSUMER_GROUP, letter.group.encode(errors="replace")))
    if letter.failed_at_ms is not None:
        headers.append((FAILED_AT, b"%d" % letter.failed_at_ms))
    if letter.traceback and not is_bare:
        headers.append((TRACEBACK, letter.traceback.encode(errors="replace")))
    return headers


def _omissions_of(letter: Letter) -> Headers:
    """The headers that name missing parts of the message: they could not be read, or the topic refused them."""
    code, form, item = letter.refused_with, letter.form, letter.item
    headers: Headers = []
    if code is not None and not form.has_payload:
        why = f"refused: {code}"
        if code in TOO_LARGE:
            why = f"message too large: {len(item.key or b'') + len(item.payload or b'')} bytes"
        headers.append((PAYLOAD_OMITTED, why.encode()))
    if letter.has_unreadable_headers or item.has_unreadable_headers:
        headers.append((HEADERS_OMITTED, UNREADABLE_HEADERS))
    elif code is not None and not form.has_headers and (own := item.headers):
        headers.append((HEADERS_OMITTED, b"%d" % len(own)))
    return headers


def error_reason(error: BaseException, longest: int = LONGEST_REASON) -> str:
    """Type and text of a worker's error, "ValueError: invalid data"; the text is cut at ``longest`` characters.

    Never raises, although an error's ``__str__`` is the user's code.
    """
    text = foreign_errors.text_of(error, longest)
    name = foreign_errors.type_name(error)
    return f"{name}: {text}" if text else name


def _cut(text: str, longest: int) -> str:
    return text if len(text) <= longest else text[:longest] + _CUT
