"""What the commands of all measurements share: their options, how they say where they are, and how they end."""

import argparse
import sys
from pathlib import Path

from benchmarks.records import Run
from benchmarks.tables import show
from common.terminal import ArgumentParser


def options(doc: str | None, quick: str) -> ArgumentParser:
    """Return a command line with what all measurements understand."""
    parser = ArgumentParser(doc)
    parser.add_argument("--quick", action="store_true", help=f"{quick}; written to --out only")
    parser.add_argument("--repeat", type=int, metavar="R", help="how many times")
    parser.add_argument("--out", type=Path, metavar="FOLDER", help="write here (default: benchmarks/results)")
    return parser


def progress(text: str) -> None:
    """Say how far a measurement has come."""
    print(text, file=sys.stderr, flush=True)


def finish(run: Run, args: argparse.Namespace) -> int:
    """Show all tables, and write the run and its plots; a quick one only into a folder of its own."""
    for name in run.tables():
        show(run.table(name))
    if args.out or not args.quick:
        print(f"Written: {run.write(args.out).name}")
        try:
            from benchmarks.plots import draw
        except ImportError:
            print("No plot: matplotlib is missing. Install it with: pip install -e '.[bench]'")
        else:
            for path in draw(run, args.out):
                print(f"Drawn: {path.name}")
    return 0
