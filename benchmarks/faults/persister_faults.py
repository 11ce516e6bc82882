"""What can happen to the persister: killed at each point, its disk full, its topic made anew."""

import itertools
import random

from benchmarks.faults.fault_persister import POINTS
from benchmarks.faults.outcome import Outcome
from benchmarks.faults.rig import Rig
from benchmarks.faults.trial import Trial
from common.kafka_clients import RESULTS

KILL_SECONDS = 60.0


def killed(rig: Rig, outcome: Outcome, times: int) -> Outcome:
    """Three persisters on one file kill themselves, each start at the next point and at a random passage."""
    rng, points, armed = random.Random(outcome.seed), itertools.cycle(POINTS), [True]

    def arguments(i: int) -> list[str]:
        return ["--kill-at", next(points), "--after", str(rng.randint(1, 8))] if armed[0] else []

    with Trial(rig, outcome, persisters=3, persister_arguments=arguments) as trial:
        trial.load.start()
        while outcome.times < times:
            trial.until(lambda: trial.persisters.kills > outcome.times, KILL_SECONDS, "a kill")
            trial.struck()
        armed[0] = False
        for i in list(trial.persisters.members):
            trial.persisters.leave(i)
        for i in range(trial.persisters.size):
            if i not in trial.persisters.members:
                trial.persisters.start(i)
        return trial.finish()


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
            trial.until(lambda: sum(trial.rows()) >= len(trial.observer.first) - 600, 60, "rows again")
        return trial.finish()


def topic_recreated(rig: Rig, outcome: Outcome, times: int) -> Outcome:
    """The topic `results` is deleted and made anew, once while the persister runs and once while it is down.

    The work rests meanwhile: what is in a topic when somebody deletes it is deleted.
    """
    with Trial(rig, outcome) as trial:
        for n in range(times):
            while_down = n % 2 == 1
            _round(trial)
            if while_down:
                trial.persisters.leave(0)
            trial.struck()
            trial.observer.stop()
            rig.delete(RESULTS)
            rig.create(RESULTS)
            trial.observe_anew()
            if while_down:
                trial.persisters.start(0)
        _round(trial)
        return trial.finish()


def _round(trial: Trial) -> None:
    trial.load.send(500)
    trial.drain()
