"""What can happen to the network between programs and brokers, and between brokers."""

import contextlib
import itertools
from collections.abc import Callable

from .client_faults import note_all
from .far_proxy import far_proxy
from .network import FROM_KAFKA, TO_KAFKA, Network
from .persister_faults import rows_again
from .trial import Trial

CUT_SECONDS = 5.0
SETTLE_SECONDS = 8.0  # no connection that has died is left by then
SLOW_KILOBITS = 20_000  # 2.5 MB/s
FAR_SECONDS = 0.05  # one way
FAR_RATE = 100.0  # tasks/s


def cut(trial: Trial, times: int, who: str, both_ways: bool = True) -> None:
    """Nothing gets through for a while, or nothing in one direction, one after the other."""
    directions = itertools.cycle([""] if both_ways else [TO_KAFKA, FROM_KAFKA])

    def strike(network: Network) -> None:
        network.cut(next(directions))
        trial.pause(CUT_SECONDS)
        network.mend()

    _disturb(trial, times, who, strike)


def half_open(trial: Trial, times: int, who: str) -> None:
    """All connections die and nobody is told; new ones can be made."""
    _disturb(trial, times, who, Network.half_open)


def _disturb(trial: Trial, times: int, who: str, strike: Callable[[Network], None]) -> None:
    trial.flow(apart=who, clients=int(who == "clients"))
    network = trial.network
    assert network
    for _ in range(times):
        trial.pause(trial.rng.uniform(0.5, 1.5))
        trial.struck()
        strike(network)
        trial.over()
        if who == "persister":
            rows_again(trial)
        trial.keeps_up()
        trial.pause(SETTLE_SECONDS)
    if who == "clients":
        note_all(trial)


def slow(trial: Trial, times: int) -> None:
    """The way between workers and Kafka has little room, for so many seconds."""
    trial.flow(apart="worker")
    assert trial.network
    trial.struck()
    trial.network.slow(SLOW_KILOBITS)
    trial.pause(times)
    trial.network.mend()
    trial.over()
    trial.keeps_up()


def far(trial: Trial, times: int) -> None:
    """Kafka is far away from the workers, for so many seconds."""
    trial.load.rate = FAR_RATE
    with contextlib.ExitStack() as stack:
        ports = {port: stack.enter_context(far_proxy(port, FAR_SECONDS)) for port in trial.rig.kafka.ports.values()}
        trial.start(apart="worker", redirect=ports)
        trial.load.start()
        trial.keeps_up()
        trial.struck()
        trial.pause(times)
        trial.drain()
        for crew in trial.crews:  # before the proxy ends
            crew.restart = False
            crew.leave()


def broker_cut(trial: Trial, times: int) -> None:
    """One of three brokers does not reach the other two, nor they it; programs reach all three."""
    trial.flow()
    for _ in range(times):
        trial.pause(trial.rng.uniform(0.5, 1.5))
        lone = trial.rng.choice([1, 2, 3])
        trial.struck()
        for i, network in trial.rig.networks.items():
            for other in trial.rig.networks:
                if i != other and lone in (i, other):
                    for port in trial.rig.broker_ports(other):
                        network.cut(port=port)
        trial.pause(CUT_SECONDS)
        for network in trial.rig.networks.values():
            network.mend()
        trial.over()
        trial.until(trial.rig.all_in_sync, 60, "copies in sync again")
        trial.keeps_up()


def broker_half_open(trial: Trial, times: int) -> None:
    """All connections between brokers that one of the three has opened die; new ones can be made."""
    trial.flow()
    for _ in range(times):
        trial.pause(trial.rng.uniform(0.5, 1.5))
        trial.struck()
        trial.rig.networks[trial.rng.choice([1, 2, 3])].half_open()
        trial.over()
        trial.until(trial.rig.all_in_sync, 60, "copies in sync again")
        trial.keeps_up()
        trial.pause(CUT_SECONDS)
