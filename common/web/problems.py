"""What can go wrong, told as RFC 9457 problem+json: never a traceback, never an internal message.

    {"type": "urn:problem:the-model-service-is-full", "title": "The model service is full", "status": 503,
     "detail": "4 of 4 predictions are in flight. Try again in 1 s.", "instance": "/predict", "request_id": "..."}

Source: https://www.rfc-editor.org/rfc/rfc9457
"""

import json
import math
import re
from collections.abc import Sequence
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.routing import Match

from common.iris_dto import shorten

MEDIA_TYPE = "application/problem+json"


class Problem(Exception):
    """A failure with a reason that the client may read. `retry_after` is in seconds, `extra` goes into the answer."""

    def __init__(self, status: int, title: str, detail: str, retry_after: float | None = None, **extra: Any) -> None:
        super().__init__(detail)
        self.status, self.title, self.detail, self.retry_after, self.extra = status, title, detail, retry_after, extra


class ProblemBody(BaseModel):
    """The answer to a request that failed."""

    type: str = "about:blank"
    title: str
    status: int
    detail: str
    instance: str
    request_id: str


def problem_response(problem: Problem, request: Request) -> Response:
    """Return a problem as the answer to a request: JSON for programs, a page for people where the app has one."""
    page = getattr(request.app.state, "problem_page", None)
    if page and wants_html(request):
        return page(request, problem)
    slug = re.sub(r"[^a-z0-9]+", "-", problem.title.lower()).strip("-")
    body = {
        "type": f"urn:problem:{slug}",
        "title": problem.title,
        "status": problem.status,
        "detail": problem.detail,
        "instance": request.scope["path"],
        "request_id": getattr(request.state, "request_id", ""),
    } | problem.extra
    response = Response(json.dumps(body), problem.status, media_type=MEDIA_TYPE)
    if problem.retry_after is not None:
        response.headers["Retry-After"] = str(math.ceil(problem.retry_after))  # RFC 9110: whole seconds
    return response


def wants_html(request: Request) -> bool:
    """Return whether a browser is asking: programs accept `*/*` or JSON."""
    return "text/html" in request.headers.get("accept", "")


def wrong_input(detail: str, **extra: Any) -> Problem:
    """Return the problem of an input that is not what was expected; the detail names the field."""
    return Problem(422, "The input is not valid", detail, **extra)


def internal_error() -> Problem:
    """Return the problem of a fault of our own: the reason is in the log, under the request id."""
    return Problem(500, "Internal error", "The service has failed. Its log has the reason under this request id.")


def add_problem_handlers(app: FastAPI) -> None:
    """Let everything that fails in the app, in FastAPI or in Starlette answer problem+json."""

    async def on_problem(request: Request, problem: Exception) -> Response:
        assert isinstance(problem, Problem)
        return problem_response(problem, request)

    async def on_http_error(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        title = HTTPStatus(error.status_code).phrase
        detail = error.detail if error.detail != title else _DETAILS.get(error.status_code, title)
        response = problem_response(Problem(error.status_code, title, detail), request)
        response.headers.update(error.headers or {})
        if error.status_code == 405:  # of all methods of this address, not only those of the first one that fits
            response.headers["Allow"] = ", ".join(sorted(_methods(request)))
        return response

    async def on_invalid(request: Request, error: Exception) -> Response:
        assert isinstance(error, RequestValidationError)
        first = error.errors()[0]
        field = ".".join(map(str, first["loc"]))
        return problem_response(wrong_input(f"{field}: {shorten(repr(first.get('input')))}: {first['msg']}."), request)

    async def on_failure(request: Request, error: Exception) -> Response:
        return problem_response(internal_error(), request)

    app.add_exception_handler(Exception, on_failure)
    app.add_exception_handler(Problem, on_problem)
    app.add_exception_handler(HTTPException, on_http_error)
    app.add_exception_handler(RequestValidationError, on_invalid)


def _methods(request: Request) -> set[str]:
    fits = [route for route in request.app.routes if route.matches(request.scope)[0] != Match.NONE]
    fits = [route for route in fits if route.path == request.scope["path"]] or fits  # /tasks/batch is no task
    return {method for route in fits for method in getattr(route, "methods", None) or ()}


_DETAILS = {
    404: "There is nothing at this address. GET / tells what there is.",
    405: "This address does not know this method; the header Allow tells which it knows.",
}


def documented(statuses: Sequence[int]) -> dict[int | str, dict[str, Any]]:
    """Return the `responses=` of an endpoint: these statuses answer with a problem."""
    schema = {"schema": ProblemBody.model_json_schema()}
    return {status: {"description": HTTPStatus(status).phrase, "content": {MEDIA_TYPE: schema}} for status in statuses}
