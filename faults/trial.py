"""One trial: workers and persisters of both stores under load, something that fails, and a count of what came of it."""

import contextlib
import json
import os
import random
import sqlite3
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterable, Set
from pathlib import Path
from typing import Any, Self

import psycopg

from common.kafka.topics import DEAD_LETTER
from common.programs import ProgramFailed, until

from .count import PLAIN, count
from .crew import Arguments, Crew
from .network import Network
from .outcome import Outcome
from .rig import Rig
from .traffic import Load, Observer

START_SECONDS = 60.0
DRAIN_SECONDS = 90.0  # longest wait for the last result after the load has ended
STORE_SECONDS = 60.0  # then, longest wait for the last row


def no_arguments(i: int) -> list[str]:
    """Return the arguments of a program that nothing happens to."""
    return []


class Trial:
    """Load and programs for one fault in one delivery mode; `finish()` fills in the outcome."""

    def __init__(self, rig: Rig, outcome: Outcome, seed: int) -> None:
        self.rig, self.outcome, self.seed, self.rng = rig, outcome, seed, random.Random(seed)
        self.folder = Path(tempfile.mkdtemp(prefix="trial-", dir=rig.folder))
        self.load, self.crews = Load(rig.servers, self.rng), list[Crew]()
        self.expected_errors: dict[str, str] = {}  # task id: the code of the error that is the right answer
        self.env = os.environ | {"KAFKA_BOOTSTRAP_SERVERS": rig.servers, "PYTHONPATH": ""}
        self.database, self._dsn = self.folder / "results.sqlite3", ""
        self.executions = self.folder / "executions"
        self.executions.touch()
        self.dead_letters = rig.topics.messages(DEAD_LETTER)
        self._began, self.struck_at = time.monotonic(), 0.0
        self.network: Network | None = None
        self.ends: list[float] = []  # of the fault, on the monotonic clock

    def __enter__(self) -> Self:
        self.observer = Observer(self.rig.topics)
        self.observer.start()
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(TimeoutError):
            self.load.stop(5)
        for crew in self.crews:
            crew.end()
        if self.network:
            self.network.mend()
        self.observer.stop()

    # --- what runs ---

    def start(
        self,
        *,
        workers: int = 3,
        persisters: int = 1,
        both_stores: bool = False,
        to_worker: Arguments = no_arguments,
        to_sqlite: Arguments = no_arguments,
        to_postgres: Arguments = no_arguments,
        clients: int = 0,
        to_clients: Arguments = no_arguments,
        apart: str = "",
        redirect: dict[int, int] | None = None,
    ) -> None:
        """Start the programs, each with its arguments, and wait until they are ready.

        `apart` are the programs that `self.network` is for: worker, persister or clients; `redirect` leads their
        connections from ports of Kafka to others.
        """
        self._apart, self.network = apart, Network() if apart else None
        if self.network and redirect:
            self.network.redirect(redirect)
        fixed = ["--delivery", self.outcome.delivery, "--executions", str(self.executions)]
        fixed += ["--run-dir", str(self.rig.folder)]
        self.workers = self._crew("fault_worker", workers, lambda i: fixed + to_worker(i))
        self.sqlite = self._crew("fault_persister", persisters, to_sqlite, IRIS_DATABASE=str(self.database))
        if both_stores or self.rig.both_stores:
            dsn = self._dsn = self.rig.new_database()
            self.postgres = self._crew("fault_persister", persisters, lambda i: ["--dsn", dsn, *to_postgres(i)])
        if clients:
            self.clients = self._crew("fault_clients", clients, lambda i: ["--steady", *to_clients(i)])
        self.until(lambda: all(crew.is_ready() for crew in self.crews), START_SECONDS, "programs ready")

    def _crew(self, program: str, size: int, arguments: Arguments, **env: str) -> Crew:
        group = self.network.group if self.network and program.endswith(self._apart) else None
        folder = self.folder / f"crew-{len(self.crews)}"  # of its logs: what a program prints says whether it is ready
        folder.mkdir()
        self.crews.append(Crew(f"faults.{program}", size, arguments, self.env | env, folder, group))
        return self.crews[-1]

    def flow(self, **options: Any) -> None:
        """Start programs and load, and wait until results keep up with it."""
        self.start(**options)
        self.load.start()
        self.keeps_up()

    def keeps_up(self) -> None:
        """Wait until results keep up with the load. Raises ProgramFailed with how far each part of the way has come."""
        seen, sent, rate = self.observer.first, self.load.sent, self.load.rate
        start = len(seen)
        try:
            self.until(
                lambda: len(seen) > start + rate / 2 and len(sent) - len(seen) < 3 * rate, START_SECONDS, "results flow"
            )
        except ProgramFailed as error:
            counts = f"{len(sent)} sent, {self.load.acknowledged} acknowledged, {start} seen before, {len(seen)} now"
            raise ProgramFailed(f"{error} {counts}") from None

    def until(self, condition: Callable[[], bool], seconds: float, what: str) -> None:
        """Start again who dies, until a condition holds. Raises ProgramFailed."""

        def tended() -> bool:
            for crew in self.crews:
                crew.tend()
            return condition()

        until(tended, seconds, what)

    def waits_since(self, since: float) -> list[float]:
        """Return how long the tasks waited that were sent since then (monotonic clock) and are answered, in seconds."""
        seen, sent = self.observer.first, self.load.sent
        return [seen[i] - sent[i] for i in self.answered() if sent[i] >= since]

    def pause(self, seconds: float) -> None:
        """Let the programs run for a while."""
        end = time.monotonic() + seconds
        self.until(lambda: time.monotonic() >= end, seconds + 10, "a pause")

    def struck(self) -> None:
        """Note that the fault happens now, for the first time or once more."""
        self.outcome.times += 1
        self.struck_at = self.struck_at or time.monotonic()

    def over(self) -> None:
        """Note that the fault is over: from here on, whoever waits should be answered soon."""
        self.ends.append(time.monotonic())

    def recovered(self, seconds: float) -> None:
        """Note how long after a fault's end somebody still waited."""
        self.outcome.recovery = round(max(self.outcome.recovery or 0.0, seconds), 2)

    def observe_anew(self) -> None:
        """Go on observing after `results` was made anew."""
        self.observer = Observer(self.rig.topics, self.observer)
        self.observer.start()

    # --- what came of it ---

    def drain(self) -> None:
        """End the load; wait until each task has a result and each result its rows, or no hope is left."""
        self.load.stop()
        with contextlib.suppress(ProgramFailed):
            self.until(lambda: self.load.sent.keys() <= self.observer.first.keys(), DRAIN_SECONDS, "all results")
        wanted = len(self.answered()) + len(self.load.plain)
        with contextlib.suppress(ProgramFailed):
            self.until(lambda: all(r.total() >= wanted for r in self.rows().values()), STORE_SECONDS, "all rows")

    def answered(self) -> Set[str]:
        """Return the ids of our tasks that have a result."""
        return self.load.sent.keys() & self.observer.first.keys()

    def rows(self) -> dict[str, Counter[str]]:
        """Return, per store, how many rows it has of each of our tasks and plain results."""
        query = "SELECT task_id, value FROM {}results"
        with contextlib.closing(sqlite3.connect(self.database, timeout=10)) as db:
            found = {"SQLite": self._ours(db.execute(query.format("")))}
        if self._dsn:
            with psycopg.connect(self._dsn) as db:
                found["PostgreSQL"] = self._ours(db.execute(query.format("iris.")))
        return found

    def _ours(self, rows: Iterable[tuple[str | None, str]]) -> Counter[str]:
        ours: Counter[str] = Counter()
        for task_id, value in rows:
            if task_id in self.load.sent:
                ours[task_id] += 1
            elif task_id is None and self.load.plain_mark in value:
                ours[f"{PLAIN}{json.loads(value)['X'][self.load.plain_mark]}"] += 1
        return ours

    def finish(self) -> None:
        """Drain, end all programs in order, and count."""
        self.drain()
        for crew in self.crews:
            crew.restart = False
            crew.leave()
            self.outcome.problems += crew.problems
            self.outcome.slow += crew.slow
        partitions = self.rig.partitions
        self.observer.send_sentinels(partitions)
        try:
            until(lambda: len(self.observer.ended) == partitions, 30, "sentinels")
        except ProgramFailed:
            self.outcome.problems.append("readers of committed results are held up")
        self.outcome.problems += sorted(self.load.refused)
        count(self)
        self.outcome.took = round(time.monotonic() - self._began, 1)

    def lose(self, ids: Set[str], what: str) -> None:
        """Count what is missing, and say what kind it is."""
        if ids:
            self.outcome.lost += len(ids)
            self.outcome.problems.append(f"{len(ids)} {what}, {min(ids)} the first")
