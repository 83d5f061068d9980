"""Writes the measured rows of the READMEs' comparison from the newest report in docs/benchmarks.

No figure is typed by hand.

    python docs/readme_figures.py

The rows stand between two comments. ``tests/documents/test_readme.py`` compares them with the report that they name.
"""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[1]
REPORTS = ROOT / "docs" / "benchmarks"
BEGIN, END = "<!-- figures -->", "<!-- figures: end -->"
CASES = {
    "noop": ("no work, 100 keys", "할 일 없음, 키 100개"),
    "wait-5-ms": ("5 ms of waiting, 100 keys", "5 ms 대기, 키 100개"),
    "wait-5-ms-5000-keys": ("5 ms of waiting, 5,000 keys", "5 ms 대기, 키 5,000개"),
    "slow-tail": ("2 ms of waiting, one in 100 waits 200 ms", "2 ms 대기, 100건 중 1건은 200 ms"),
    "cpu": ("500 rounds of sha256 (this: processes)", "sha256 500회 (이 라이브러리는 프로세스)"),
}
PYPI = "pyrallel-consumer 1.0.0 (PyPI)"
HEADS = (
    ("messages/s, median", "this", "plain loop (confluent-kafka)", "aiokafka", PYPI, "parallel-consumer (Java)"),
    (
        "초당 메시지, 중앙값",
        "이 라이브러리",
        "단순 반복문 (confluent-kafka)",
        "aiokafka",
        PYPI,
        "parallel-consumer (Java)",
    ),
)
CONTENDERS = (
    ("ours", "ours, processes"),
    ("plain loop, tuned", "plain loop, defaults"),
    ("aiokafka",),
    ("PyPI's pyrallel-consumer 1.0.0",),
    ("Java parallel-consumer",),
)


def repository() -> str:
    found: str = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["urls"]["Repository"]
    return found


def newest_report() -> Path:
    return max(REPORTS.glob("20*.md"))


def figures(report: Path, language: int) -> str:
    """The table, in English (0) or Korean (1), and the sentence that names the report."""
    text = report.read_text("utf-8")
    rows = [[titles[language], *_rates(text, case)] for case, titles in CASES.items()]
    table = [HEADS[language], ["---"] * len(HEADS[language]), *rows]
    link = f"docs/benchmarks/{report.name}"
    counted = re.search(r"^\| rounds \| (\d+)", text, re.MULTILINE)
    rounds = counted[1] if counted else "several"
    said = (
        f"Medians of {rounds} interleaved rounds on one machine: "
        f"[report of {report.stem}]({repository()}/blob/main/{link})."
        if language == 0
        else f"한 컴퓨터에서 번갈아 {rounds}번 잰 값의 중앙값입니다: [{report.stem} 보고서]({link})."
    )
    return "\n".join(["| " + " | ".join(row) + " |" for row in table] + ["", said])


def _rates(report: str, case: str) -> list[str]:
    section = re.search(rf"^### {re.escape(case)}:.*\n(?P<body>(?:(?!#).*\n)*)", report, re.MULTILINE)
    assert section is not None, f"the report has no case {case}"
    rates = dict(re.findall(r"^\| ([^|]+?) \| ([\d,]+) \(", section["body"], re.MULTILINE))
    return [_rate_of(names, rates) for names in CONTENDERS]


def _rate_of(names: tuple[str, ...], rates: dict[str, str]) -> str:
    for name in names:
        for contender, rate in rates.items():
            if contender == name or (name.startswith("Java") and contender.startswith(name)):
                return rate
    return "not measured"


def written(readme: str, rows: str) -> str:
    """The README with these rows between the comments."""
    before, _, rest = readme.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n\n{rows}\n\n{END}{after}"


if __name__ == "__main__":
    for number, name in enumerate(("README.md", "README.ko.md")):
        path = ROOT / name
        path.write_text(written(path.read_text("utf-8"), figures(newest_report(), number)), "utf-8")
