"""``python -m tests.simulation --seed 7 --seeds 100 --verbose``: run seeds from the first one on, or replay one."""

from __future__ import annotations

import argparse
import sys
import time

from tests.simulation.runner import DEFAULT_STEPS, SeedFailed, run_seed

DIARY_TAIL = 200


def main() -> int:
    parser = argparse.ArgumentParser(prog="make simulate", description=__doc__)
    parser.add_argument("--seed", type=int, default=0, help="the first seed (default 0)")
    parser.add_argument("--seeds", type=int, default=None, help="how many (default 1 with --seed, else 300)")
    parser.add_argument("--steps", type=int, default=DEFAULT_STEPS, help=f"steps with faults ({DEFAULT_STEPS})")
    parser.add_argument("--verbose", action="store_true", help="print all that happened in each seed")
    parser.add_argument("--keep-going", action="store_true", help="do not end with the first seed that fails")
    arguments = parser.parse_args()
    is_one = arguments.seeds is None and "--seed" in sys.argv
    seeds = 1 if is_one else arguments.seeds or 300
    started_at = time.perf_counter()
    failed = attempts = repeated = 0
    for seed in range(arguments.seed, arguments.seed + seeds):
        diary: list[str] | None = [] if arguments.verbose or is_one else None
        try:
            world = run_seed(seed, arguments.steps, diary)
            attempts += world.scene.truth.attempts
            repeated += world.scene.truth.repeated
        except SeedFailed as failure:
            failed += 1
            print(*(diary or ())[0 if arguments.verbose else -DIARY_TAIL :], failure, sep="\n")
            if not arguments.keep_going:
                raise
        else:
            if arguments.verbose:
                print(*(diary or ()), sep="\n")
    seconds = time.perf_counter() - started_at
    print(f"{seeds} seeds, {failed} failed, {attempts} attempts, {repeated} explained repeats, {seconds:.1f} s")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
