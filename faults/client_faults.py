"""What can happen to clients: an answer that comes before anybody reads."""

import json
import os
import statistics
import subprocess
import sys
import time

from common.settings import ROOT
from faults.outcome import Outcome
from faults.rig import Rig
from faults.trial import Trial


def fresh(rig: Rig, outcome: Outcome, times: int) -> Outcome:
    """So many requests, each from a fresh client, eight at a time: none misses its answer."""
    with Trial(rig, outcome) as trial:
        command = [sys.executable, "-W", "error", "-m", "faults.fresh_clients", "--count", str(times)]
        env = os.environ | {"KAFKA_BOOTSTRAP_SERVERS": rig.servers}
        answer = trial.folder / "fresh.json"
        with answer.open("wb") as output:
            process = subprocess.Popen(command, cwd=ROOT, env=env, stdin=subprocess.DEVNULL, stdout=output)
            try:
                trial.until(lambda: process.poll() is not None, 120 + times, "all clients")
            finally:
                process.kill()
                process.wait(10)
        done = json.loads(answer.read_text(encoding="utf-8").splitlines()[-1])
        for _, task_id, _ in done:
            trial.load.sent[task_id] = time.monotonic()
            trial.load.messages[task_id] = 1
        trial.finish()
        failed = [why for _, _, why in done if why]
        outcome.times, outcome.lost = times, outcome.lost + len(failed)
        outcome.longest_wait = round(max(seconds for seconds, _, _ in done), 2)
        outcome.problems += sorted(set(failed))[:3]
        outcome.notes.append(f"median {1000 * statistics.median(s for s, _, _ in done):.0f} ms, connecting included")
    return outcome
