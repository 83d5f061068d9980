"""The module of workers that ``run`` is given, and the lines of JSON that it logs."""

from __future__ import annotations

import json
from typing import Any

WORKERS = """
import asyncio, logging, os, threading, time
from pathlib import Path

log = logging.getLogger("app")


async def handle(item):
    if item.payload == b"bad":
        raise ValueError("bad")
    if item.offset == 0:
        loop = type(asyncio.get_running_loop()).__module__.split(".")[0]
        log.info("first", extra={"topic": item.topic, "offset": item.offset, "loop": loop})


async def wait_for_the_end(item):
    print("running", item.offset, flush=True)
    while not Path("go-on").exists():
        await asyncio.sleep(0.01)


def block(item):
    os.write(1, f"in {threading.current_thread().name}\\n".encode())


def compute(item):
    met = Path("met")
    met.mkdir(exist_ok=True)
    (met / str(os.getpid())).touch()
    while len(list(met.iterdir())) < 2:
        time.sleep(0.01)
    log.info("computed", extra={"offset": item.offset, "child": os.getpid()})
"""


def logged(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]
