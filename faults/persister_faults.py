"""What can happen to the persister: killed at each point, its disk full, its topic made anew."""

import itertools
import random

from common.kafka.topics import RESULTS
from faults.kill_switch import PERSISTER_POINTS
from faults.outcome import Outcome
from faults.rig import Rig
from faults.trial import Trial

KILL_SECONDS = 60.0


def killed(rig: Rig, outcome: Outcome, times: int) -> Outcome:
    """Three persisters on one SQLite file and three on one PostgreSQL kill themselves at one point after another."""
    to_sqlite, to_postgres = Armed(outcome.seed), Armed(outcome.seed + 1)
    with Trial(
        rig, outcome, persisters=3, both_stores=True, persister_arguments=to_sqlite, postgres_arguments=to_postgres
    ) as trial:
        crews = (trial.persisters, trial.postgres)
        trial.load.start()
        while outcome.times < times:
            trial.until(lambda: sum(crew.kills for crew in crews) > outcome.times, KILL_SECONDS, "a kill")
            trial.struck()
        to_sqlite.on = to_postgres.on = False
        for crew in crews:
            crew.replace_all()
        outcome.notes.append(f"SQLite's died {trial.persisters.kills} times, PostgreSQL's {trial.postgres.kills} times")
        return trial.finish()


class Armed:
    """Arguments for the switch in a persister: each start at the next point, at a random passage."""

    def __init__(self, seed: int) -> None:
        self.on = True
        self._rng, self._points = random.Random(seed), itertools.cycle(PERSISTER_POINTS)

    def __call__(self, i: int) -> list[str]:
        return ["--kill-at", next(self._points), "--after", str(self._rng.randint(1, 8))] if self.on else []


def disk_full(rig: Rig, outcome: Outcome, times: int) -> Outcome:
    """The database may not grow for a while: the persister waits in place, then stores everything."""
    full = rig.folder / "full"
    with Trial(rig, outcome, persister_arguments=lambda i: ["--full", str(full)]) as trial:
        trial.flow()
        for _ in range(times):
            trial.pause(0.5)
            trial.struck()
            full.touch()
            trial.until(lambda: trial.persisters.members[0].says("Cannot store"), 30, "the persister waits")
            trial.pause(2)
            full.unlink()
            trial.until(lambda: trial.sqlite_rows().total() >= len(trial.observer.first) - 600, 60, "rows again")
        return trial.finish()


def topic_recreated(rig: Rig, outcome: Outcome, times: int) -> Outcome:
    """The topic `results` is deleted and made anew, once while the persister runs and once while it is down.

    The work rests meanwhile: what is in a topic when somebody deletes it is deleted.
    """
    with Trial(rig, outcome, both_stores=True) as trial:
        for n in range(times):
            while_down = n % 2 == 1
            _round(trial)
            if while_down:
                trial.persisters.leave(0)
                trial.postgres.leave(0)
            trial.struck()
            trial.observer.stop()
            rig.delete(RESULTS)
            rig.create(RESULTS)
            trial.load.look_again()
            trial.observe_anew()
            if while_down:
                trial.persisters.start(0)
                trial.postgres.start(0)
        _round(trial)
        return trial.finish()


def _round(trial: Trial) -> None:
    trial.load.send(500)
    trial.drain()
