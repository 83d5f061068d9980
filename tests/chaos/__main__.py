"""``make chaos SEED= MINUTES= ENGINE= PROTOCOL= BROKERS= OUTPUT=``: runs chaos once and prints the verdict."""

from __future__ import annotations

import argparse
import random
import signal
import sys
from pathlib import Path

from tests.chaos.plan import from_json
from tests.chaos.run import AT_LEAST_ONCE, ENGINES, OUTPUTS, PROTOCOLS, chaos_run


def main() -> int:
    """Runs it and returns the exit code."""
    parser = argparse.ArgumentParser(prog="make chaos", description=__doc__)
    parser.add_argument("--seed", type=int, default=None, help="of the schedule and of the load (default: any)")
    parser.add_argument("--minutes", type=float, default=2.0, help="for so long faults begin (default: 2)")
    parser.add_argument("--engine", choices=ENGINES, default="async")
    parser.add_argument("--protocol", choices=PROTOCOLS, default="auto")
    parser.add_argument("--brokers", type=int, choices=(1, 3), default=1)
    parser.add_argument("--output", choices=OUTPUTS, default=AT_LEAST_ONCE, help="how records are delivered")
    parser.add_argument("--plan", type=Path, help="a schedule to replay instead of drawing one: plan.jsonl of a run")
    given = parser.parse_args()
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # whoever ends this ends what it started
    seed = random.SystemRandom().randrange(1_000_000) if given.seed is None else given.seed
    plan = from_json(given.plan.read_text()) if given.plan else None
    result = chaos_run(
        seed,
        given.minutes,
        engine=given.engine,
        protocol=given.protocol,
        brokers=given.brokers,
        output=given.output,
        plan=plan,
        report=lambda line: print(line, flush=True),
    )
    print(result.text)
    return 0 if result.is_clean else 1


if __name__ == "__main__":
    sys.exit(main())
