"""A verdict shows what members logged around its findings."""

from __future__ import annotations

import datetime as dt
import time
from pathlib import Path

from tests.chaos.log_excerpt import excerpts


def line(seconds_ago: float, text: str) -> str:
    at = dt.datetime.fromtimestamp(time.time() - seconds_ago).astimezone()
    return f"{at:%Y-%m-%d %H:%M:%S},{at.microsecond // 1000:03} INFO pyrallel_consumer.ingress: {text}\n"


def test_lines_around_a_finding_are_shown_and_others_are_not(tmp_path: Path) -> None:
    log = line(60, "assigned long before") + line(10.5, "released: lost") + "  a traceback\n" + line(2, "later")
    (tmp_path / "m2.1.log").write_text(log)
    at = time.monotonic() - 10
    finding = (
        f"Repetition: m2.1-204 ran ('anew-1', 0, 27) of key b'k' at {at:.3f} s, 0.01 s after m2.1-204 had finished it"
    )

    shown = list(excerpts(tmp_path, [finding, "AtLeastOnce: nothing of work ran"]))

    assert shown[0] == "  log of m2.1:"
    assert [text.rpartition("ingress: ")[2] for text in shown[1:]] == ["released: lost"]


def test_a_finding_without_a_member_shows_no_log(tmp_path: Path) -> None:
    assert list(excerpts(tmp_path, ["AtLeastOnce: nothing of work ran"])) == []
