"""Python imports this by its name at the start of a snippet's program: ends it as an operator would, by SIGTERM.

The program is told to end when its consumers have finished something and have had nothing to do for a moment. How many
messages they finished goes into the file named by ``SNIPPET_REPORT``. Worker processes, which inherit the environment,
are left alone.
"""

# ruff: noqa: INP001 -- found by its folder, which is no package

from __future__ import annotations

import functools
import os
import signal
import threading
import time
from pathlib import Path
from typing import Any

QUIET_SECONDS = 0.5


def watch(report: Path) -> None:
    from pyrallel_consumer.consumer import PyrallelConsumer  # noqa: PLC0415 -- only in the program itself
    from pyrallel_consumer.errors import StateError  # noqa: PLC0415

    consumers: list[PyrallelConsumer] = []
    made = PyrallelConsumer.__init__

    @functools.wraps(made)
    def noted(self: PyrallelConsumer, *arguments: Any, **named: Any) -> None:
        made(self, *arguments, **named)
        consumers.append(self)

    PyrallelConsumer.__init__ = noted  # type: ignore[method-assign]

    unfinished_report = report.with_suffix(".part")

    def look() -> None:
        quiet_since, last_finished, is_told = time.monotonic(), 0, False
        while True:
            time.sleep(0.05)
            try:
                seen = [consumer.get_runtime_snapshot() for consumer in consumers]
            except StateError:
                continue  # not started yet
            finished = max(last_finished, sum(each.processed for each in seen))
            unfinished_report.write_text(str(finished), "ascii")
            unfinished_report.replace(report)  # the program may end at any moment
            if finished != last_finished or any(each.load_messages for each in seen):
                quiet_since, last_finished = time.monotonic(), finished
            is_running = any(each.state == "running" for each in seen)
            if is_running and finished and not is_told and time.monotonic() > quiet_since + QUIET_SECONDS:
                is_told = True
                os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=look, name="snippet-end", daemon=True).start()


if reported := os.environ.pop("SNIPPET_REPORT", None):
    watch(Path(reported))
