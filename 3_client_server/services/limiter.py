"""The limiter: no more than so many predictions at once, the next is refused at once, with the reason.

Unlike `uvicorn --limit-concurrency`:
- it counts only predictions: an idle connection costs nothing, health and metrics pass when the service is full;
- the refusal says why (limit, in flight) and when to come again (Retry-After).
"""

from collections.abc import Set
from dataclasses import dataclass

from starlette.requests import Request
from starlette.types import ASGIApp, Receive, Scope, Send

from .problems import Problem, problem_response

RETRY_AFTER_SECONDS = 1.0


@dataclass
class Slots:
    """How many predictions there may be at once (0: no limit) and how many there are, for metrics and monitor."""

    limit: int = 0
    in_flight: int = 0
    refusals: int = 0


class Limiter:
    """ASGI middleware that refuses a prediction when all slots are taken.

    No lock: everything here runs in the event loop's one thread, and between the look and the count nothing waits.
    """

    def __init__(self, app: ASGIApp, slots: Slots, paths: Set[str]) -> None:
        self.app, self.slots, self.paths = app, slots, paths

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] != "POST" or scope["path"] not in self.paths:
            await self.app(scope, receive, send)
            return
        slots = self.slots
        if slots.limit and slots.in_flight >= slots.limit:
            slots.refusals += 1
            scope["state"]["refused"] = True
            await problem_response(full(slots), Request(scope))(scope, receive, send)
            return
        slots.in_flight += 1
        try:
            await self.app(scope, receive, send)
        finally:
            slots.in_flight -= 1


def full(slots: Slots) -> Problem:
    """Return the reason of a refusal."""
    return Problem(
        503,
        "The service is full",
        f"{slots.in_flight} predictions are in flight, the limit is {slots.limit}. "
        f"Try again in {RETRY_AFTER_SECONDS:g} s.",
        RETRY_AFTER_SECONDS,
        limit=slots.limit,
        in_flight=slots.in_flight,
    )
