"""Tries each fault in both delivery modes; prints what was lost and what was doubled. Exit code 1: a bar is missed.

In quick mode three faults are tried at the same time, each on a Kafka of its own, and PostgreSQL stores the results
beside SQLite only where the persisters are struck.

Run: python -m faults --quick
     python -m faults --fault kill-one zombie --delivery exactly-once --seed 7
     python -m faults --json faults/results/faults.json   (with --fault: the others stay in the file)
     python -m faults --render
"""

import argparse
import itertools
import shutil
import signal
import sys
import traceback
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from datetime import date
from pathlib import Path
from threading import Lock

from benchmarks import report as pages
from benchmarks.machine import machine
from common.iris_model import load_model
from common.terminal import run
from faults import table
from faults.catalogue import FAULTS
from faults.outcome import Outcome
from faults.rig import Rig, cancelled

MODES = ("at-least-once", "exactly-once")
LANES, QUICK_LANES = 1, 3


def try_in_turn(jobs: Iterable[Outcome], quick: bool, logs: Path | None, report: Callable[[Outcome], None]) -> None:
    """Try faults one after the other; neighbours that need the same Kafka share it, unless something went wrong."""
    for (brokers, partitions), group in itertools.groupby(jobs, lambda job: _kafka(job.fault)):
        waiting = list(group)
        while waiting:
            with Rig(brokers, partitions, both_stores=not quick) as rig:
                while waiting:
                    outcome = waiting.pop(0)
                    fault = FAULTS[outcome.fault]
                    times = (fault.quick or 3) if quick else (fault.full or 20)
                    try:
                        fault.trial(rig, outcome, times)
                    except Exception as error:
                        traceback.print_exc()
                        outcome.problems.append(f"{type(error).__name__}: {error}")
                    report(outcome)
                    if outcome.missed():
                        if logs:
                            kept = logs / f"{outcome.fault}-{outcome.delivery}"
                            table.keep_logs(rig.folder, kept)
                            kept.mkdir(parents=True, exist_ok=True)
                            for i in range(1, brokers + 1):
                                shutil.copy(rig.kafka.log(i), kept / f"broker-{i}.log")
                        break


def _kafka(name: str) -> tuple[int, int]:
    return FAULTS[name].brokers, FAULTS[name].partitions


def main() -> int:
    """Try, print, write; or render what was written."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="each fault once or a few times")
    parser.add_argument("--fault", nargs="+", metavar="NAME", choices=FAULTS, help=", ".join(FAULTS))
    parser.add_argument("--delivery", choices=MODES, help="only this mode")
    parser.add_argument("--seed", type=int, default=1, help="of the dice (default: 1)")
    parser.add_argument("--json", type=Path, metavar="PATH", help="write the figures here")
    parser.add_argument("--logs", type=Path, metavar="FOLDER", help="keep what programs printed where a bar is missed")
    parser.add_argument(
        "--render",
        action="store_true",
        help="write the table of the last figures into its page: python -m benchmarks.report",
    )
    args = parser.parse_args()
    if args.render:
        return pages.main([])
    load_model()
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    names = args.fault or [name for name, fault in FAULTS.items() if (fault.quick if args.quick else fault.full)]
    modes = [args.delivery] if args.delivery else MODES
    jobs = [Outcome(name, mode, args.seed) for name in sorted(names, key=_kafka) for mode in modes]
    options = [a for a in sys.argv[1:] if a not in ("--json", str(args.json), "--logs", str(args.logs))]
    command, where = " ".join(["python -m faults", *options]), machine() | {"date": date.today().isoformat()}
    done: list[Outcome] = []
    lock = Lock()

    def report(outcome: Outcome) -> None:
        with lock:
            print(table.line(outcome), flush=True)
            done.append(outcome)
            if args.json:  # each time: who ends a run of an hour early keeps what was measured
                table.write(args.json, sorted(done, key=jobs.index), command, where)

    print(table.HEAD, flush=True)
    count = QUICK_LANES if args.quick else LANES
    lanes = [[job for job in jobs if min(FAULTS[job.fault].lane, count - 1) == lane] for lane in range(count)]
    with ThreadPoolExecutor(count) as pool:
        try:
            list(pool.map(lambda lane: try_in_turn(lane, args.quick, args.logs, report), lanes))
        except KeyboardInterrupt:
            cancelled.set()
            raise
    missed = [f"{job.fault}, {job.delivery}: {line}" for job in done for line in job.missed()]
    print("\n".join(["", *missed] if missed else ["", "Every bar is met."]))
    return 1 if missed else 0


if __name__ == "__main__":
    run(main)
