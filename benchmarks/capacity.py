"""What a rate of tasks would take, from the rates that were measured: workers, partitions, brokers, network.

Run: python -m benchmarks.capacity --rate 1000000
"""

import math
from pathlib import Path

from benchmarks.records import RESULTS_DIR, Record, Run
from benchmarks.tables import show
from common.errors import ProgramError
from common.terminal import ArgumentParser, run

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


def plan(rate: float, measured: Run) -> list[Record]:
    """Return what `rate` tasks per second take in each delivery mode, from the figures of worker_rate."""
    title = f"{rate:,.0f} tasks/s".replace(",", " ")
    modes = [mode for mode in ("at-least-once", "exactly-once") if ("program", mode, "rate") in measured.figures]
    costs = {
        mode: [measured.value("program", mode, what) for what in ("rate", "CPU", "broker's CPU")] for mode in modes
    }
    return [Record(title, row, mode, value) for mode in modes for row, value in needs(rate, *costs[mode]).items()]


def needs(rate: float, per_worker: float, worker_us: float, broker_us: float) -> dict[str, float]:
    """Return what a rate takes, given one worker's rate, and the CPU time of worker and broker per task in µs."""
    wanted = rate * HEADROOM
    workers = math.ceil(wanted / per_worker)
    copied = wanted * (COPIES - 1) * (TASK_BYTES + RESULT_BYTES) / 1e6
    incoming = wanted * (TASK_BYTES + RESULT_BYTES) / 1e6 + copied
    outgoing = wanted * (TASK_BYTES + READERS * RESULT_BYTES) / 1e6 + copied
    broker_cores = wanted * COPIES * broker_us / 1e6
    by_cores, by_network = broker_cores / BROKER_CORES, max(incoming, outgoing) / BROKER_NETWORK_MB
    return {
        "tasks/s of one worker": per_worker,
        "workers": workers,
        "partitions": 12 * math.ceil(workers / 12),
        "cores for workers": wanted * worker_us / 1e6,
        "cores for brokers": broker_cores,
        "brokers": max(COPIES, math.ceil(by_cores), math.ceil(by_network)),
        "MB/s into the brokers": incoming,
        "MB/s out of the brokers": outgoing,
        "GB stored per hour of results": rate * 3600 * RESULT_BYTES * COPIES / 1e9,
    }


def main(argv: list[str] | None = None) -> int:
    """Print the formula and the plan."""
    parser = ArgumentParser(__doc__)
    parser.add_argument("--rate", type=float, default=1_000_000, help="tasks per second")
    parser.add_argument("--out", type=Path, metavar="FOLDER", help="of worker_rate.json (default: benchmarks/results)")
    args = parser.parse_args(argv)
    if not ((args.out or RESULTS_DIR) / "worker_rate.json").exists():
        raise ProgramError("No worker_rate.json yet. Measure with: python -m benchmarks.worker_rate")
    print(FORMULA)
    show(plan(args.rate, Run.read("worker_rate", args.out)))
    return 0


if __name__ == "__main__":
    run(main)
