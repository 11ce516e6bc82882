"""All faults by name: what happens, on which Kafka, how often, what it may cost at most."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from . import broker_faults as b
from . import client_faults as c
from . import message_faults as m
from . import persister_faults as p
from . import worker_faults as w
from .kill_switch import WORKER_POINTS
from .trial import Trial

TAKEOVER_SECONDS = 10.0  # a killed worker's tasks are taken over, a killed broker of three is replaced


@dataclass(frozen=True)
class Fault:
    """One row of the table."""

    text: str
    happen: Callable[[Trial, int], None]
    quick: int  # how often, in quick mode; 0: not there, another fault stands for it
    full: int  # how often, in full mode; 0: not there
    brokers: int = 1
    partitions: int = 6
    lane: int = 0  # faults of different lanes are tried at the same time
    most_standstill: float | None = None  # bars, seconds
    most_wait: float | None = None

    @property
    def kafka(self) -> tuple[int, int]:
        """The Kafka that it needs: how many brokers, how many partitions."""
        return self.brokers, self.partitions


of_three = partial(Fault, brokers=3, lane=2, most_standstill=TAKEOVER_SECONDS)

FAULTS = {
    **{
        f"kill-{point}": Fault(f"worker SIGKILL {point}", partial(w.killed_at, points=(point,)), 0, 20)
        for point in WORKER_POINTS
    },
    "kill-anywhere": Fault("worker SIGKILL at these five points, mixed", w.killed_at, 5, 0),
    "kill-one": Fault("one of three workers SIGKILLed from outside", w.one_killed, 1, 20, most_wait=TAKEOVER_SECONDS),
    "zombie": Fault("worker SIGSTOP for 9 s, then SIGCONT", w.frozen, 1, 10),
    "sigterm": Fault("worker SIGTERM", w.asked_to_leave, 3, 20),
    "crash-loop": Fault("every worker killed within 2 s of its start", w.crash_loop, 4, 20),
    "broker-killed": Fault("the only broker SIGKILLed and started again", b.single, 1, 10),
    "persister-killed": Fault(
        "three persisters of each store, SIGKILL at their five points", p.killed, 10, 200, lane=1
    ),
    "disk-full": Fault("disk full for the SQLite persister", p.disk_full, 1, 10, lane=1),
    "topic-recreated": Fault("`results` deleted and made anew", p.topic_recreated, 2, 10, lane=1),
    "poison": Fault("a task that kills its worker", m.poison, 1, 3, lane=1),
    "no-tasks": Fault("undecodable, invalid and oversize messages", m.no_tasks, 2, 10, lane=1),
    "duplicates": Fault("each task submitted twice", m.duplicates, 4, 20, lane=1),
    "fresh-clients": Fault("requests from fresh clients", c.fresh, 200, 10_000, lane=1),
    "storm": Fault("storm: 8 workers, 32 partitions", w.storm, 8, 20, partitions=32),
    "one-of-three": of_three("one of three brokers SIGKILLed", b.one_of_three, 1, 10),
    "rolling": of_three("each of three brokers SIGKILLed in turn", b.rolling, 0, 4),
    "coordinator-down": of_three("coordinator SIGKILLed in a commit", b.coordinator_down, 1, 10),
}
