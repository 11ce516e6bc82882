"""What a measurement keeps: one flat record per figure, in one form for all measurements.

A file in results/ is one run: what holds for all of its figures (the command, the date, the commit, the machine, the
digests of the code that was measured), and then one record per line.

    run = Run.begin("worker_rate", argv, code=["5_task_queue/worker"])
    run.add("program", "echo", "rate", 1000.0, unit="tasks/s")  # once for each time that it was measured
    run.write()
"""

import json
import math
import statistics
import subprocess
import sys
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self

from benchmarks.code_digest import digest
from benchmarks.machine import Machine, machine
from common.settings import ROOT

RESULTS_DIR = Path(__file__).parent / "results"


Place = tuple[str, str, str]  # table, row, column


@dataclass(frozen=True)
class Record:
    """One figure and its place in a table: the median of repeated measurements with their range, or a count."""

    table: str
    row: str
    column: str
    value: float
    unit: str = ""
    low: float | None = None
    high: float | None = None
    repeats: int = 1
    at_least: float | None = None  # the bar that it has to reach
    at_most: float | None = None

    @property
    def place(self) -> Place:
        """Where it stands."""
        return self.table, self.row, self.column

    @property
    def bar(self) -> str:
        """The bar in words; an empty string if there is none."""
        if self.at_least is not None:
            return f"at least {self.at_least:,g}".replace(",", " ")
        return "" if self.at_most is None else f"at most {self.at_most:g}"

    @property
    def reached(self) -> bool:
        """Whether the bar is reached."""
        low = -math.inf if self.at_least is None else self.at_least
        return low <= self.value <= (math.inf if self.at_most is None else self.at_most)


@dataclass
class Run:
    """All figures of one measurement, and where they come from."""

    measurement: str
    command: str
    date: str
    commit: str
    machine: Machine
    code: dict[str, str]  # digests of the modules that were measured
    settings: dict[str, Any] = field(default_factory=dict)
    figures: dict[Place, Record] = field(default_factory=dict)
    samples: dict[Place, list[float]] = field(default_factory=dict)  # what the medians are of; not kept

    @classmethod
    def begin(cls, measurement: str, argv: Sequence[str] | None, code: Iterable[str], **settings: Any) -> Self:
        """Return a run without figures, of the code as it is now."""
        words = list(sys.argv[1:] if argv is None else argv)
        while "--out" in words:  # a folder of the reader's machine
            at = words.index("--out")
            del words[at : at + 2]
        command = " ".join([f"python -m benchmarks.{measurement}", *words])
        digests = {name: digest(name) for name in code}
        return cls(measurement, command, datetime.now(UTC).date().isoformat(), commit(), machine(), digests, settings)

    @classmethod
    def read(cls, measurement: str, folder: Path | None = None) -> Self:
        """Return a run that was kept."""
        path = (folder or RESULTS_DIR) / f"{measurement}.json"
        kept = json.loads(path.read_text(encoding="utf-8"))
        records = [Record(**record) for record in kept.pop("records")]
        return cls(**kept, figures={record.place: record for record in records})

    def add(self, table: str, row: str, column: str, *values: float, unit: str = "", **bar: float) -> None:
        """Add what was measured to what has been measured before at the same place."""
        found = self.samples.setdefault((table, row, column), [])
        found += values
        middle, low, high = (round(float(v), 3) for v in (statistics.median(found), min(found), max(found)))
        self.figures[table, row, column] = Record(table, row, column, middle, unit, low, high, len(found), **bar)

    def count(self, table: str, row: str, column: str, number: float, unit: str = "") -> None:
        """Add to a count."""
        place = table, row, column
        before = self.figures.get(place, Record(*place, value=0, repeats=0))
        self.figures[place] = Record(*place, before.value + number, unit, repeats=before.repeats + 1)

    def ratio(self, name: str, of: Place, to: Place, **bar: Any) -> None:
        """Add the ratio of two figures, if both were measured: of each pair of neighbouring measurements.

        What slows the machine slows both of a pair.
        """
        if of in self.samples and to in self.samples:
            pairs = zip(self.samples[of], self.samples[to], strict=True)
            self.add("ratio", name, "measured", *(a / b for a, b in pairs), **bar)

    def table(self, name: str) -> list[Record]:
        """Return the records of a table."""
        return [record for record in self.figures.values() if record.table == name]

    def tables(self) -> list[str]:
        """Return the names of the tables."""
        return list(dict.fromkeys(table for table, _, _ in self.figures))

    def value(self, table: str, row: str, column: str) -> float:
        """Return one figure: the median, or the count."""
        return self.figures[table, row, column].value

    def write(self, folder: Path | None = None) -> Path:
        """Write the run as JSON, a record per line."""
        path = (folder or RESULTS_DIR) / f"{self.measurement}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        head = asdict(self)
        del head["figures"], head["samples"]
        rows = ({k: v for k, v in asdict(r).items() if v not in (None, "")} for r in self.figures.values())
        lines = ",\n".join("    " + json.dumps(row, ensure_ascii=False) for row in rows)
        text = json.dumps(head, indent=2, ensure_ascii=False).removesuffix("\n}")
        path.write_text(f'{text},\n  "records": [\n{lines}\n  ]\n}}\n', encoding="utf-8")
        return path


def commit() -> str:
    """Return the commit of the code, with a + if files have been changed since; an empty string outside git."""
    try:
        found = subprocess.run(
            ["git", "describe", "--always", "--exclude=*", "--dirty=+"],
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=True,
        )
    except (OSError, subprocess.CalledProcessError):
        return ""
    return found.stdout.strip()


def percentile(values: Sequence[float], share: float) -> float:
    """Return the value that this share (0 to 1) of the values does not exceed; not a number if there are none."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else math.nan
