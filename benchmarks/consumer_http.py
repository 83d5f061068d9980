"""Async workers that call an HTTP server in a process of its own, on one event loop and on loops in two processes."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from functools import partial
from typing import Any, Final

from consumer_engines import PROCESSES, consume
from consumer_scaling import ClockedLoop, ClockedLoops
from job import Figures, Job

from pyrallel_consumer.config import ExecutionConfig
from pyrallel_consumer.dto import ExecutionMode
from pyrallel_consumer.execution_plane.worker.lifespan import lifespan_of

CONNECTIONS: Final = 100
"""Of each process."""
_sessions: list[Any] = []


@asynccontextmanager
async def session() -> AsyncIterator[None]:
    """The lifespan of a process, or of the consumer: one pool of connections."""
    import aiohttp  # noqa: PLC0415 -- only this case needs it

    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=CONNECTIONS)) as opened:
        _sessions[:] = [opened]
        yield


async def call(url: str, _: Any) -> None:
    async with _sessions[0].get(url) as answer:
        await answer.read()


async def on_one_loop(job: Job) -> Figures:
    """A call for each message, on the consumer's own event loop."""
    with server() as url:
        engine = ClockedLoop(partial(call, url), ExecutionConfig().retry_policy(), job.max_in_flight)
        async with session():
            return await consume(job, engine)


async def in_processes(job: Job) -> Figures:
    """The same in two processes, each with half of the calls under way."""
    lifespan = lifespan_of(session, None, ExecutionMode.PROCESS)
    with server() as url:
        engine = ClockedLoops(
            partial(call, url), ExecutionConfig().retry_policy(), job.max_in_flight, PROCESSES, lifespan=lifespan
        )
        return await consume(job, engine)


@contextmanager
def server() -> Iterator[str]:
    """The server's address, while it runs."""
    program = subprocess.Popen([sys.executable, __file__], stdout=subprocess.PIPE, text=True)
    assert program.stdout is not None
    try:
        yield f"http://127.0.0.1:{int(program.stdout.readline())}/"
    finally:
        program.kill()
        program.wait()
        program.stdout.close()


async def serve() -> None:
    """Answer each call after 5 ms; the port goes to standard output."""
    from aiohttp import web  # noqa: PLC0415 -- as above

    async def answer(_: web.Request) -> web.Response:
        await asyncio.sleep(0.005)
        return web.Response(text="ok")

    application = web.Application()
    application.router.add_get("/", answer)
    runner = web.AppRunner(application, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    print(runner.addresses[0][1], flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(serve())
