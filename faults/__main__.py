"""Tries each fault in both delivery modes; prints what was lost and what was doubled. Exit code 1: a bar is missed.

In quick mode three faults are tried at the same time, each on a Kafka of its own, and PostgreSQL stores the results
beside SQLite only where the persisters are struck.

Run: python -m faults --quick
     python -m faults --fault kill-one zombie --delivery exactly-once --seed 7
     python -m faults --json faults/results/faults.json   (with --fault: the others stay in the file)
     python -m faults --render
"""

import itertools
import shutil
import signal
import sys
import traceback
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from threading import Lock

from benchmarks import report, tables
from benchmarks.records import Run
from common.iris_model import load_model
from common.terminal import ArgumentParser, run

from .catalogue import FAULTS
from .outcome import MODES, Outcome
from .rig import Rig, cancelled
from .table import MEASURED, add, missed, records, write
from .trial import Trial

LANES, QUICK_LANES = 1, 3

Report = Callable[[Outcome], None]


def try_in_turn(jobs: Iterable[Outcome], quick: bool, seed: int, logs: Path | None, report: Report) -> None:
    """Try faults one after the other; neighbours that need the same Kafka share it, unless something went wrong."""
    for kafka, group in itertools.groupby(jobs, lambda job: FAULTS[job.fault].kafka):
        waiting = list(group)
        while waiting:
            with Rig(*kafka, both_stores=not quick) as rig:
                while waiting:
                    outcome = waiting.pop(0)
                    try_one(rig, outcome, quick, seed)
                    report(outcome)
                    if outcome.missed():
                        if logs:
                            keep_logs(rig, logs / f"{outcome.fault}-{outcome.delivery}")
                        break


def try_one(rig: Rig, outcome: Outcome, quick: bool, seed: int) -> None:
    """Try one fault, and fill in its outcome."""
    fault = FAULTS[outcome.fault]
    try:
        with Trial(rig, outcome, seed) as trial:
            fault.happen(trial, (fault.quick or 3) if quick else (fault.full or 20))
            trial.finish()
    except Exception as error:
        traceback.print_exc()
        outcome.problems.append(f"{type(error).__name__}: {error}")


def keep_logs(rig: Rig, folder: Path) -> None:
    """Copy what brokers and programs have printed."""
    logs = {f"broker-{i}.log": rig.kafka.log(i) for i in rig.kafka.ids}
    logs |= {str(log.relative_to(rig.folder)): log for log in rig.folder.rglob("*.log")}
    for name, log in logs.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(log, folder / name)


def main() -> int:
    """Try, print, write; or render what was written."""
    parser = ArgumentParser(__doc__)
    parser.add_argument("--quick", action="store_true", help="each fault once or a few times")
    parser.add_argument("--fault", nargs="+", metavar="NAME", choices=FAULTS, help=", ".join(FAULTS))
    parser.add_argument("--delivery", choices=MODES, help="only this mode")
    parser.add_argument("--seed", type=int, default=1, help="of the dice (default: 1)")
    parser.add_argument("--json", type=Path, metavar="PATH", help="write the figures here")
    parser.add_argument("--logs", type=Path, metavar="FOLDER", help="keep what programs printed if a bar is missed")
    parser.add_argument("--render", action="store_true", help="write the last figures into the pages")
    args = parser.parse_args()
    if args.render:
        return report.main([])
    load_model()
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    names = args.fault or [name for name, fault in FAULTS.items() if (fault.quick if args.quick else fault.full)]
    jobs = [
        Outcome(name, mode, FAULTS[name].most_standstill, FAULTS[name].most_wait)
        for name in sorted(names, key=lambda name: FAULTS[name].kafka)
        for mode in ([args.delivery] if args.delivery else MODES)
    ]
    words = [word for word in sys.argv[1:] if word not in ("--json", str(args.json), "--logs", str(args.logs))]
    command = " ".join(["python -m faults", *words])
    measured = replace(Run.begin("faults", [], MEASURED, seed=args.seed), command=command)
    done: list[Outcome] = []
    lock = Lock()

    def report_one(outcome: Outcome) -> None:
        with lock:
            lines = [f"{outcome.fault}, {outcome.delivery}: {outcome.times} times, {outcome.took:.0f} s"]
            print("\n    MISSED: ".join(lines + outcome.missed()), flush=True)
            done.append(outcome)
            add(measured, [outcome])
            if args.json:  # each time: who ends a run of an hour early keeps what was measured
                write(args.json, measured, done)

    count = QUICK_LANES if args.quick else LANES
    lanes = [[job for job in jobs if min(FAULTS[job.fault].lane, count - 1) == lane] for lane in range(count)]
    with ThreadPoolExecutor(count) as pool:
        try:
            list(pool.map(lambda lane: try_in_turn(lane, args.quick, args.seed, args.logs, report_one), lanes))
        except KeyboardInterrupt:
            cancelled.set()
            raise
    for mode in {job.delivery: 0 for job in jobs}:
        tables.show(records(measured, mode, texts=False))
    problems = missed(measured)
    print("\n".join(problems or ["Every bar is met."]))
    return 1 if problems else 0


if __name__ == "__main__":
    run(main)
