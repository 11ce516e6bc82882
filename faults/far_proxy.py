"""A TCP proxy that makes the way longer: whatever comes in leaves some milliseconds later, in both directions.

A proxy's kernel acknowledges what it takes, so this is for latency alone: what breaks is `network.py`'s matter.
"""

import asyncio
import contextlib
import threading
from collections.abc import Iterator

CHUNK_BYTES = 65_536
WAITING_CHUNKS = 1000  # per direction; then the sender has to wait


async def _carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, seconds: float) -> None:
    """Pass on what comes, each piece after its time."""
    loop = asyncio.get_running_loop()
    waiting: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(WAITING_CHUNKS)

    async def take() -> None:
        while True:
            data = await reader.read(CHUNK_BYTES)
            await waiting.put((loop.time() + seconds, data))
            if not data:
                return

    taking = asyncio.create_task(take())
    try:
        while True:
            due, data = await waiting.get()
            await asyncio.sleep(max(0.0, due - loop.time()))
            if not data:
                return
            writer.write(data)
            await writer.drain()
    finally:
        taking.cancel()
        writer.close()


@contextlib.contextmanager
def far_proxy(port: int, seconds: float) -> Iterator[int]:
    """Lead to a port of this machine, `seconds` away one way; give the proxy's own port."""
    loop = asyncio.new_event_loop()

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            to_reader, to_writer = await asyncio.open_connection("127.0.0.1", port)
            both = (_carry(reader, to_writer, seconds), _carry(to_reader, writer, seconds))
            await asyncio.gather(*both, return_exceptions=True)

    server = loop.run_until_complete(asyncio.start_server(connected, "127.0.0.1", 0))
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join(5)
        for task in asyncio.all_tasks(loop):
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError, OSError):
                loop.run_until_complete(task)
        server.close()
        loop.close()
