"""What can happen to the persister: killed at each point, its disk full, its topic made anew, a backup restored."""

import sqlite3
import time
from contextlib import closing
from pathlib import Path

from common.kafka.topics import RESULTS

from .crew import Crew
from .kill_switch import PERSISTER_POINTS, Armed
from .trial import Trial

KILL_SECONDS = 60.0  # longest wait for the next kill
CATCH_UP_SECONDS = 60.0  # longest wait for rows; the bar is lower
PASSAGES = 1, 8  # a persister's switch strikes at one of these


def killed(trial: Trial, times: int) -> None:
    """Three persisters on one SQLite file and three on one PostgreSQL kill themselves at one point after another."""
    armed = [Armed(PERSISTER_POINTS, trial.seed + i, PASSAGES) for i in (0, 1)]
    trial.start(persisters=3, both_stores=True, to_sqlite=armed[0], to_postgres=armed[1])
    crews = {"SQLite": trial.sqlite, "PostgreSQL": trial.postgres}
    trial.load.start()
    while trial.outcome.times < times:
        trial.until(lambda: _kills(*crews.values()) > trial.outcome.times, KILL_SECONDS, "a kill")
        trial.struck()
    for switches, (store, crew) in zip(armed, crews.items(), strict=True):
        switches.on = False
        crew.replace_all()
        trial.outcome.also[f"{store}'s persisters died"] = crew.kills


def _kills(*crews: Crew) -> int:
    return sum(crew.kills for crew in crews)


def disk_full(trial: Trial, times: int) -> None:
    """The database may not grow for a while: the persister waits in place, then stores everything."""
    full = trial.folder / "full"
    trial.flow(to_sqlite=lambda i: ["--full", str(full)])
    for _ in range(times):
        trial.pause(0.5)
        trial.struck()
        full.touch()
        trial.until(lambda: "Cannot store" in trial.sqlite.members[0].output, 30, "the persister waits")
        trial.pause(2)
        full.unlink()
        trial.until(
            lambda: trial.rows()["SQLite"].total() >= len(trial.observer.first) - trial.load.rate, 60, "rows again"
        )


def topic_recreated(trial: Trial, times: int) -> None:
    """The topic `results` is deleted and made anew, once while the persister runs and once while it is down.

    The work rests meanwhile: what is in a topic when somebody deletes it is deleted.
    """
    trial.start(both_stores=True)
    crews = (trial.sqlite, trial.postgres)
    for n in range(times):
        _round(trial)
        down = crews if n % 2 else ()
        for crew in down:
            crew.leave(0)
        trial.struck()
        trial.observer.stop()
        trial.rig.make_anew(RESULTS)
        trial.load.look_again()
        trial.observe_anew()
        for crew in down:
            crew.start(0)
    _round(trial)


def restored(trial: Trial, times: int) -> None:
    """The SQLite database is replaced by a backup of some seconds ago, as after the loss of a disk."""
    trial.flow()
    for _ in range(times):
        backup = trial.folder / "backup.sqlite3"
        with closing(sqlite3.connect(trial.database)) as db, closing(sqlite3.connect(backup)) as copy:
            db.backup(copy)
        trial.pause(trial.rng.uniform(1.0, 3.0))
        trial.sqlite.leave(0)
        trial.struck()
        for suffix in ("-wal", "-shm"):
            Path(f"{trial.database}{suffix}").unlink(missing_ok=True)
        backup.replace(trial.database)
        trial.sqlite.start(0)
        rows_again(trial)


def rows_again(trial: Trial) -> None:
    """Wait until all results that there are now have their rows; the fault is over now."""
    began, wanted = time.monotonic(), len(trial.answered()) + len(trial.load.plain)
    trial.until(lambda: all(r.total() >= wanted for r in trial.rows().values()), CATCH_UP_SECONDS, "rows again")
    trial.recovered(time.monotonic() - began)


def _round(trial: Trial) -> None:
    trial.load.send(500)
    trial.drain()
