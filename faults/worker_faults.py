"""What can happen to workers: killed at each point of their loop, frozen, asked to leave, killed again and again."""

import itertools
import random
import signal

from faults.fault_worker import POINTS
from faults.outcome import TAKEOVER_SECONDS, Outcome
from faults.rig import Rig
from faults.trial import Trial

KILL_SECONDS = 30.0  # longest wait for the next kill
FROZEN_SECONDS = 9.0  # more than the session timeout (6 s) and what follows it


class Armed:
    """Arguments for the switch in a worker: each start at the next point, at a random passage."""

    def __init__(self, points: tuple[str, ...], seed: int, signal_name: str = "SIGKILL") -> None:
        self.on = True
        self._rng, self._signal = random.Random(seed), signal_name
        self._points = itertools.cycle(points)

    def __call__(self, i: int) -> list[str]:
        if not self.on:
            return []
        point = next(self._points)
        after = self._rng.randint(1, 600) if point == "after-produced" else self._rng.randint(3, 25)
        return ["--kill-at", point, "--after", str(after), "--signal", self._signal]


def killed_at(rig: Rig, outcome: Outcome, times: int, points: tuple[str, ...] = POINTS) -> Outcome:
    """Workers kill themselves at these points, each kill at another passage."""
    armed = Armed(points, outcome.seed)
    with Trial(rig, outcome, workers=4, worker_arguments=armed) as trial:
        trial.load.start()
        while outcome.times < times:
            trial.until(lambda: trial.workers.kills > outcome.times, KILL_SECONDS, "a kill")
            trial.struck()
        armed.on = False
        trial.workers.replace_all()
        return trial.finish()


def one_killed(rig: Rig, outcome: Outcome, times: int) -> Outcome:
    """Kill one of three workers from outside, and let the others take over before the next."""
    outcome.bar_wait = TAKEOVER_SECONDS
    with Trial(rig, outcome) as trial:
        trial.flow()
        for _ in range(times):
            trial.pause(trial.rng.uniform(0.5, 1.5))
            trial.struck()
            trial.workers.kill(trial.rng.randrange(3))
            trial.pause(7)
            trial.keeps_up()
        return trial.finish()


def frozen(rig: Rig, outcome: Outcome, times: int) -> Outcome:
    """A zombie: frozen in the middle of its work until others have its partitions, then it goes on."""
    armed = Armed(POINTS, outcome.seed, "SIGSTOP")
    with Trial(rig, outcome, worker_arguments=armed) as trial:
        members = trial.workers.members
        trial.load.start()
        while outcome.times < times:
            trial.until(lambda: any(m.is_stopped() for m in members.values()), KILL_SECONDS, "a worker frozen")
            trial.struck()
            trial.pause(FROZEN_SECONDS)  # others freeze meanwhile, or not
            zombies = [i for i, member in members.items() if member.is_stopped()]
            armed.on = outcome.times < times
            for i in zombies:
                members[i].process.send_signal(signal.SIGCONT)
            trial.pause(2.0)  # the zombies do what they had in hand, and learn that they are out
            for i in zombies:  # new ones, armed at the next point
                trial.workers.leave(i)
                trial.workers.start(i)
        for member in members.values():
            member.process.send_signal(signal.SIGCONT)
        trial.workers.replace_all()
        return trial.finish()


def asked_to_leave(rig: Rig, outcome: Outcome, times: int) -> Outcome:
    """SIGTERM, as on every deployment: what is in hand is finished, nothing is done twice."""
    with Trial(rig, outcome) as trial:
        trial.flow()
        for n in range(times):
            trial.struck()
            trial.workers.leave(n % 3)
            trial.workers.start(n % 3)
            trial.pause(trial.rng.uniform(0.3, 1.5))
        return trial.finish()


def crash_loop(rig: Rig, outcome: Outcome, times: int) -> Outcome:
    """Whatever starts is killed from outside within two seconds of being ready: no innocent task is buried."""
    with Trial(rig, outcome, workers=2, rate=150) as trial:
        trial.load.start()
        for _ in range(times):
            i = trial.rng.randrange(2)
            trial.until(lambda i=i: i in trial.workers.members and trial.workers.members[i].says("is ready"), 30, "up")
            trial.pause(trial.rng.uniform(0.0, 2.0))
            trial.struck()
            trial.workers.kill(i)
        return trial.finish()


def storm(rig: Rig, outcome: Outcome, times: int) -> Outcome:
    """Eight workers on 32 partitions; one after the other is killed from outside while the tasks last."""
    tasks, seconds = (100_000 if times >= 16 else 10_000), 1.5 * times
    with Trial(rig, outcome, workers=8, rate=tasks / seconds, limit=tasks) as trial:
        trial.load.start()
        for _ in range(times):
            trial.pause(trial.rng.uniform(1.0, 2.0))
            trial.struck()
            trial.workers.kill(trial.rng.randrange(8))
        trial.until(lambda: not trial.load.is_alive(), 10 * seconds + 60, "all tasks sent")
        return trial.finish()
