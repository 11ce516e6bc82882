"""HTTP/1.1 to one server of ours, over connections that are kept: as little as the gateway needs, and so as quick.

A general client (cookies, redirects, proxies, TLS, compression) costs more than all else that the gateway does: aiohttp
three times as much CPU time as this, httpx2 more still. The parser is httptools, uvicorn's own.
"""

import asyncio
from dataclasses import dataclass, field
from typing import cast
from urllib.parse import urlsplit

import httptools

MAX_ANSWER_BYTES = 64 * 1024 * 1024
MAX_IDLE = 128  # connections kept open


class BadAnswer(Exception):
    """What came back is not HTTP, or too much of it."""


@dataclass
class Answer:
    """Status, body and the one header that is looked at."""

    status: int = 0
    body: bytearray = field(default_factory=bytearray)
    retry_after: str | None = None


class Connection(asyncio.Protocol):
    """One connection, one request at a time."""

    transport: asyncio.Transport
    closed = False
    _waiting: asyncio.Future[Answer] | None = None

    async def request(self, message: bytes) -> Answer:
        """Send a request and return its answer.

        Raises:
            ConnectionError: the connection broke.
            BadAnswer: the answer is not HTTP.
        """
        if self.closed:
            raise ConnectionResetError
        self._parser, self._answer = httptools.HttpResponseParser(self), Answer()
        self._waiting = asyncio.get_running_loop().create_future()
        self.transport.write(message)
        try:
            return await self._waiting
        except BaseException:  # an answer that comes after all would be taken for that of the next request
            self.close()
            raise

    def close(self) -> None:
        """End the connection at once."""
        self.closed = True
        self.transport.abort()

    def _fail(self, error: Exception) -> None:
        self.closed = True
        if self._waiting and not self._waiting.done():
            self._waiting.set_exception(error)

    # called by asyncio

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)  # uvloop's are not derived from it

    def data_received(self, data: bytes) -> None:
        if self._waiting is None or self._waiting.done():
            self.close()  # an answer that nobody has asked for
            return
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError as error:
            self._fail(BadAnswer(str(error)))

    def connection_lost(self, exc: Exception | None) -> None:
        self._fail(ConnectionResetError())

    # called by httptools

    def on_header(self, name: bytes, value: bytes) -> None:
        if name.lower() == b"retry-after":
            self._answer.retry_after = value.decode("latin-1")

    def on_body(self, body: bytes) -> None:
        self._answer.body += body
        if len(self._answer.body) > MAX_ANSWER_BYTES:
            self._fail(BadAnswer("too long"))

    def on_message_complete(self) -> None:
        self._answer.status = self._parser.get_status_code()
        self.closed = self.closed or not self._parser.should_keep_alive()
        if self._waiting and not self._waiting.done():
            self._waiting.set_result(self._answer)


class Connections:
    """The kept connections to one server."""

    def __init__(self, url: str, connect_seconds: float) -> None:
        parts = urlsplit(url)
        self._host, self._port = parts.hostname or "", parts.port or 80
        self._base = parts.path.rstrip("/").encode("ascii")
        self._fixed = f" HTTP/1.1\r\nHost: {parts.netloc}\r\nContent-Type: application/json\r\n".encode("ascii")
        self._connect_seconds = connect_seconds
        self._idle: list[Connection] = []

    async def request(self, method: bytes, path: bytes, request_id: str = "", body: bytes = b"") -> Answer:
        """Send a request; connect where no connection is free.

        Raises:
            OSError: no connection within the time for it (TimeoutError), or it broke (ConnectionError).
            BadAnswer: the answer is not HTTP.
        """
        connection = self._take() or await self._connect()
        head = b"X-Request-ID: %b\r\nContent-Length: %d\r\n\r\n" % (request_id.encode("ascii"), len(body))
        answer = await connection.request(b"%b %b%b%b%b" % (method, self._base + path, self._fixed, head, body))
        if connection.closed or len(self._idle) >= MAX_IDLE:
            connection.close()
        else:
            self._idle.append(connection)
        return answer

    def close(self) -> None:
        """Close what is idle."""
        while self._idle:
            self._idle.pop().close()

    def _take(self) -> Connection | None:
        while self._idle:
            connection = self._idle.pop()
            if not connection.closed:
                return connection
        return None

    async def _connect(self) -> Connection:
        try:
            async with asyncio.timeout(self._connect_seconds):
                loop = asyncio.get_running_loop()
                return (await loop.create_connection(Connection, self._host, self._port))[1]
        except TimeoutError:
            raise ConnectionError("no connection in time") from None
