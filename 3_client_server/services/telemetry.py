"""The outermost layer of a service: gives every request its id, counts it, logs it, and keeps tracebacks inside.

A pure ASGI middleware. Starlette's BaseHTTPMiddleware would start a task and a stream for each request.
"""

import asyncio
import logging
import re
import time
import uuid
from collections.abc import Set
from typing import Any

from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from .logs import REQUEST_ID
from .metrics import Metrics
from .monitor import Monitor
from .problems import Problem, internal_error, problem_response

HEADER = b"x-request-id"
ACCEPTED_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")  # anything else could forge log lines
METHODS = frozenset({"GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"})
logger = logging.getLogger("iris")


class Telemetry:
    """ASGI middleware around one service."""

    def __init__(self, app: ASGIApp, monitor: Monitor, metrics: Metrics, predictions: Set[str]) -> None:
        self.app, self.monitor, self.metrics, self.predictions = app, monitor, metrics, predictions

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        started, status = time.perf_counter(), 0
        request_id = find_request_id(scope)
        fields: dict[str, Any] = {}  # what the endpoints add to the log line
        scope.setdefault("state", {}).update(request_id=request_id, fields=fields, refused=False)
        REQUEST_ID.set(request_id)

        async def send_with_id(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message.get("headers", ()), (HEADER, request_id.encode("ascii"))]
            await send(message)

        try:
            await self.app(scope, receive, send_with_id)
        except asyncio.CancelledError:  # the server's grace is over
            await self._fail(shutting_down(), scope, receive, send_with_id, begun=status != 0)
        except Exception:
            logger.exception("Unexpected failure")
            await self._fail(internal_error(), scope, receive, send_with_id, begun=status != 0)
        finally:
            # In the next turn of the loop: uvloop sends what was written at the end of this one.
            asyncio.get_running_loop().call_soon(self._record, scope, status, time.perf_counter() - started)

    async def _fail(self, problem: Problem, scope: Scope, receive: Receive, send: Send, *, begun: bool) -> None:
        if not begun:
            await problem_response(problem, Request(scope))(scope, receive, send)

    def _record(self, scope: Scope, status: int, seconds: float) -> None:
        refused = scope["state"]["refused"]
        method = scope["method"] if scope["method"] in METHODS else "other"
        route = getattr(scope.get("route"), "path", "other")
        self.metrics.answered(method, route, status, seconds, refused=refused)
        prediction = scope["method"] == "POST" and scope["path"] in self.predictions
        if prediction:
            self.monitor.answered(status, seconds, refused=refused)
        level = logging.INFO if prediction or status >= 400 else logging.DEBUG
        if logger.isEnabledFor(level):
            fields = {"duration_ms": round(seconds * 1000, 1)} | scope["state"]["fields"]
            # logger.log() would search the stack for the line that called it: a third of the cost, for nothing
            record = logging.LogRecord("iris", level, "", 0, "%s %s %d", (method, scope["path"], status), None)
            record.fields = fields
            logger.handle(record)


def find_request_id(scope: Scope) -> str:
    """Return the id that the client gave in X-Request-ID, or a new one."""
    for name, value in scope["headers"]:
        if name == HEADER and ACCEPTED_ID.fullmatch(text := value.decode("latin-1")):
            return text
    return uuid.uuid4().hex


def shutting_down() -> Problem:
    """Return the reason of a request that the end of the service has cut short."""
    return Problem(503, "The service is shutting down", "The prediction was not finished. Try again.", 1.0)
