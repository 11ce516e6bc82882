"""One trial: workers and persisters under load, something that fails, and a count of what came of it."""

import contextlib
import itertools
import json
import random
import sqlite3
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self

from benchmarks.faults.crew import Crew
from benchmarks.faults.fault_worker import EXECUTION
from benchmarks.faults.outcome import Outcome, longest_gap
from benchmarks.faults.rig import Rig, wait
from benchmarks.faults.traffic import Load, Observer

START_SECONDS = 60.0
DRAIN_SECONDS = 90.0  # longest wait for the last result after the load has ended
_numbers = itertools.count()

Arguments = Callable[[int], list[str]]


class Trial:
    """Processes of one fault in one delivery mode; `outcome` is filled by finish()."""

    def __init__(
        self,
        rig: Rig,
        outcome: Outcome,
        *,
        workers: int = 3,
        persisters: int = 1,
        rate: float = 600,
        limit: int | None = None,
        worker_arguments: Arguments = lambda i: [],
        persister_arguments: Arguments = lambda i: [],
        env: dict[str, str] | None = None,
    ) -> None:
        self.rig, self.outcome, self.rng = rig, outcome, random.Random(outcome.seed)
        self.folder = rig.folder / f"trial-{next(_numbers)}"
        self.folder.mkdir()
        self.database = self.folder / "results.sqlite3"
        self.executions = self.folder / "executions"
        self.executions.touch()
        self.load = Load(rig.servers, rate, self.rng, limit)
        self.fault_at: float | None = None
        self._rate, self._began = rate, time.monotonic()
        self._stack = contextlib.ExitStack()
        self._sizes, self._worker_arguments, self._persister_arguments = (
            (workers, persisters),
            worker_arguments,
            persister_arguments,
        )
        self._env = {"KAFKA_BOOTSTRAP_SERVERS": rig.servers, "IRIS_DATABASE": str(self.database)} | (env or {})

    def __enter__(self) -> Self:
        with contextlib.ExitStack() as stack:
            self.observer = stack.enter_context(Observer(self.rig.servers))
            fixed = ["--delivery", self.outcome.delivery, "--executions", str(self.executions)]
            fixed += ["--slots", str(self.rig.folder)]
            self.workers = self._crew("fault_worker", self._sizes[0], lambda i: fixed + self._worker_arguments(i))
            stack.callback(self.workers.end)
            self.persisters = self._crew("fault_persister", self._sizes[1], self._persister_arguments)
            stack.callback(self.persisters.end)
            self.until(lambda: self.workers.is_ready() and self.persisters.is_ready(), START_SECONDS, "programs ready")
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(TimeoutError):
            self.load.stop(5)
        self._stack.close()

    def _crew(self, program: str, size: int, arguments: Arguments) -> Crew:
        return Crew(f"benchmarks.faults.{program}", size, arguments, self._env, self.folder)

    def until(self, condition: Callable[[], bool], seconds: float, what: str) -> None:
        """Start again who dies, until a condition holds. Raises TimeoutError."""

        def tended() -> bool:
            self.workers.tend()
            if hasattr(self, "persisters"):
                self.persisters.tend()
            return condition()

        wait(tended, seconds, what)

    def pause(self, seconds: float) -> None:
        """Let the programs run for a while."""
        end = time.monotonic() + seconds
        self.until(lambda: time.monotonic() >= end, seconds + 10, "a pause")

    def flow(self) -> None:
        """Start the load and wait until results keep up with it."""
        self.load.start()
        self.keeps_up()

    def keeps_up(self) -> None:
        """Wait until results keep up with the load."""
        seen, sent = self.observer.first, self.load.sent
        start = len(seen)
        enough = start + self._rate / 2
        self.until(lambda: len(seen) > enough and len(sent) - len(seen) < 3 * self._rate, START_SECONDS, "results flow")

    def observe_anew(self) -> None:
        """Go on observing after `results` was made anew."""
        old, self.observer = self.observer, Observer(self.rig.servers)
        self.observer.first, self.observer.count, self.observer.errors = old.first, old.count, old.errors
        self.observer.start()
        self._stack.callback(self.observer.stop)

    def struck(self) -> None:
        """Note that the fault happens now, for the first time or once more."""
        self.outcome.times += 1
        self.fault_at = self.fault_at or time.monotonic()

    def drain(self) -> None:
        """End the load; wait until each task has a result and each result a row, or no hope is left."""
        self.load.stop()
        with contextlib.suppress(TimeoutError):
            self.until(lambda: self.load.sent.keys() <= self.observer.first.keys(), DRAIN_SECONDS, "all results")
        self.stored()

    def stored(self) -> None:
        """Wait until SQLite has all that the observer has seen, or no hope is left."""
        wanted = len(self.load.sent.keys() & self.observer.first.keys()) + self.load.plain
        with contextlib.suppress(TimeoutError):
            self.until(lambda: sum(self.rows()) >= wanted, 30, "all rows")

    def rows(self) -> tuple[int, int]:
        """Return the rows of our tasks and those of plain results."""
        ids, plain = self._rows()
        return len(self.load.sent.keys() & ids.keys()), plain.total()

    def _rows(self) -> tuple[Counter[str], Counter[int]]:
        ids: Counter[str] = Counter()
        plain: Counter[int] = Counter()
        if self.database.exists():
            with contextlib.closing(sqlite3.connect(self.database, timeout=10)) as db:
                for task_id, value in db.execute("SELECT task_id, value FROM results"):
                    if task_id is not None:
                        ids[task_id] += 1
                    elif self.load.plain_mark in value:
                        plain[json.loads(value)["X"][self.load.plain_mark]] += 1
        return ids, plain

    def finish(self, expected_errors: dict[str, str] | None = None) -> Outcome:
        """Drain, end all programs in order, count."""
        self.drain()
        self.workers.restart = self.persisters.restart = False
        self.workers.leave()
        self.persisters.leave()
        self.observer.send_sentinels()
        with contextlib.suppress(TimeoutError):
            wait(lambda: len(self.observer.ended) == self.observer.partitions, 30, "sentinels")
        self._count(expected_errors or {})
        return self.outcome

    def _count(self, expected_errors: dict[str, str]) -> None:
        outcome, load, seen = self.outcome, self.load, self.observer
        ids, plain = self._rows()
        outcome.sent += load.messages.total()
        outcome.results += len(load.sent.keys() & seen.first.keys())
        lost_rows = len(load.sent.keys() & seen.first.keys() - ids.keys()) + load.plain - len(plain)
        outcome.lost += len(load.sent.keys() - seen.first.keys()) + lost_rows
        outcome.rows_doubled += sum(count - 1 for count in (*ids.values(), *plain.values()))
        outcome.results_doubled += sum(max(0, seen.count[i] - load.messages[i]) for i in load.sent)
        outcome.executions_again += executions_again(self.executions)
        if self.fault_at:
            outcome.standstill = round(longest_gap(self.fault_at, list(seen.first.values())), 2)
        waits = [seen.first[i] - at for i, at in load.sent.items() if i in seen.first]
        outcome.longest_wait = round(max(waits, default=0.0), 2)
        outcome.seconds = round(time.monotonic() - self._began, 1)
        ours = {i: code for i, code in seen.errors.items() if i in load.sent}
        if ours != expected_errors:
            wrong = Counter(code for i, code in ours.items() if expected_errors.get(i) != code)
            missing = len(expected_errors.keys() - ours.keys())
            outcome.problems.append(f"answered with an error: {dict(wrong)}; expected errors missing: {missing}")
        outcome.problems += self.workers.problems + self.persisters.problems
        if len(seen.ended) < seen.partitions:
            outcome.problems.append("readers of committed results are held up")
        outcome.problems += [f"the load was refused: {text}" for text in sorted(set(load.refused))]

    def keep_logs(self, folder: Path) -> None:
        """Copy what the programs have printed."""
        folder.mkdir(parents=True, exist_ok=True)
        for log in self.folder.glob("*.log"):
            (folder / log.name).write_bytes(log.read_bytes())


def executions_again(path: Path) -> int:
    """Return how many executions there were beyond the first of each task message."""
    data: Any = path.read_bytes()
    executed = Counter(EXECUTION.iter_unpack(data))
    return executed.total() - len(executed)
