"""What one fault did, in numbers, and the bars that it must not miss."""

import itertools
from dataclasses import dataclass, field

from benchmarks.records import Record

MODES = ("at-least-once", "exactly-once")
ALSO = ", also"  # ends the name of the table with the figures that only one fault has


@dataclass
class Outcome:
    """One fault in one delivery mode. Times are in seconds."""

    fault: str
    delivery: str
    most_standstill: float | None = None  # bars
    most_wait: float | None = None
    times: int = 0  # how often the fault happened
    sent: int = 0  # task messages
    results: int = 0  # distinct task ids with a result
    lost: int = 0  # tasks without a result, or results without a row in a store
    rows_doubled: dict[str, int] = field(default_factory=dict)  # per store, rows beyond the first per task
    results_doubled: int = 0  # committed results beyond the first per task message
    executed_again: int = 0  # times that a task message was taken to be handled beyond the first
    standstill: float = 0.0  # longest time without any new result after the fault
    longest_wait: float = 0.0  # longest time from sending a task to its result
    took: float = 0.0  # the whole trial
    also: dict[str, float] = field(default_factory=dict)  # figures that only this fault has
    problems: list[str] = field(default_factory=list)  # what else went wrong: an exit code, a slow leaving

    def records(self) -> list[Record]:
        """Return the figures: a table per delivery mode, a row per fault."""
        promised = 0 if self.delivery == "exactly-once" else None
        figures = [
            ("times", self.times, "", None),
            ("sent", self.sent, "", None),
            ("results", self.results, "", None),
            ("lost", self.lost, "", 0),
            *((f"rows doubled, {store}", count, "", 0) for store, count in self.rows_doubled.items()),
            ("results doubled", self.results_doubled, "", promised),
            ("executed again", self.executed_again, "", None),
            ("standstill", self.standstill, "s", self.most_standstill),
            ("longest wait", self.longest_wait, "s", self.most_wait),
            ("took", self.took, "s", None),
        ]
        found = [Record(self.delivery, self.fault, name, n, unit, at_most=bar) for name, n, unit, bar in figures]
        return found + [Record(self.delivery + ALSO, self.fault, name, n) for name, n in self.also.items()]

    def missed(self) -> list[str]:
        """Return what is not as it must be, a line each."""
        return self.problems + [f"{r.column} {r.value:g}, {r.bar}" for r in self.records() if not r.reached]


def longest_gap(since: float, arrivals: list[float]) -> float:
    """Return the longest time without an arrival, from `since` on to the last arrival.

    >>> longest_gap(2.0, [1.0, 2.5, 4.5, 5.0])
    2.0
    """
    times = [since, *sorted(arrival for arrival in arrivals if arrival > since)]
    return max((b - a for a, b in itertools.pairwise(times)), default=0.0)
