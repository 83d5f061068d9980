"""A way to a broker on which the broker can be made to look as one that is not yet, or no longer, in its cluster.

Such a broker answers Metadata requests with topics and no brokers, and then closes the connection. Such an answer makes
librdkafka forget all brokers permanently (its issue 5301) if it handles the end of the connection first. Otherwise the
client begins anew, and can forget its brokers only after it has learned them again: so every other answer is complete.
Clients that begin here stay here: the broker's port is replaced by the proxy's in all answers.
"""

from __future__ import annotations

import asyncio
import struct
import threading
from contextlib import suppress
from types import TracebackType
from typing import Self

HOST = b"127.0.0.1"
METADATA = 3
FIRST_FLEXIBLE, FIRST_WITH_RACKS, FIRST_THROTTLED = 9, 1, 3
CALL_SECONDS = 10.0


class MetadataProxy:
    """Serves from ``with`` to its end, on a thread of its own; other methods may be called from any thread."""

    def __init__(self, bootstrap_servers: str) -> None:
        self._target_port = int(bootstrap_servers.rpartition(":")[2])
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="metadata-proxy")
        self._server: asyncio.Server
        self._are_brokers_hidden, self._was_complete = False, True
        self.port = 0

    @property
    def bootstrap_servers(self) -> str:
        return f"{HOST.decode()}:{self.port}"

    def hide_brokers(self) -> None:
        """From now on every other Metadata request is answered without brokers, and the connection is closed."""
        self._are_brokers_hidden = True

    def show_brokers(self) -> None:
        self._are_brokers_hidden = False

    def __enter__(self) -> Self:
        self._thread.start()
        asyncio.run_coroutine_threadsafe(self._listen(), self._loop).result(CALL_SECONDS)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        asyncio.run_coroutine_threadsafe(self._end(), self._loop).result(CALL_SECONDS)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    async def _listen(self) -> None:
        self._server = await asyncio.start_server(self._serve, HOST.decode(), 0)
        self.port = self._server.sockets[0].getsockname()[1]

    async def _end(self) -> None:
        self._server.close()
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)

    async def _serve(self, client: asyncio.StreamReader, to_client: asyncio.StreamWriter) -> None:
        try:
            broker, to_broker = await asyncio.open_connection(HOST.decode(), self._target_port)
        except OSError:  # the broker is away
            to_client.transport.abort()
            return
        asked: dict[int, tuple[int, int]] = {}
        ways = {
            asyncio.create_task(self._carry_requests(client, to_broker, asked)),
            asyncio.create_task(self._carry_answers(broker, to_client, asked)),
        }
        try:
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for way in ways:
                way.cancel()
            for side in (to_client, to_broker):
                side.close()

    async def _carry_requests(
        self, source: asyncio.StreamReader, target: asyncio.StreamWriter, asked: dict[int, tuple[int, int]]
    ) -> None:
        with suppress(OSError, asyncio.IncompleteReadError):
            while True:
                request = await _frame(source)
                api, version, number = struct.unpack_from(">hhi", request)
                asked[number] = (api, version)
                target.write(struct.pack(">i", len(request)) + request)
                await target.drain()

    async def _carry_answers(
        self, source: asyncio.StreamReader, target: asyncio.StreamWriter, asked: dict[int, tuple[int, int]]
    ) -> None:
        with suppress(OSError, asyncio.IncompleteReadError):
            while True:
                answer = (await _frame(source)).replace(self._place(self._target_port), self._place(self.port))
                api, version = asked.pop(struct.unpack_from(">i", answer)[0])
                is_bad = api == METADATA and self._are_brokers_hidden and self._was_complete
                self._was_complete ^= api == METADATA
                if is_bad:
                    answer = without_brokers(answer, version)
                target.write(struct.pack(">i", len(answer)) + answer)
                await target.drain()
                if is_bad:
                    return

    @staticmethod
    def _place(port: int) -> bytes:
        return HOST + struct.pack(">i", port)


async def _frame(source: asyncio.StreamReader) -> bytes:
    (size,) = struct.unpack(">i", await source.readexactly(4))
    return await source.readexactly(size)


def without_brokers(answer: bytes, version: int) -> bytes:
    """The answer to a Metadata request of this version with an empty list of brokers."""
    is_flexible = version >= FIRST_FLEXIBLE
    at = 4 + is_flexible + 4 * (version >= FIRST_THROTTLED)  # the number, no tagged fields, the throttling
    begin = at
    brokers, at = _length(answer, at, 4, is_flexible=is_flexible)
    for _ in range(brokers):
        at += 4
        host, at = _length(answer, at, 2, is_flexible=is_flexible)
        at += host + 4
        if version >= FIRST_WITH_RACKS:
            rack, at = _length(answer, at, 2, is_flexible=is_flexible)
            at += max(0, rack)
        at += is_flexible  # no tagged fields
    return answer[:begin] + (b"\x01" if is_flexible else bytes(4)) + answer[at:]


def _length(data: bytes, at: int, width: int, *, is_flexible: bool) -> tuple[int, int]:
    """A length, -1 for null, and where what it counts begins."""
    if not is_flexible:
        return int.from_bytes(data[at : at + width], signed=True), at + width
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        shift += 7
        if not byte & 0x80:
            return value - 1, at
