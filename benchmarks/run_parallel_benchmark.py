"""The benchmark's program: ``python benchmarks/run_parallel_benchmark.py --help``. What it does is in the folder
``race``.
"""

from __future__ import annotations

import sys

from race.command import main

if __name__ == "__main__":
    sys.exit(main())
