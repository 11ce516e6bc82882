"""What can happen to clients: an answer that comes before anybody reads, and one behind the results of others."""

import json
import statistics
from collections.abc import Iterable

from common.programs import Program

from .fault_clients import Asked
from .trial import Trial

IDLE_SECONDS = 0.05  # what others did meanwhile may make a request so much longer


def fresh(trial: Trial, times: int) -> None:
    """So many requests, each from a fresh client, eight at a time: none misses its answer."""
    trial.start()
    seconds = note(trial, _run(trial, "--fresh", times, 120 + times))
    trial.outcome.times = times
    trial.outcome.also["median wait, connecting included, ms"] = round(1000 * statistics.median(seconds))


def idle(trial: Trial, times: int) -> None:
    """A client sits at its prompt while so many results of others go by; then it asks once more."""
    trial.start()
    *usual, last = note(trial, _run(trial, "--idle", times, 120 + times / 1000))
    trial.outcome.times = 1
    trial.outcome.also["results of others"] = times
    trial.outcome.also["usual request, ms"] = round(1000 * statistics.median(usual), 1)
    trial.outcome.also["request after that, ms"] = round(1000 * last, 1)
    if last > statistics.median(usual) + IDLE_SECONDS:
        trial.outcome.slow.append(f"a request took {last - statistics.median(usual):.2f} s longer than usual")


def _run(trial: Trial, what: str, count: int, seconds: float) -> list[Asked]:
    command = ["python", "-W", "error", "-m", "faults.fault_clients", what, count]
    with Program(command, env=trial.env, dies_with_us=True) as clients:
        trial.until(lambda: not clients.is_running(), seconds, "all clients")
        return requests(clients.finish())


def requests(lines: Iterable[str]) -> list[Asked]:
    """Return the requests in what the clients have printed."""
    return [tuple(json.loads(line)) for line in lines if line.startswith("[")]


def note_all(trial: Trial) -> None:
    """Let the clients that ask all the time leave, and count their requests."""
    members = list(trial.clients.members.values())
    trial.clients.restart = False
    trial.clients.leave()
    for member in members:
        note(trial, requests(member.lines))


def note(trial: Trial, asked: Iterable[Asked]) -> list[float]:
    """Count these requests among the trial's tasks; return how long each took, in seconds."""
    waits = []
    for began, seconds, task_id, failed in asked:
        trial.load.sent[task_id], trial.load.messages[task_id] = began, 1
        waits.append(seconds)
        if failed:
            trial.lose({task_id}, f"without the right answer: {failed}")
    trial.outcome.longest_wait = max([trial.outcome.longest_wait, *waits])
    return waits
