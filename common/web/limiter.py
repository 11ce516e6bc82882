"""The limiter: no more than so many requests at once; the next is refused at once, with the reason.

Unlike `uvicorn --limit-concurrency`:
- it counts only the requests that do work: an idle connection costs nothing, and health and metrics pass when the
  service is full;
- the refusal says why (limit, in flight) and when to come again (Retry-After).
"""

from common.web.problems import Problem

RETRY_AFTER_SECONDS = 1.0


class Full(Problem):
    """A refusal: all slots are taken."""


class Slots:
    """How many requests there may be at once (0: no limit) and how many there are. `with slots:` takes one.

    No lock: everything here runs in the event loop's one thread, and nothing waits between the check and the count.
    """

    def __init__(self, noun: str = "request", limit: int = 0) -> None:
        self.noun, self.limit = noun, limit  # the noun says what is counted, in messages and metrics
        self.in_flight = self.refusals = 0

    def __enter__(self) -> None:
        """Take a slot, or raise Full."""
        if self.limit and self.in_flight >= self.limit:
            self.refusals += 1
            raise self._full()
        self.in_flight += 1

    def __exit__(self, *_: object) -> None:
        self.in_flight -= 1

    def _full(self) -> Full:
        return Full(
            503,
            "The service is full",
            f"{self.in_flight} {self.noun}s are in flight, the limit is {self.limit}. "
            f"Try again in {RETRY_AFTER_SECONDS:g} s.",
            RETRY_AFTER_SECONDS,
            limit=self.limit,
            in_flight=self.in_flight,
        )
