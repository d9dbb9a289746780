"""A TCP proxy that cuts its connections: what a laptop's network does to a long transfer."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field


@dataclass
class CuttingProxy:
    """Forwards `port` to `target`; its nth connection is cut after `cuts[n]` bytes in both directions together.

    Connections beyond `cuts` are left alone. `carried` counts the bytes of each connection.
    """

    target: int
    cuts: Sequence[int]
    port: int = 0
    carried: list[int] = field(default_factory=list)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        number = len(self.carried)
        self.carried.append(0)
        limit = self.cuts[number] if number < len(self.cuts) else None
        far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self.target)
        both = [
            asyncio.create_task(self._pump(source, sink, number, limit))
            for source, sink in ((reader, far_writer), (far_reader, writer))
        ]
        await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
        for task in both:
            task.cancel()
        await asyncio.gather(*both, return_exceptions=True)
        for end in (writer, far_writer):
            # At once, without the bytes that still wait: a cut does not announce itself.
            end.transport.abort()

    async def _pump(
        self, source: asyncio.StreamReader, sink: asyncio.StreamWriter, number: int, limit: int | None
    ) -> None:
        with suppress(ConnectionError):
            while data := await source.read(64 * 1024):
                self.carried[number] += len(data)
                if limit is not None and self.carried[number] > limit:
                    return
                sink.write(data)
                await sink.drain()


@asynccontextmanager
async def cutting_proxy(target: int, *cuts: int) -> AsyncIterator[CuttingProxy]:
    """A proxy before the port `target` of this machine."""
    proxy = CuttingProxy(target, cuts)
    server = await asyncio.start_server(proxy.serve, "127.0.0.1", 0)
    proxy.port = server.sockets[0].getsockname()[1]
    try:
        yield proxy
    finally:
        server.close()
