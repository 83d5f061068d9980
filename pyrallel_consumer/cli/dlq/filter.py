"""Which letters ``--filter`` selects: by error, key and time. Pure; the time of now is passed in."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from pyrallel_consumer.cli.dlq.letter import StoredLetter

_AGO: Final = re.compile(r"(\d{1,9})([smhd])")
_UNIT_MS: Final = {"s": 1000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}
_HEX: Final = "hex:"
_SPANS: Final = (("since", "until"), ("failed-since", "failed-until"))
_TIMES: Final = frozenset(name for span in _SPANS for name in span)
_FORMS: Final = (
    "a filter is error=TEXT, key=TEXT, key=hex:BYTES, since=TIME, until=TIME, failed-since=TIME or failed-until=TIME"
)


@dataclass(frozen=True, slots=True)
class Span:
    """From ``since_ms`` on, and before ``until_ms``; milliseconds since 1970, None for no limit."""

    since_ms: int | None = None
    until_ms: int | None = None

    def holds(self, at_ms: int | None) -> bool:
        """A time that is not known is in no span that has a limit."""
        if self.since_ms is None and self.until_ms is None:
            return True
        if at_ms is None:
            return False
        return (self.since_ms is None or at_ms >= self.since_ms) and (self.until_ms is None or at_ms < self.until_ms)


@dataclass(frozen=True, slots=True)
class LetterFilter:
    """Several errors, or several keys, select letters with any of them; all given kinds must match.

    ``errors`` are in lower case and looked for anywhere in the letter's reason. ``written`` is about the time at which
    the message was first written, ``failed`` about its last attempt.
    """

    errors: tuple[str, ...] = ()
    keys: tuple[bytes, ...] = ()
    written: Span = Span()
    failed: Span = Span()
    group: str | None = None
    """The consumer group whose letters are selected, None for all groups."""

    def selects(self, letter: StoredLetter) -> bool:
        if self.group is not None and letter.group != self.group:
            return False
        reason = letter.reason.lower()
        if self.errors and not any(text in reason for text in self.errors):
            return False
        if self.keys and letter.key not in self.keys:
            return False
        return self.written.holds(letter.timestamp_ms) and self.failed.holds(letter.failed_at_ms)


def parse_filters(texts: Sequence[str], now_ms: int, group: str | None = None) -> LetterFilter:
    """The filter of all options together. Raises ValueError with a sentence."""
    errors: list[str] = []
    keys: list[bytes] = []
    times: dict[str, int] = {}
    for text in texts:
        name, separator, value = text.partition("=")
        if not separator or not value:
            raise ValueError(f"{text!r} is no filter: {_FORMS}")
        if name == "error":
            errors.append(value.lower())
        elif name == "key":
            keys.append(_key(value))
        elif name in _TIMES:
            if name in times:
                raise ValueError(f"{name}= is given twice")
            times[name] = _time_ms(value, now_ms)
        else:
            raise ValueError(f"{name!r} is nothing to filter by: {_FORMS}")
    written, failed = (Span(times.get(since), times.get(until)) for since, until in _SPANS)
    return LetterFilter(tuple(errors), tuple(keys), written, failed, group)


def _key(text: str) -> bytes:
    if not text.startswith(_HEX):
        return text.encode()
    try:
        return bytes.fromhex(text.removeprefix(_HEX))
    except ValueError as error:
        raise ValueError(f"key={text}: what follows hex: are no bytes in hexadecimal") from error


def _time_ms(text: str, now_ms: int) -> int:
    ago = _AGO.fullmatch(text)
    if ago:
        return now_ms - int(ago[1]) * _UNIT_MS[ago[2]]
    try:
        time = datetime.fromisoformat(text)
    except ValueError as error:
        raise ValueError(
            f"{text!r} is no time: give one like 2026-11-22, 2026-11-22T06:30 (UTC), 2026-11-22T06:30+09:00, or how "
            "long ago, like 90s, 30m, 2h or 7d"
        ) from error
    return round((time if time.tzinfo else time.replace(tzinfo=UTC)).timestamp() * 1000)
