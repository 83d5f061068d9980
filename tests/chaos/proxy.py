"""A small TCP proxy on a thread of its own: it delays, cuts, and holds connections half-open.

A half-open connection stays open on both sides and carries nothing, as behind a switch that fails; when it is healed,
what was under way arrives late. One ``Proxies`` serves many ports; a link is what lies behind one of them.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine
from contextlib import suppress
from types import TracebackType
from typing import Any, Self

CHUNK_BYTES = 1 << 16
CALL_SECONDS = 10.0


class Link:
    """The way from one port to another. Belongs to the proxies' loop."""

    def __init__(self, target_port: int) -> None:
        self.latency_seconds = 0.0
        self.is_cut = False
        self._target_port = target_port
        self._open = asyncio.Event()
        self._open.set()
        self._writers: set[asyncio.StreamWriter] = set()

    @property
    def is_half_open(self) -> bool:
        return not self._open.is_set()

    def delay(self, seconds: float) -> None:
        self.latency_seconds = seconds

    def heal(self) -> None:
        self.latency_seconds, self.is_cut = 0.0, False
        self._open.set()

    def cut(self) -> None:
        """Ends all connections, and refuses new ones until it is healed."""
        self.is_cut = True
        for writer in self._writers:
            writer.transport.abort()

    def half_open(self) -> None:
        self._open.clear()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Carries one connection until either side ends it."""
        if self.is_cut:
            writer.transport.abort()
            return
        self._writers.add(writer)
        try:
            await self._open.wait()
            to_reader, to_writer = await asyncio.open_connection("127.0.0.1", self._target_port)
        except OSError:  # the broker is away
            self._writers.discard(writer)
            writer.transport.abort()
            return
        self._writers.add(to_writer)
        ways = [
            asyncio.create_task(self._carry(reader, to_writer)),
            asyncio.create_task(self._carry(to_reader, writer)),
        ]
        try:
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for way in ways:
                way.cancel()
            for each in (writer, to_writer):
                self._writers.discard(each)
                each.transport.abort()

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while data := await reader.read(CHUNK_BYTES):
                if self.latency_seconds:
                    await asyncio.sleep(self.latency_seconds)
                await self._open.wait()
                writer.write(data)
                await writer.drain()


class Proxies:
    """All links of a run; its methods may be called from any thread."""

    def __init__(self) -> None:
        self._links: dict[object, list[Link]] = {}
        self._servers: list[asyncio.Server] = []
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="proxies")

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._call(self._end())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def add(self, name: object, port: int, target_port: int) -> None:
        """Serves ``port``; links of the same name break and heal together."""

        async def serve() -> None:
            link = Link(target_port)
            self._links.setdefault(name, []).append(link)
            self._servers.append(await asyncio.start_server(link.serve, "127.0.0.1", port))

        self._call(serve())

    def delay(self, name: object, seconds: float) -> None:
        """Each piece of data on each way takes so long from now on."""
        self._each(name, lambda link: link.delay(seconds))

    def cut(self, name: object) -> None:
        self._each(name, Link.cut)

    def half_open(self, name: object) -> None:
        self._each(name, Link.half_open)

    def heal(self, name: object) -> None:
        self._each(name, Link.heal)

    def heal_all(self) -> None:
        for name in self._links:
            self.heal(name)

    def _each(self, name: object, act: Callable[[Link], None]) -> None:
        async def act_on_each() -> None:
            for link in self._links[name]:
                act(link)

        self._call(act_on_each())

    def _call(self, coroutine: Coroutine[Any, Any, None]) -> None:
        asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(CALL_SECONDS)

    async def _end(self) -> None:
        for server in self._servers:
            server.close()
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)
