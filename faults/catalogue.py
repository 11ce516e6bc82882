"""All faults by name: what happens, on which Kafka, how often, what it may cost at most."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from . import broker_faults as b
from . import client_faults as c
from . import message_faults as m
from . import network_faults as n
from . import persister_faults as p
from . import worker_faults as w
from .kill_switch import WORKER_POINTS
from .outcome import MODES
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
    apart: bool = False  # the brokers' connections to each other can be disturbed
    most_standstill: float | None = None  # bars, seconds
    most_wait: float | None = None
    most_recovery: float | None = None
    modes: tuple[str, ...] = MODES

    @property
    def kafka(self) -> tuple[int, int, bool]:
        """The Kafka that it needs: how many brokers, how many partitions, whether brokers can be kept apart."""
        return self.brokers, self.partitions, self.apart

    @property
    def module(self) -> str:
        """The module with what happens."""
        happen: Any = getattr(self.happen, "func", self.happen)
        return happen.__module__.rpartition(".")[2]


ANSWERED_SECONDS = 10.0  # after the end of a cut
HALF_OPEN_SECONDS = 15.0  # a connection that has died without a word

cut = partial(Fault, most_recovery=ANSWERED_SECONDS)
half_open = partial(Fault, most_recovery=HALF_OPEN_SECONDS)
of_three = partial(Fault, brokers=3, most_standstill=TAKEOVER_SECONDS)

FAULTS = {
    **{
        f"kill-{point}": Fault(f"worker SIGKILL {point}", partial(w.killed_at, points=(point,)), 0, 20)
        for point in WORKER_POINTS
    },
    "kill-anywhere": Fault("worker SIGKILL at these five points, mixed", w.killed_at, 5, 0),
    "kill-one": Fault("one of three workers SIGKILLed from outside", w.one_killed, 1, 20, most_wait=TAKEOVER_SECONDS),
    "zombie": Fault("worker SIGSTOP for 9 s, then SIGCONT", w.frozen, 1, 10),
    "sigterm": Fault("worker SIGTERM", w.asked_to_leave, 3, 20),
    "sigterm-slow": Fault("worker SIGTERM while Kafka is frozen for 2.4 s", w.leaving_in_a_slow_commit, 2, 10),
    "two-hosts": Fault("two workers on one host, then on two: 100 tasks/s", w.two_hosts, 5, 60),
    "clocks": Fault("clocks a minute fast or slow: two workers, a client", w.clocks_apart, 5, 60),
    "both-modes": Fault("workers of both modes side by side, killed in turn", w.both_modes, 1, 12, modes=MODES[:1]),
    "crash-loop": Fault("every worker killed within 2 s of its start", w.crash_loop, 4, 20),
    "broker-killed": Fault("the only broker SIGKILLed and started again", b.single, 1, 10),
    "broker-frozen": cut("the only broker SIGSTOP for 5 s, then SIGCONT", b.frozen, 1, 10),
    "growth": Fault("one partition more under load", b.growth, 1, 5, partitions=4),
    "persister-killed": Fault("three persisters of each store, SIGKILL at their five points", p.killed, 10, 200),
    "disk-full": Fault("disk full for the SQLite persister", p.disk_full, 1, 10),
    "topic-recreated": Fault("`results` deleted and made anew", p.topic_recreated, 2, 10),
    "restored": Fault("the SQLite database replaced by a backup", p.restored, 1, 10),
    "poison": Fault("a task that kills its worker", m.poison, 1, 3),
    "no-tasks": Fault("undecodable, invalid and oversize messages", m.no_tasks, 2, 10),
    "duplicates": Fault("each task submitted twice", m.duplicates, 4, 20),
    "compressed": Fault("gzip messages that are 2 MB when unpacked, and no tasks", m.compressed, 2, 10),
    "no-room": Fault("dead letters that are too large for their topic", m.no_room, 2, 10),
    "junk": Fault("as much junk as tasks", m.junk, 4, 60),
    "in-a-hurry": Fault("senders wait 0.3 to 30 s, all workers killed", m.in_a_hurry, 1, 10),
    "fresh-clients": Fault("requests from fresh clients", c.fresh, 100, 10_000),
    "idle-client": Fault("a client is idle while results of others go by", c.idle, 200_000, 2_000_000),
    "storm": Fault("storm: 8 workers, 32 partitions", w.storm, 8, 20, partitions=32),
    "one-of-three": of_three("one of three brokers SIGKILLed", b.one_of_three, 1, 10),
    "rolling": of_three("each of three brokers SIGKILLed in turn", b.rolling, 0, 4),
    **{
        name: fault
        for who, text in (("worker", "workers"), ("persister", "persisters"), ("clients", "clients"))
        for name, fault in {
            f"{who}-cut": cut(f"{text} cut off from Kafka for 5 s", partial(n.cut, who=who), 1, 5),
            f"{who}-one-way": cut(
                f"{text}: what they send is lost for 5 s, then what they get",
                partial(n.cut, who=who, both_ways=False),
                2,
                6,
            ),
            f"{who}-half-open": half_open(
                f"all connections of {text} die, and nobody is told", partial(n.half_open, who=who), 1, 5
            ),
        }.items()
    },
    "slow-link": Fault("workers reach Kafka by 20 Mbit/s", n.slow, 5, 60),
    "far": Fault("workers are 50 ms away from Kafka, one way", n.far, 5, 60),
    "broker-cut": cut(
        "one of three brokers cut off from the other two for 5 s", n.broker_cut, 1, 5, brokers=3, apart=True
    ),
    "broker-half-open": half_open(
        "a broker's connections to the other two die, and nobody is told",
        n.broker_half_open,
        1,
        5,
        brokers=3,
        apart=True,
    ),
    "coordinator-down": of_three("coordinator SIGKILLed in a commit", b.coordinator_down, 1, 10),
}
