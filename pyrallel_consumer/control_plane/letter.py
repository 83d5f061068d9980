"""A dead letter: a message that failed for good, why, and how much of it is produced.

Pure: ``record_of`` tells what is to be produced, and produces nothing. A letter that the broker finds too large is
made smaller step by step (``LetterForm``) and says so in a header: one that never arrives holds its offset for ever.
"""

from __future__ import annotations

from enum import IntEnum
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from pyrallel_consumer.dto import Headers, WorkItem

ERROR_REASON: Final = "x-error-reason"
RETRY_ATTEMPT: Final = "x-retry-attempt"
SOURCE_TOPIC: Final = "source-topic"
PARTITION: Final = "partition"
OFFSET: Final = "offset"
EPOCH: Final = "epoch"
PAYLOAD_OMITTED: Final = "x-payload-omitted"
"""Why key and value are missing, where ``dlq_payload_mode`` alone is not the reason."""
HEADERS_OMITTED: Final = "x-headers-omitted"
"""How many of the message's own headers are missing, because with them the letter was too large; or ``UNREADABLE``."""
UNREADABLE: Final = b"unreadable: a header's name is not UTF-8"

LONGEST_REASON: Final = 1000
"""Characters of an error's text that travel with a letter."""

_CUT: Final = "..."


class LetterForm(IntEnum):
    """How much of the message a letter carries: less from form to form."""

    FULL = 0
    METADATA_ONLY = 1
    BARE = 2
    """Neither key and value nor the message's own headers."""


class Record(NamedTuple):
    """What is produced. ``timestamp`` is in milliseconds since 1970, None where the message had none."""

    key: bytes | None
    value: bytes | None
    headers: Headers
    timestamp: int | None


class Letter:
    """One message on its way to ``topic``, in the form that ``form`` says; compared by identity.

    ``attempt`` is the number of the last attempt, 0 where none was made. ``is_too_large`` is why the form is less than
    what was asked for. ``trace`` are headers that take the place of the message's own of their names: the context of
    the last attempt, where attempts are traced. What follows it is the queue's own.
    """

    __slots__ = ("attempt", "epoch", "failures", "form", "is_alone", "is_too_large", "item", "reason", "topic", "trace")

    def __init__(
        self,
        item: WorkItem,
        topic: str,
        reason: str,
        attempt: int,
        form: LetterForm,
        *,
        trace: Headers | None = None,
    ) -> None:
        self.item = item
        self.topic = topic
        self.reason = reason
        self.attempt = attempt
        self.epoch = item.epoch
        self.form = form
        self.trace: Headers = trace or []
        self.is_too_large = False
        self.is_alone = False
        self.failures = 0

    @property
    def is_smallest(self) -> bool:
        """Whether nothing more can be left out."""
        return self.form is LetterForm.BARE

    def shrink(self) -> None:
        """Leave out more, since the broker finds it too large."""
        self.form = LetterForm(self.form + 1)
        self.is_too_large = True

    def __repr__(self) -> str:
        return f"<Letter {self.item.id} to {self.topic} {self.form.name}>"


def record_of(letter: Letter) -> Record:
    """Key, value, headers and timestamp of the letter as it is now.

    Ours come after the message's own headers, some of which may have our names: the last of a name is ours.
    """
    item = letter.item
    own = item.headers
    headers: Headers = [] if letter.form is LetterForm.BARE else own
    key, value = item.key, item.value
    replaced = {name for name, _ in letter.trace}
    headers = [
        *(header for header in headers if header[0] not in replaced),
        *letter.trace,
        (ERROR_REASON, letter.reason.encode(errors="replace")),
        (RETRY_ATTEMPT, b"%d" % letter.attempt),
        (SOURCE_TOPIC, item.topic.encode()),
        (PARTITION, b"%d" % item.partition),
        (OFFSET, b"%d" % item.offset),
        (EPOCH, b"%d" % letter.epoch),
    ]
    if letter.is_too_large:
        size_bytes = len(key or b"") + len(value or b"")
        headers.append((PAYLOAD_OMITTED, b"message too large: %d bytes" % size_bytes))
        if letter.form is LetterForm.BARE and own:
            headers.append((HEADERS_OMITTED, b"%d" % len(own)))
    if item.has_unreadable_headers:
        headers.append((HEADERS_OMITTED, UNREADABLE))
    if letter.form is not LetterForm.FULL:
        key = value = None
    return Record(key, value, headers, item.timestamp)


def error_reason(error: BaseException, longest: int = LONGEST_REASON) -> str:
    """Type and text of what a worker raised, "ValueError: invalid data"; its text is cut at ``longest`` characters.

    Never raises, though an error's ``__str__`` is the user's code.
    """
    try:
        text = str(error)
    except Exception:  # noqa: BLE001 -- the user's code, at the edge where it is looked at
        text = "(its text cannot be had)"
    if len(text) > longest:
        text = text[:longest] + _CUT
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
