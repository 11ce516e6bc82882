"""What a rate of tasks would take, from the rates that were measured: workers, partitions, brokers, network.

Run: python -m benchmarks.capacity --rate 1000000
"""

import argparse
import json
import math
from pathlib import Path
from typing import Any

from benchmarks.harness import RESULTS_DIR, show_table
from common.errors import ProgramError
from common.terminal import run

HEADROOM = 1.5  # for peaks, and so that a backlog can be worked off
COPIES = 3  # of each message, on different brokers
READERS = 2  # of each result: a client and a persister
TASK_BYTES, RESULT_BYTES = 150 + 36 + 10, 285 + 36 + 10  # value, key, what Kafka adds to each in a batch
BROKER_CORES = 8  # of each broker's machine
BROKER_NETWORK_MB = 1000  # per second and direction: 10 Gbit/s, used to 80 %

FORMULA = f"""
workers    = rate x {HEADROOM:g} / (tasks per second of one worker process)
partitions = workers, rounded up to a multiple of 12 that divides evenly among brokers and workers
cores      = rate x {HEADROOM:g} x (a worker's CPU time per task)
in         = rate x (task bytes + result bytes), and {COPIES - 1} times more between the brokers for {COPIES} copies
out        = rate x (task bytes + {READERS} readers x result bytes), and the copies
brokers    = the most that CPU ({BROKER_CORES} cores each), network ({BROKER_NETWORK_MB} MB/s each) and copies ask for
""".strip()


def plan(rate: float, record: dict[str, Any], delivery: str) -> dict[str, float]:
    """Return what `rate` tasks per second take with a delivery mode, from the JSON of worker_rate."""
    found = record["programs"][delivery]
    per_worker = found["tasks_per_second"]["median"]
    wanted = rate * HEADROOM
    workers = math.ceil(wanted / per_worker)
    copied = wanted * (COPIES - 1) * (TASK_BYTES + RESULT_BYTES) / 1e6
    incoming = wanted * (TASK_BYTES + RESULT_BYTES) / 1e6 + copied
    outgoing = wanted * (TASK_BYTES + READERS * RESULT_BYTES) / 1e6 + copied
    broker_cores = wanted * COPIES * found["broker_cpu_us_per_task"]["median"] / 1e6
    brokers = max(
        COPIES, math.ceil(broker_cores / BROKER_CORES), math.ceil(max(incoming, outgoing) / BROKER_NETWORK_MB)
    )
    return {
        "tasks/s of one worker": per_worker,
        "workers": workers,
        "partitions": 12 * math.ceil(workers / 12),
        "cores for workers": wanted * found["cpu_us_per_task"]["median"] / 1e6,
        "cores for brokers": broker_cores,
        "brokers": brokers,
        "MB/s into the brokers": incoming,
        "MB/s out of the brokers": outgoing,
        "GB stored per hour of results": rate * 3600 * RESULT_BYTES * COPIES / 1e9,
    }


def plans(rate: float, folder: Path | None = None) -> dict[str, dict[str, float]]:
    """Return the plan of each delivery mode.

    Raises:
        ProgramError: nothing has been measured yet.
    """
    path = (folder or RESULTS_DIR) / "worker_rate.json"
    if not path.exists():
        raise ProgramError("No worker_rate.json yet. Measure with: python -m benchmarks.worker_rate")
    return plans_of(rate, json.loads(path.read_text(encoding="utf-8")))


def plans_of(rate: float, record: dict[str, Any]) -> dict[str, dict[str, float]]:
    """Return the plan of each delivery mode, from the JSON of worker_rate."""
    modes = [mode for mode in ("at-least-once", "exactly-once") if mode in record["programs"]]
    return {mode: plan(rate, record, mode) for mode in modes}


def main(argv: list[str] | None = None) -> int:
    """Print the formula and the plan."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rate", type=float, default=1_000_000, help="tasks per second")
    parser.add_argument("--out", type=Path, help="folder of worker_rate.json")
    args = parser.parse_args(argv)
    found = plans(args.rate, args.out)
    print(FORMULA)
    rows = [(name, *(modes[name] for modes in found.values())) for name in next(iter(found.values()))]
    show_table(f"{args.rate:,.0f} tasks/s", ["", *found], rows)
    return 0


if __name__ == "__main__":
    run(main)
