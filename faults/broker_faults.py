"""What can happen to Kafka: brokers killed and started again, frozen, given more partitions."""

import re

from common.programs import Program

from .crew import is_frozen
from .trial import Trial

AWAY_SECONDS = 1.0  # how long a killed broker stays away, beside the time that it takes to start
FROZEN_SECONDS = 5.0
ONE_OF_THREE_AWAY_SECONDS = 5.0  # longer than the others need to notice
GROUP = "iris-task-queue-workers"  # as in the worker


def single(trial: Trial, times: int) -> None:
    """The only broker is killed and comes back: everybody waits, nobody has to be started again."""
    trial.flow()
    for _ in range(times):
        trial.pause(trial.rng.uniform(0.5, 1.5))
        trial.struck()
        trial.rig.kafka.kill(1)
        trial.pause(AWAY_SECONDS)
        trial.rig.kafka.start(1)
        trial.keeps_up()


def frozen(trial: Trial, times: int) -> None:
    """The only broker stands still: connections stay open, nothing is answered."""
    trial.flow()
    for _ in range(times):
        trial.pause(trial.rng.uniform(0.5, 1.5))
        trial.struck()
        trial.rig.kafka.pause(1)
        trial.pause(FROZEN_SECONDS)
        trial.rig.kafka.resume(1)
        trial.over()
        trial.keeps_up()
        trial.pause(FROZEN_SECONDS)


def growth(trial: Trial, times: int) -> None:
    """Both topics get more partitions under load."""
    trial.flow()
    for _ in range(times):
        trial.pause(trial.rng.uniform(0.5, 1.5))
        trial.struck()
        trial.rig.grow()
        trial.pause(3)
        trial.keeps_up()


def one_of_three(trial: Trial, times: int) -> None:
    """One of three is killed and comes back: the work goes on after a moment."""
    trial.flow()
    for _ in range(times):
        trial.pause(trial.rng.uniform(0.5, 1.5))
        _kill_and_start(trial, trial.rng.choice([1, 2, 3]))


def rolling(trial: Trial, times: int) -> None:
    """Each of the three in turn, so many times around."""
    trial.flow()
    for _ in range(times):
        for i in (1, 2, 3):
            trial.pause(trial.rng.uniform(0.5, 1.5))
            _kill_and_start(trial, i)


def coordinator_down(trial: Trial, times: int) -> None:
    """A worker is frozen just before it commits, the broker that takes the commit is killed, the worker goes on.

    In exactly-once mode this is the coordinator of its transaction, else that of its group.
    """
    freeze = ["--kill-at", "before-commit", "--signal", "SIGSTOP", "--after", "5"]
    trial.start(workers=2, to_worker=lambda i: freeze if i == 0 else [])
    trial.load.start()
    while trial.outcome.times < times:
        worker = trial.workers.members[0]
        trial.until(lambda worker=worker: is_frozen(worker), 60, "a worker frozen before its commit")
        topic, key = "__consumer_offsets", GROUP
        if trial.outcome.delivery == "exactly-once":
            topic, key = "__transaction_state", worker.wait_for(re.compile(r"Transactional id: (\S+)"))[1]
        partitions = len(trial.rig.topics.ends(topic))
        _kill_and_start(trial, trial.rig.leader(topic, java_hash(key) % partitions), worker)
        if trial.outcome.times < times:
            trial.workers.leave(0)
            trial.workers.start(0)


def _kill_and_start(trial: Trial, broker: int, frozen: Program | None = None) -> None:
    """Kill a broker of three, let a frozen program go on, and have the broker back."""
    trial.struck()
    trial.rig.kafka.kill(broker)
    if frozen:
        frozen.resume()
    trial.pause(ONE_OF_THREE_AWAY_SECONDS)
    trial.rig.kafka.start(broker)
    trial.until(trial.rig.all_in_sync, 60, "copies in sync again")
    trial.keeps_up()


def java_hash(text: str) -> int:
    """Return Java's hash code of a string, as Kafka makes it positive: this picks a coordinator's partition.

    >>> java_hash("iris")
    3240979
    """
    code = 0
    for character in text:
        code = (31 * code + ord(character)) & 0xFFFFFFFF
    return code & 0x7FFFFFFF
