"""One request and what becomes of it: its id, its body, its status, and what is logged of it."""

import re
import time
from random import getrandbits
from typing import Any

from starlette.requests import Request
from starlette.types import Message, Scope, Send

HEADER = b"x-request-id"
_accepted_id = re.compile(rb"[A-Za-z0-9._-]{1,64}").fullmatch  # anything else could forge log lines


class Call:
    """A request. Its handler reads `body` and may add to `fields`, which end up in the log line.

    What it returns is answered with status `answers` and the headers in `headers`, names in lower case.
    """

    __slots__ = ("answers", "body", "fields", "headers", "limited", "path", "refused", "request_id", "route",
                 "scope", "seconds", "started", "status")  # fmt: skip

    def __init__(self, scope: Scope, path: str) -> None:
        self.started = time.perf_counter()
        self.scope, self.path = scope, path
        self.request_id = find_request_id(scope)
        self.fields: dict[str, Any] = {}
        self.body, self.status, self.seconds, self.route = b"", 0, 0.0, "other"
        self.limited = self.refused = False
        self.answers, self.headers = 200, list[tuple[bytes, bytes]]()

    def header(self, name: bytes) -> str:
        """Return a header's value; an empty string if the request does not have it. The name is in lower case."""
        return next((value.decode("latin-1") for key, value in self.scope["headers"] if key == name), "")

    def request(self) -> Request:
        """Return Starlette's view of this request, to read a form from its body."""

        async def receive() -> Message:
            return {"type": "http.request", "body": self.body, "more_body": False}

        return Request(self.scope, receive)

    def sender(self, send: Send) -> Send:
        """Return a `send` that notes the status and adds the request id to the headers."""

        async def send_with_id(message: Message) -> None:
            if message["type"] == "http.response.start":
                self.status = message["status"]
                message["headers"] = [*message.get("headers", ()), (HEADER, self.request_id.encode("ascii"))]
            await send(message)

        return send_with_id

    async def answer(self, content: bytes, send: Send) -> None:
        """Send JSON."""
        self.status = self.answers
        headers = [
            (b"content-length", b"%d" % len(content)),
            (b"content-type", b"application/json"),
            (HEADER, self.request_id.encode("ascii")),
            *self.headers,
        ]
        await send({"type": "http.response.start", "status": self.status, "headers": headers})
        await send({"type": "http.response.body", "body": content})


def find_request_id(scope: Scope) -> str:
    """Return the id that the client gave in X-Request-ID, or a new one."""
    for name, value in scope["headers"]:
        if name == HEADER and _accepted_id(value):
            return value.decode("ascii")
    return f"{getrandbits(128):032x}"  # uuid4() would ask the operating system each time
