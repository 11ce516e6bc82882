"""What can be in the stream: poison, what is no task, what is too large, the same task twice."""

from common.kafka.topics import DEAD_LETTER
from faults.fault_worker import POISON_CM
from faults.outcome import Outcome
from faults.rig import Rig
from faults.trial import Trial

LARGE_BYTES = 900_000  # Kafka takes up to 1 MB


def poison(rig: Rig, outcome: Outcome, times: int) -> Outcome:
    """A task kills whoever predicts it: it ends as a dead letter after three deaths, with an error for its sender."""
    with Trial(rig, outcome, workers=2, rate=150) as trial:
        before = rig.messages(DEAD_LETTER)
        trial.flow()
        wanted: dict[str, str] = {}
        for _ in range(times):
            task_id = trial.load.new_id()
            wanted[task_id] = "killed-its-worker"
            trial.struck()
            trial.load.task(task_id, [POISON_CM, 3.0, 4.0, 1.0])
            trial.until(lambda task_id=task_id: task_id in trial.observer.errors, 240, "the poison buried")
        outcome.notes.append(f"the workers died {trial.workers.kills} times")
        trial.finish(wanted)
    _compare_dead_letters(rig, outcome, before, times)
    return outcome


def no_tasks(rig: Rig, outcome: Outcome, times: int) -> Outcome:
    """Undecodable, invalid and oversize messages between the tasks, and tasks of nearly 1 MB."""
    with Trial(rig, outcome) as trial:
        before = rig.messages(DEAD_LETTER)
        trial.flow()
        wanted: dict[str, str] = {}
        for _ in range(times):
            large = "x" * LARGE_BYTES
            bad = [
                b"",
                b"\xff\xfe",
                b"{",
                b"[1,2]",
                b'{"task_id": 5}',
                large.encode(),
                b'{"X":"' + large.encode() + b'"}',
            ]
            for value in bad:
                key = trial.load.new_id()
                wanted[key] = "invalid"
                trial.struck()
                trial.load.raw(key, value)
            trial.load.task(trial.load.new_id(), [5.1, 3.5, 1.4, 0.2], comment=large)
            trial.pause(0.5)
        trial.finish(wanted)
    _compare_dead_letters(rig, outcome, before, len(wanted))
    return outcome


def duplicates(rig: Rig, outcome: Outcome, times: int) -> Outcome:
    """Each task submitted twice: two tasks to Kafka, one row in the store."""
    with Trial(rig, outcome) as trial:
        trial.flow()
        for _ in range(times):
            trial.struck()
            trial.load.send(50, copies=2)
            trial.pause(0.1)
        trial.finish()
        twice = sum(1 for count in trial.load.messages.values() if count > 1)
        both = sum(1 for i, count in trial.load.messages.items() if count > 1 and trial.observer.count[i] > 1)
        outcome.notes.append(f"{twice} ids were submitted twice: {both} have two results, each has one row")
    return outcome


def _compare_dead_letters(rig: Rig, outcome: Outcome, before: int, wanted: int) -> None:
    found = rig.messages(DEAD_LETTER) - before
    if found < wanted or (found > wanted and outcome.delivery == "exactly-once"):
        outcome.problems.append(f"{found} dead letters instead of {wanted}")
    elif found > wanted:
        outcome.notes.append(f"{found} dead letters of {wanted} messages")
