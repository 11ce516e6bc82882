"""A service: a small ASGI application that answers its busy addresses by itself, and leaves all others to FastAPI.

FastAPI documents all of them. Its own handling of a request (routing, signature, body, answer, middleware) takes
several times as long as a prediction, so what is asked thousands of times a second does not go through it.

    service = Service("model", "Iris model service", "Predicts ...", ServiceSettings, lifespan, noun="prediction")

    @service.post("/predict", takes=json_body(PredictRequest), gives=PredictResponse, problems=(413, 422, 500, 503))
    async def predict(call: Call) -> bytes:
        return encode(...)

    @service.api.get("/model-info")  # not so busy: FastAPI as usual

Whoever answers: every request gets an id, is counted and logged, and every failure is a problem+json.
"""

import asyncio
import gc
import logging
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence, Set
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, Generic

from fastapi import FastAPI
from pydantic import BaseModel
from starlette.requests import Request
from starlette.types import Receive, Scope, Send

from common.web.api import document_post, make_api
from common.web.body_limit import limit_body, read_body
from common.web.call import Call
from common.web.limiter import Full, Slots
from common.web.logs import REQUEST_ID, RequestLog, configure_logs
from common.web.metrics import Metrics
from common.web.problems import Problem, internal_error, problem_response
from common.web.settings import Settings, load_service_settings

MAX_BODY_BYTES = 2 * 1024 * 1024
Handler = Callable[[Call], Awaitable[bytes]]
Lifespan = Callable[[FastAPI, Settings], AbstractAsyncContextManager[None]]
logger = logging.getLogger("iris")


class Service(Generic[Settings]):
    """An ASGI application. `api` is the FastAPI application inside of it."""

    def __init__(
        self, name: str, title: str, description: str, settings: type[Settings], lifespan: Lifespan[Settings],
        noun: str = "request", limited: Set[str] = frozenset(),
    ) -> None:  # fmt: skip
        """Make a service. `limited`: addresses of `api` whose POST requests take a slot of the limiter as well."""
        self._name, self._settings, self._lifespan = name, settings, lifespan
        self.slots = Slots(noun)
        self.metrics = Metrics(self.slots)
        self.watchers: list[Callable[[Call], None]] = []  # are shown every request that took a slot, or was to
        self._handlers: dict[str, Handler] = {}
        self._limited = set(limited)
        self._done: list[Call] = []
        self._log: RequestLog
        self.api = make_api(title, description, self._whole_life, self.metrics)

    def post(
        self, path: str, *, gives: type[BaseModel], problems: Sequence[int],
        takes: dict[str, Any] | None = None, status: int = 200,
    ) -> Callable[[Handler], Handler]:  # fmt: skip
        """Answer POST requests to this address with the decorated function. The rest is for the documentation."""

        def add(handler: Handler) -> Handler:
            self._handlers[path] = handler
            self._limited.add(path)
            document_post(self.api, path, handler, gives, problems, takes, status)
            return handler

        return add

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request: number it, let it in, answer it, and count and log it in the end."""
        if scope["type"] != "http":
            await self.api(scope, receive, send)
            return
        call = Call(scope, scope["path"].removeprefix(scope.get("root_path", "")))
        REQUEST_ID.set(call.request_id)
        call.limited = scope["method"] == "POST" and call.path in self._limited
        try:
            if call.limited:
                call.route = call.path
                with self.slots:
                    await self._answer(call, receive, send)
            else:
                await self._answer(call, receive, send)
        except Problem as problem:
            call.refused = isinstance(problem, Full)
            await self._fail(call, problem, receive, send)
        except asyncio.CancelledError:  # the server's grace is over
            detail = f"The {self.slots.noun} was not finished. Try again."
            await self._fail(call, Problem(503, "The service is shutting down", detail, 1.0), receive, send)
        except Exception:
            logger.exception("Unexpected failure")
            await self._fail(call, internal_error(), receive, send)
        finally:
            call.seconds = time.perf_counter() - call.started
            if not self._done:
                # In the next turn of the loop: uvloop sends what was written at the end of this one.
                asyncio.get_running_loop().call_soon(self._record)
            self._done.append(call)

    async def _answer(self, call: Call, receive: Receive, send: Send) -> None:
        handler = self._handlers.get(call.path) if call.limited else None
        if handler:
            call.body = await read_body(receive, MAX_BODY_BYTES)
            await call.answer(await handler(call), send)
        else:
            call.scope.setdefault("state", {}).update(request_id=call.request_id)
            await self.api(call.scope, limit_body(receive, MAX_BODY_BYTES), call.sender(send))

    async def _fail(self, call: Call, problem: Problem, receive: Receive, send: Send) -> None:
        """Answer with a problem, if no answer has begun."""
        if not call.status:
            call.scope.setdefault("state", {}).update(request_id=call.request_id)
            call.scope["app"] = self.api
            response = problem_response(problem, Request(call.scope))
            await response(call.scope, receive, call.sender(send))

    def _record(self) -> None:
        done, self._done = self._done, []
        for call in done:
            if not call.limited:
                call.route = getattr(call.scope.get("route"), "path", "other")
            self.metrics.answered(call)
            if call.limited:
                for watch in self.watchers:
                    watch(call)
            self._log.answered(call)

    @asynccontextmanager
    async def _whole_life(self, api: FastAPI) -> AsyncGenerator[None, None]:
        settings = load_service_settings(self._settings)
        self._log = configure_logs(self._name, settings)
        self.slots.limit = settings.max_in_flight
        async with self._lifespan(api, settings):
            gc.freeze()  # what is here now stays: no garbage collection, in the middle of a request, looks at it again
            yield
