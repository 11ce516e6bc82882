"""What can happen to workers: killed at each point of their loop, frozen, asked to leave, killed again and again.

And who they are: on two hosts, with clocks that differ, in both delivery modes side by side.
"""

import threading
import time

from benchmarks.records import percentile

from .client_faults import note_all
from .crew import is_frozen, is_ready
from .kill_switch import WORKER_POINTS, Armed
from .outcome import MODES
from .trial import Trial

KILL_SECONDS = 30.0  # longest wait for the next kill
FROZEN_SECONDS = 9.0  # more than the session timeout (6 s) and what follows it
SLOW_SECONDS = 2.4  # how long the broker does not answer while a worker is to leave
QUIET_RATE = 100.0  # tasks/s, where it is about the time that one of them takes
MOST_P99_SECONDS, MOST_P99_RATIO = 2.0, 1.5  # on two hosts; and to one host
CLOCKS = (60.0, -60.0, 0.0)  # seconds that each worker's clock is ahead
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


def leaving_in_a_slow_commit(trial: Trial, times: int) -> None:
    """SIGTERM while the broker does not answer for a while: nobody knows whether the last commit has taken effect."""
    trial.flow()
    for n in range(times):
        trial.pause(trial.rng.uniform(0.5, 1.5))
        trial.struck()
        trial.rig.kafka.pause(1)
        again = threading.Timer(SLOW_SECONDS, trial.rig.kafka.resume, [1])
        again.start()
        trial.workers.leave(n % 3, excused=True)  # it may end as by a crash, but not wait for the broker
        again.join()
        trial.workers.start(n % 3)
        trial.keeps_up()


def two_hosts(trial: Trial, times: int) -> None:
    """Two workers on one host, then on two hosts: each with a folder of its own for its locks. So many seconds each."""
    hosts = 1
    trial.load.rate = QUIET_RATE
    trial.start(workers=2, to_worker=lambda i: ["--run-dir", str(trial.folder / f"host-{i % hosts}")])
    trial.load.start()
    p99: dict[int, float] = {}
    for hosts in (1, 2):
        trial.workers.replace_all()
        trial.until(trial.workers.is_ready, KILL_SECONDS, "workers ready")
        trial.keeps_up()
        trial.pause(7)  # the partitions of those before are shared out
        since = time.monotonic()
        trial.struck()
        trial.pause(times)
        p99[hosts] = percentile(trial.waits_since(since), 0.99)
        trial.outcome.also[f"p99 on {hosts} host{'s' * (hosts - 1)}, ms"] = round(1000 * p99[hosts], 1)
    if p99[2] > min(MOST_P99_SECONDS, MOST_P99_RATIO * p99[1]):
        trial.outcome.slow.append(f"p99 on two hosts {p99[2]:.3f} s, on one {p99[1]:.3f} s")


def clocks_apart(trial: Trial, times: int) -> None:
    """Clocks of workers and of a client are a minute fast, or slow, for so many seconds."""
    trial.flow(to_worker=lambda i: ["--clock", str(CLOCKS[i])], clients=1, to_clients=lambda i: ["--clock", "-60"])
    trial.struck()
    trial.pause(times)
    note_all(trial)


def both_modes(trial: Trial, times: int) -> None:
    """Workers of both delivery modes side by side in one group; one after the other is killed from outside."""
    trial.start(workers=4, to_worker=lambda i: ["--delivery", MODES[i % 2]])
    trial.load.start()
    for n in range(times):
        trial.keeps_up()
        trial.pause(trial.rng.uniform(0.5, 1.5))
        trial.struck()
        trial.workers.kill(n % 4)
        trial.pause(7)
    trial.keeps_up()
