"""One trial: workers and persisters of both stores under load, something that fails, and a count of what came of it."""

import contextlib
import itertools
import json
import random
import sqlite3
import time
from collections import Counter
from collections.abc import Callable, Iterable, Set
from pathlib import Path
from typing import Any, Self

import psycopg

from faults.crew import Crew
from faults.fault_worker import EXECUTION
from faults.outcome import Outcome, longest_gap
from faults.rig import Rig, wait
from faults.traffic import Load, Observer

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
        both_stores: bool = False,
        rate: float = 600,
        limit: int | None = None,
        worker_arguments: Arguments = lambda i: [],
        persister_arguments: Arguments = lambda i: [],
        postgres_arguments: Arguments = lambda i: [],
        env: dict[str, str] | None = None,
    ) -> None:
        self.rig, self.outcome, self.rng = rig, outcome, random.Random(outcome.seed)
        self.folder = rig.folder / f"trial-{next(_numbers)}"
        self.folder.mkdir()
        self.database = self.folder / "results.sqlite3"
        self.dsn = rig.new_database() if both_stores or rig.both_stores else None
        self.executions = self.folder / "executions"
        self.executions.touch()
        self.load = Load(rig.servers, rate, self.rng, limit)
        self.fault_at: float | None = None
        self._rate, self._began = rate, time.monotonic()
        self._stack = contextlib.ExitStack()
        self._sizes = workers, persisters
        self._arguments = worker_arguments, persister_arguments, postgres_arguments
        self.crews: list[Crew] = []
        self._env = {"KAFKA_BOOTSTRAP_SERVERS": rig.servers, "IRIS_DATABASE": str(self.database)} | (env or {})

    def __enter__(self) -> Self:
        with contextlib.ExitStack() as stack:
            self.observer = stack.enter_context(Observer(self.rig.servers))
            fixed = ["--delivery", self.outcome.delivery, "--executions", str(self.executions)]
            fixed += ["--slots", str(self.rig.folder)]
            stack.callback(lambda: [crew.end() for crew in self.crews])
            workers, persisters = self._sizes
            to_worker, to_persister, to_postgres = self._arguments
            self.workers = self._crew("fault_worker", workers, lambda i: fixed + to_worker(i))
            self.persisters = self._crew("fault_persister", persisters, to_persister)
            if dsn := self.dsn:
                size, program = persisters, "fault_postgres_persister"
                self.postgres = self._crew(program, size, lambda i: ["--dsn", dsn, *to_postgres(i)])
            self.until(lambda: all(crew.is_ready() for crew in self.crews), START_SECONDS, "programs ready")
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(TimeoutError):
            self.load.stop(5)
        self._stack.close()

    def _crew(self, program: str, size: int, arguments: Arguments) -> Crew:
        self.crews.append(Crew(f"faults.{program}", size, arguments, self._env, self.folder))
        return self.crews[-1]

    def until(self, condition: Callable[[], bool], seconds: float, what: str) -> None:
        """Start again who dies, until a condition holds. Raises TimeoutError."""

        def tended() -> bool:
            for crew in self.crews:
                crew.tend()
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
        """Wait until results keep up with the load. Raises TimeoutError, with how far each part of the way has come."""
        seen, sent = self.observer.first, self.load.sent
        start = len(seen)
        enough = start + self._rate / 2
        try:
            self.until(
                lambda: len(seen) > enough and len(sent) - len(seen) < 3 * self._rate, START_SECONDS, "results flow"
            )
        except TimeoutError as error:
            counts = f"{len(sent)} sent, {self.load.acknowledged} acknowledged, {start} seen before, {len(seen)} now"
            raise TimeoutError(f"{error}: {counts}") from None

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
        """End the load; wait until each task has a result and each result its rows, or no hope is left."""
        self.load.stop()
        with contextlib.suppress(TimeoutError):
            self.until(lambda: self.load.sent.keys() <= self.observer.first.keys(), DRAIN_SECONDS, "all results")
        self.stored()

    def stored(self) -> None:
        """Wait until both stores have all that the observer has seen, or no hope is left."""
        wanted = len(self.load.sent.keys() & self.observer.first.keys()) + len(self.load.plain)
        with contextlib.suppress(TimeoutError):
            self.until(lambda: self.sqlite_rows().total() >= wanted, 30, "all rows in SQLite")
            if self.dsn:
                self.until(lambda: self.postgres_rows().total() >= wanted, 30, "all rows in PostgreSQL")

    def sqlite_rows(self) -> Counter[str]:
        """Return how many rows SQLite has of each of our tasks and plain results."""
        if not self.database.exists():
            return Counter()
        with contextlib.closing(sqlite3.connect(self.database, timeout=10)) as db:
            return self._ours(db.execute("SELECT task_id, value FROM results"))

    def postgres_rows(self) -> Counter[str]:
        """Return how many rows PostgreSQL has of each of our tasks and plain results."""
        with psycopg.connect(self.dsn or "") as db:
            return self._ours(db.execute("SELECT task_id, value FROM iris.results"))

    def _ours(self, rows: Iterable[tuple[str | None, str]]) -> Counter[str]:
        ours: Counter[str] = Counter()
        for task_id, value in rows:
            if task_id in self.load.sent:
                ours[task_id] += 1
            elif task_id is None and self.load.plain_mark in value:
                ours[f"plain {json.loads(value)['X'][self.load.plain_mark]}"] += 1
        return ours

    def finish(self, expected_errors: dict[str, str] | None = None) -> Outcome:
        """Drain, end all programs in order, count."""
        self.drain()
        for crew in self.crews:
            crew.restart = False
        for crew in self.crews:
            crew.leave()
        self.observer.send_sentinels()
        with contextlib.suppress(TimeoutError):
            wait(lambda: len(self.observer.ended) == self.observer.partitions, 30, "sentinels")
        self._count(expected_errors or {})
        return self.outcome

    def _count(self, expected_errors: dict[str, str]) -> None:
        outcome, load, seen = self.outcome, self.load, self.observer
        outcome.sent += load.messages.total()
        outcome.results += len(load.sent.keys() & seen.first.keys())
        answered = load.sent.keys() & seen.first.keys()
        wanted = answered | {f"plain {number}" for number in load.plain}
        self._lose(load.sent.keys() - answered, "without a result")
        rows = self.sqlite_rows()
        self._lose(wanted - rows.keys(), "without a row in SQLite")
        outcome.rows_doubled += rows.total() - len(rows)
        if self.dsn:
            rows = self.postgres_rows()
            self._lose(wanted - rows.keys(), "without a row in PostgreSQL")
            outcome.postgres_rows_doubled = (outcome.postgres_rows_doubled or 0) + rows.total() - len(rows)
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
        outcome.problems += [problem for crew in self.crews for problem in crew.problems]
        if len(seen.ended) < seen.partitions:
            outcome.problems.append("readers of committed results are held up")
        outcome.problems += [f"the load was refused: {text}" for text in sorted(set(load.refused))]

    def _lose(self, ids: Set[str], what: str) -> None:
        """Count what is missing, and say of what kind it is."""
        if ids:
            self.outcome.lost += len(ids)
            self.outcome.problems.append(f"{len(ids)} {what}, {min(ids)} the first")

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
