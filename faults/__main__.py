"""Tries each fault in both delivery modes; prints what was lost and what was doubled. Exit code 1: a bar is missed.

In quick mode PostgreSQL stores the results beside SQLite only where the persisters are struck.

Run: python -m faults --quick
     python -m faults --fault kill-one zombie --delivery exactly-once --seed 7
     python -m faults --json faults/results/faults.json   (with --fault: the others stay in the file)
     python -m faults --render
"""

import itertools
import signal
import sys
from dataclasses import replace
from pathlib import Path

from benchmarks import report, tables
from benchmarks.records import Run
from common.iris_model import load_model
from common.terminal import ArgumentParser, run

from . import network
from .catalogue import FAULTS
from .outcome import MODES, Outcome
from .series import Series
from .table import MEASURED, add, missed, records, write


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
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    names = args.fault or [name for name, fault in FAULTS.items() if (fault.quick if args.quick else fault.full)]
    if any(FAULTS[name].module == "network_faults" for name in names):
        if reason := network.missing():
            names = [name for name in names if FAULTS[name].module != "network_faults"]
            print(f"Not tried: {reason}.", flush=True)
        else:
            network.enter_private_network()
    load_model()
    names.sort(key=lambda name: FAULTS[name].kafka)
    modes = [args.delivery] if args.delivery else list(MODES)
    words = [word for word in sys.argv[1:] if word not in ("--json", str(args.json), "--logs", str(args.logs))]
    command = " ".join(["python -m faults", *words])
    measured = replace(Run.begin("faults", [], MEASURED, seed=args.seed), command=command)
    done: list[Outcome] = []
    with Series(args.quick, args.seed, args.logs) as series:
        for name, mode in itertools.product(names, modes):
            if mode not in FAULTS[name].modes:
                continue
            outcome = series.try_fault(name, mode)
            lines = [f"{name}, {mode}: {outcome.times} times, {outcome.took:.0f} s"]
            print("\n    MISSED: ".join(lines + outcome.missed()), flush=True)
            done.append(outcome)
            add(measured, [outcome])
            if args.json:  # each time: who ends a run of an hour early keeps what was measured
                write(args.json, measured, done)
    for mode in modes:
        tables.show(records(measured, mode, texts=False))
    problems = missed(measured)
    print("\n".join(problems or ["Every bar is met."]))
    return 1 if problems else 0


if __name__ == "__main__":
    run(main)
