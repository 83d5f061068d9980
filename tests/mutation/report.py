"""What a run of mutants showed: figures, and a table of survivors with the reason of each."""

from __future__ import annotations

import re
import tomllib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

from tests.mutation.workshop import SURVIVED, UNTESTED, Workshop

ACCEPTED = Path(__file__).with_name("accepted.toml")
BY_MYPY = "mypy refuses it"
OPEN = "**open**"


class Reason(NamedTuple):
    """Why a mutant survived; ``is_harmless``: nothing could notice it, or ``make lint`` does."""

    text: str
    is_harmless: bool


@dataclass(frozen=True, slots=True)
class Survivor:
    """A mutant that no test noticed; ``removed`` and ``added`` are its difference."""

    name: str
    verdict: str
    removed: str
    added: str
    reason: Reason

    @property
    def place(self) -> str:
        """Module and function, as in ``control_plane.drain: Drain.step``."""
        module, _, mangled = self.name.removeprefix("pyrallel_consumer.").partition(".x")
        function = mangled.rpartition("__mutmut_")[0].removeprefix("_").removeprefix("ǁ").replace("ǁ", ".")
        return f"{module}: {function}"


def reason_of(workshop: Workshop, name: str, change: tuple[str, str]) -> Reason:
    """By ``accepted.toml``, whose entries name a part of the module and a part of the line that comes."""
    for entry in tomllib.loads(ACCEPTED.read_text("utf-8"))["accepted"]:
        if entry["module"] in name and entry.get("removed", "") in change[0] and entry["added"] in change[1]:
            return Reason(entry["why"], is_harmless=True)
    if workshop.is_refused_by_mypy(name):
        return Reason(BY_MYPY, is_harmless=True)
    return Reason(OPEN, is_harmless=False)


def written(seed: int, size: int, verdicts: Mapping[str, str], survivors: Sequence[Survivor]) -> tuple[str, float]:
    """The report in Markdown, and the share of tried mutants that tests killed or mypy refuses."""
    counts = Counter(verdicts.values())
    tried = len(verdicts)
    killed = tried - counts[SURVIVED] - counts[UNTESTED]
    refused = sum(survivor.reason.text == BY_MYPY for survivor in survivors)
    accepted = sum(survivor.reason.is_harmless for survivor in survivors) - refused
    share = (killed + refused) / tried if tried else 0.0
    rows = [
        f"| `{survivor.place}` | {_code(survivor.removed)} | {_code(survivor.added)} | {survivor.reason.text} |"
        for survivor in sorted(survivors, key=lambda survivor: (survivor.reason.is_harmless, survivor.place))
    ]
    command = f'make mutants SEED={seed} ARGS="--sample {size}"'
    figures = (
        f"`{command}`, {datetime.now(UTC):%d %B %Y}: {tried} of {size} mutants tried; {killed} killed by tests"
        f" ({killed / max(tried, 1):.1%}; {counts['timed out']} of them by a timeout), {refused} more refused by mypy,"
        f" together **{share:.1%}**; {accepted} that nothing can notice, {tried - killed - refused - accepted} open."
    )
    lines = [
        figures,
        "",
        "| place | was | became | why it survived |",
        "|---|---|---|---|",
        *rows,
    ]
    return "\n".join(lines) + "\n", share


def _code(text: str) -> str:
    """One cell; the middle of a long text is left out."""
    text = re.sub(r"\s+", " ", text).replace("|", "\\|").replace("`", "'")
    return f"`{text if len(text) <= 110 else text[:70] + ' ... ' + text[-35:]}`" if text else ""
