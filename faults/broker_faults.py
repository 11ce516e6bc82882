"""What can happen to Kafka: brokers killed and started again, alone, one of three, each in turn, in a transaction."""

import signal

from faults.outcome import TAKEOVER_SECONDS, Outcome
from faults.rig import Rig
from faults.trial import Trial

AWAY_SECONDS = 1.0  # how long a killed broker stays away, beside the time that it takes to start
ONE_OF_THREE_AWAY_SECONDS = 5.0  # longer than the others need to notice
GROUP = "iris-task-queue-workers"  # as in the worker


def single(rig: Rig, outcome: Outcome, times: int) -> Outcome:
    """The only broker is killed and comes back: everybody waits, nobody has to be started again."""
    with Trial(rig, outcome) as trial:
        trial.flow()
        for _ in range(times):
            trial.pause(trial.rng.uniform(0.5, 1.5))
            trial.struck()
            rig.kafka.kill(1)
            trial.pause(AWAY_SECONDS)
            rig.kafka.start(1)
            trial.keeps_up()
        return trial.finish()


def one_of_three(rig: Rig, outcome: Outcome, times: int) -> Outcome:
    """One of three is killed and comes back: the work goes on after a moment."""
    outcome.bar_standstill = TAKEOVER_SECONDS
    with Trial(rig, outcome) as trial:
        trial.flow()
        for _ in range(times):
            _kill_and_start(trial, trial.rng.choice([1, 2, 3]))
        return trial.finish()


def rolling(rig: Rig, outcome: Outcome, times: int) -> Outcome:
    """Each of the three in turn, so many times around."""
    outcome.bar_standstill = TAKEOVER_SECONDS
    with Trial(rig, outcome) as trial:
        trial.flow()
        for _ in range(times):
            for i in (1, 2, 3):
                _kill_and_start(trial, i)
        return trial.finish()


def _kill_and_start(trial: Trial, i: int) -> None:
    trial.pause(trial.rng.uniform(0.5, 1.5))
    trial.struck()
    trial.rig.kafka.kill(i)
    trial.pause(ONE_OF_THREE_AWAY_SECONDS)
    trial.rig.kafka.start(i)
    trial.until(trial.rig.all_in_sync, 60, "copies in sync again")
    trial.keeps_up()


def coordinator_down(rig: Rig, outcome: Outcome, times: int) -> Outcome:
    """A worker is frozen just before it commits, the broker that takes the commit is killed, the worker goes on.

    In exactly-once mode this is the coordinator of its transaction, else that of its group.
    """
    outcome.bar_standstill = TAKEOVER_SECONDS
    freeze = ["--kill-at", "before-commit", "--signal", "SIGSTOP", "--after"]
    with Trial(rig, outcome, workers=2, worker_arguments=lambda i: [*freeze, "5"] if i == 0 else []) as trial:
        trial.load.start()
        while outcome.times < times:
            worker = trial.workers.members[0]
            trial.until(worker.is_stopped, 60, "a worker frozen before its commit")
            topic, key = "__consumer_offsets", GROUP
            if outcome.delivery == "exactly-once":
                topic, key = "__transaction_state", f"{GROUP}-{worker.slot()}"
            broker = rig.leader(topic, java_hash(key) % rig.partition_count(topic))
            trial.struck()
            rig.kafka.kill(broker)
            worker.process.send_signal(signal.SIGCONT)
            trial.pause(ONE_OF_THREE_AWAY_SECONDS)
            rig.kafka.start(broker)
            trial.until(rig.all_in_sync, 60, "copies in sync again")
            trial.keeps_up()
            if outcome.times < times:
                trial.workers.leave(0)
                trial.workers.start(0)
        return trial.finish()


def java_hash(text: str) -> int:
    """Return Java's hash code of a string, as Kafka makes it positive: this picks a coordinator's partition.

    >>> java_hash("iris")
    3240979
    """
    code = 0
    for character in text:
        code = (31 * code + ord(character)) & 0xFFFFFFFF
    return code & 0x7FFFFFFF
