"""``make mutants SEED=18``: change what decides in hundreds of places, one at a time, and see whether tests notice.

A seeded sample of all mutants of ``control_plane`` and ``ingress/reading`` is tried by mutmut against a fast choice of
tests. Survivors are listed with their reason: mypy refuses them, or ``accepted.toml`` says why nothing can notice them,
or they are open. Ends with 1 where fewer than ``--least`` of the sample are killed by tests or refused by mypy.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

from tests.mutation.report import Survivor, reason_of, written
from tests.mutation.workshop import ROOT, SURVIVED, UNTESTED, Workshop

SAMPLE = 800
LEAST = 0.95


def main() -> int:
    parser = argparse.ArgumentParser(prog="make mutants", description=__doc__)
    parser.add_argument("--seed", type=int, default=18, help="of the sample (default 18)")
    parser.add_argument("--sample", type=int, default=SAMPLE, help=f"how many mutants (default {SAMPLE})")
    parser.add_argument("--jobs", type=int, default=1, help="mutants tried at once (default 1)")
    parser.add_argument("--least", type=float, default=LEAST, help=f"the share that must be noticed (default {LEAST})")
    parser.add_argument("--folder", type=Path, default=ROOT / "build" / "mutants", help="where verdicts are kept")
    parser.add_argument("--only-report", action="store_true", help="try none, report what is known")
    parser.add_argument("--report", type=Path, help="write the report here (Markdown)")
    arguments = parser.parse_args()
    workshop = Workshop(arguments.folder)
    started_at = time.monotonic()
    if not arguments.only_report:
        workshop.prepare()
    names = workshop.sample(arguments.seed, arguments.sample)
    if not arguments.only_report:
        workshop.run(names, arguments.jobs)
    verdicts = workshop.verdicts(names)
    survivors = [
        Survivor(name, verdict, *(change := workshop.difference(name)), reason_of(workshop, name, change))
        for name, verdict in verdicts.items()
        if verdict in (SURVIVED, UNTESTED)
    ]
    report, share = written(arguments.seed, len(names), verdicts, survivors)
    if arguments.report:
        arguments.report.write_text(report)
    print(report, f"{time.monotonic() - started_at:,.0f} s", sep="\n")
    return 0 if share >= arguments.least and len(verdicts) == len(names) else 1


if __name__ == "__main__":
    sys.exit(main())
