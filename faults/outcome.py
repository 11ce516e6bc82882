"""What one fault did, in numbers, and the bars that it must not miss."""

import itertools
from dataclasses import asdict, dataclass, field
from typing import Any

TAKEOVER_SECONDS = 10.0  # a killed worker's tasks are taken over, a killed broker of three is replaced


@dataclass
class Outcome:
    """One fault in one delivery mode. Times are in seconds."""

    fault: str
    delivery: str
    seed: int
    times: int = 0  # how often the fault happened
    sent: int = 0  # task messages
    results: int = 0  # distinct task ids with a result
    lost: int = 0  # tasks without a result, or results without a row in either store
    rows_doubled: int = 0  # rows in SQLite beyond the first per task
    postgres_rows_doubled: int | None = None  # rows in PostgreSQL beyond the first per task, where it was there
    results_doubled: int = 0  # committed results beyond the first per task message
    executions_again: int = 0  # times that a task message was handed to the handler beyond the first
    standstill: float = 0.0  # longest time without any new result after the fault
    longest_wait: float = 0.0  # longest time from sending a task to its result
    seconds: float = 0.0  # how long the trial took
    bar_standstill: float | None = None
    bar_wait: float | None = None
    notes: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)  # what else went wrong: an exit code, a slow leaving

    def missed(self) -> list[str]:
        """Return what is not as it must be, a line each."""
        lines = list(self.problems)
        if self.lost:
            lines.append(f"{self.lost} lost")
        if self.rows_doubled:
            lines.append(f"{self.rows_doubled} rows doubled in SQLite")
        if self.postgres_rows_doubled:
            lines.append(f"{self.postgres_rows_doubled} rows doubled in PostgreSQL")
        if self.results_doubled and self.delivery == "exactly-once":
            lines.append(f"{self.results_doubled} results doubled")
        for what, seconds, bar in (
            ("standstill", self.standstill, self.bar_standstill),
            ("longest wait", self.longest_wait, self.bar_wait),
        ):
            if bar is not None and seconds > bar:
                lines.append(f"{what} {seconds:.1f} s is more than {bar:g} s")
        return lines

    def to_json(self) -> dict[str, Any]:
        """Return the fields and the verdict."""
        return asdict(self) | {"missed": self.missed()}


def longest_gap(since: float, arrivals: list[float]) -> float:
    """Return the longest time without an arrival, from `since` on to the last arrival.

    >>> longest_gap(2.0, [1.0, 2.5, 4.5, 5.0])
    2.0
    """
    times = [since, *sorted(arrival for arrival in arrivals if arrival > since)]
    return max((b - a for a, b in itertools.pairwise(times)), default=0.0)
