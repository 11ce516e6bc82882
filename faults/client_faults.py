"""What can happen to clients: an answer that comes before anybody reads."""

import json
import statistics

from common.programs import Program

from .trial import Trial


def fresh(trial: Trial, times: int) -> None:
    """So many requests, each from a fresh client, eight at a time: none misses its answer."""
    trial.start()
    command = ["python", "-W", "error", "-m", "faults.fresh_clients", "--count", times]
    with Program(command, env=trial.env, dies_with_us=True) as clients:
        trial.until(lambda: not clients.is_running(), 120 + times, "all clients")
        asked = json.loads(clients.finish()[-1])
    for began, _, task_id, failed in asked:
        trial.load.sent[task_id], trial.load.messages[task_id] = began, 1
        if failed:
            trial.lose({task_id}, f"without the right answer: {failed}")
    seconds = [seconds for _, seconds, _, _ in asked]
    trial.outcome.times, trial.outcome.longest_wait = times, max(seconds)
    trial.outcome.also["median wait, connecting included, ms"] = round(1000 * statistics.median(seconds))
