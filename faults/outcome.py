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
    most_recovery: float | None = None
    times: int = 0  # how often the fault happened
    sent: int = 0  # task messages
    without_id: int = 0  # results without a task id, as of stage 4, sent beside them for the stores
    results: int = 0  # distinct task ids with a result
    lost: int = 0  # tasks without a result, or results without a row in a store
    wrong_answers: int = 0  # not what the model says, two different ones, or "too late" too early
    too_late: int = 0  # tasks that were answered with "nobody waits any more", and rightly so
    rows_doubled: dict[str, int] = field(default_factory=dict)  # per store, rows beyond the first per task
    rows_doubled_without_id: dict[str, int] = field(default_factory=dict)  # where no primary key forbids it
    results_doubled: int = 0  # committed results beyond the first per task message
    executed_again: int = 0  # times that a task message was taken to be handled beyond the first
    standstill: float = 0.0  # longest time without any new result after the fault
    longest_wait: float = 0.0  # longest time from sending a task to its result
    recovery: float | None = None  # longest time from a fault's end until all tasks sent before are answered
    took: float = 0.0  # the whole trial
    also: dict[str, float] = field(default_factory=dict)  # figures that only this fault has
    problems: list[str] = field(default_factory=list)  # what else went wrong: dead letters, errors, an end by itself
    slow: list[str] = field(default_factory=list)  # what else took too long: to leave, to answer

    def records(self) -> list[Record]:
        """Return the figures: a table per delivery mode, a row per fault."""
        promised = 0 if self.delivery == "exactly-once" else None
        figures = [
            ("times", self.times, "", None),
            ("sent", self.sent, "", None),
            ("results", self.results, "", None),
            ("without id", self.without_id, "", None),
            ("lost", self.lost, "", 0),
            ("wrong answers", self.wrong_answers, "", 0),
            ("too late", self.too_late, "", None),
            ("rows doubled", sum(self.rows_doubled.values()), "", 0),
            ("rows doubled, no id", sum(self.rows_doubled_without_id.values()), "", 0),
            *((f"in {store}", count, "", None) for store, count in self.rows_doubled.items()),
            *((f"in {store}, no id", count, "", None) for store, count in self.rows_doubled_without_id.items()),
            ("results doubled", self.results_doubled, "", promised),
            ("executed again", self.executed_again, "", None),
            ("standstill", self.standstill, "s", self.most_standstill),
            ("longest wait", self.longest_wait, "s", self.most_wait),
            ("recovery", self.recovery, "s", self.most_recovery),
            ("took", self.took, "s", None),
        ]
        place = self.delivery, self.fault
        found = [Record(*place, name, n, unit, at_most=bar) for name, n, unit, bar in figures if n is not None]
        return found + [Record(self.delivery + ALSO, self.fault, name, n) for name, n in self.also.items()]

    def missed(self) -> list[str]:
        """Return what is not as it must be, a line each."""
        return self.problems + self.slow + [f"{r.column} {r.value:g}, {r.bar}" for r in self.records() if not r.reached]


def longest_gap(since: float, arrivals: list[float]) -> float:
    """Return the longest time without an arrival, from `since` on to the last arrival.

    >>> longest_gap(2.0, [1.0, 2.5, 4.5, 5.0])
    2.0
    """
    times = [since, *sorted(arrival for arrival in arrivals if arrival > since)]
    return max((b - a for a, b in itertools.pairwise(times)), default=0.0)
