"""What can happen to workers: killed at each point of their loop, frozen, asked to leave, killed again and again."""

from .crew import is_frozen, is_ready
from .kill_switch import WORKER_POINTS, Armed
from .trial import Trial

KILL_SECONDS = 30.0  # longest wait for the next kill
FROZEN_SECONDS = 9.0  # more than the session timeout (6 s) and what follows it
PASSAGES = 3, 25  # a worker's switch strikes at one of these


def killed_at(trial: Trial, times: int, points: tuple[str, ...] = WORKER_POINTS) -> None:
    """Workers kill themselves at these points, each kill at another passage."""
    armed = Armed(points, trial.seed, PASSAGES)
    trial.start(workers=4, to_worker=armed)
    trial.load.start()
    while trial.outcome.times < times:
        trial.until(lambda: trial.workers.kills > trial.outcome.times, KILL_SECONDS, "a kill")
        trial.struck()
    armed.on = False
    trial.workers.replace_all()


def one_killed(trial: Trial, times: int) -> None:
    """Kill one of three workers from outside, and let the others take over before the next."""
    trial.flow()
    for _ in range(times):
        trial.pause(trial.rng.uniform(0.5, 1.5))
        trial.struck()
        trial.workers.kill(trial.rng.randrange(3))
        trial.pause(7)
        trial.keeps_up()


def frozen(trial: Trial, times: int) -> None:
    """A zombie: frozen in the middle of its work until others have its partitions, then it goes on."""
    armed = Armed(WORKER_POINTS, trial.seed, PASSAGES, "SIGSTOP")
    trial.start(to_worker=armed)
    members = trial.workers.members
    trial.load.start()
    while trial.outcome.times < times:
        trial.until(lambda: any(map(is_frozen, members.values())), KILL_SECONDS, "a worker frozen")
        trial.struck()
        trial.pause(FROZEN_SECONDS)  # others freeze meanwhile, or not
        zombies = [i for i, member in members.items() if is_frozen(member)]
        armed.on = trial.outcome.times < times
        for i in zombies:
            members[i].resume()
        trial.pause(2.0)  # the zombies do what they had in hand, and learn that they are out
        for i in zombies:  # new ones, armed at the next point
            trial.workers.leave(i)
            trial.workers.start(i)
    trial.workers.replace_all()


def asked_to_leave(trial: Trial, times: int) -> None:
    """SIGTERM, as on every deployment: what is in hand is finished, nothing is done twice."""
    trial.flow()
    for n in range(times):
        trial.struck()
        trial.workers.leave(n % 3)
        trial.workers.start(n % 3)
        trial.pause(trial.rng.uniform(0.3, 1.5))


def crash_loop(trial: Trial, times: int) -> None:
    """Whatever starts is killed from outside within two seconds of being ready: no innocent task is a dead letter."""
    trial.load.rate = 150
    trial.start(workers=2)
    members = trial.workers.members
    trial.load.start()
    for _ in range(times):
        i = trial.rng.randrange(2)
        trial.until(lambda i=i: i in members and is_ready(members[i]), 30, "a worker ready")
        trial.pause(trial.rng.uniform(0.0, 2.0))
        trial.struck()
        trial.workers.kill(i)


def storm(trial: Trial, times: int) -> None:
    """Eight workers on 32 partitions; one after the other is killed from outside while the tasks last."""
    seconds = 1.5 * times
    trial.load.limit = 100_000 if times >= 16 else 10_000
    trial.load.rate = trial.load.limit / seconds
    trial.start(workers=8)
    trial.load.start()
    for _ in range(times):
        trial.pause(trial.rng.uniform(1.0, 2.0))
        trial.struck()
        trial.workers.kill(trial.rng.randrange(8))
    trial.until(lambda: not trial.load.is_alive(), 10 * seconds + 60, "all tasks sent")
