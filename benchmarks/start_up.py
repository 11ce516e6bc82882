"""How long stage 1 takes from its start to its answer, beside importing scikit-learn, and what is imported for it.

Run: python -m benchmarks.start_up            # 15 times
     python -m benchmarks.start_up --quick    # 3 times
"""

import argparse
import re
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

from benchmarks.harness import ROOT, save, show_table, summary
from common.iris_model import load_model

STAGE = "1_monolith_cli.iris_classifier_monolith_cli_app"
FLOWER = ["5.1", "3.5", "1.4", "0.2"]
BAR = 1.15
SHOWN = 12  # packages in the table
IMPORT_LINE = re.compile(r"import time:\s+(\d+) \|\s+(\d+) \| *(\S+)")


def commands() -> dict[str, list[str]]:
    """Return the programs that are compared."""
    path = load_model().path  # trains where there is no model yet
    reference = f"import sklearn.linear_model, joblib; joblib.load({str(path)!r})"
    return {
        "stage 1, answer": [sys.executable, "-m", STAGE, *FLOWER],
        "scikit-learn and load": [sys.executable, "-c", reference],
        "scikit-learn alone": [sys.executable, "-c", "import sklearn.linear_model, joblib"],
        "numpy alone": [sys.executable, "-c", "import numpy"],
        "Python alone": [sys.executable, "-c", "pass"],
    }


def seconds(command: list[str]) -> float:
    """Return how long a program takes from its start to its end."""
    start = time.perf_counter()
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    return time.perf_counter() - start


def imports(command: list[str]) -> list[dict[str, Any]]:
    """Return per package what its import takes by itself, in ms, and how many modules that are; dearest first."""
    traced = [command[0], "-X", "importtime", *command[1:]]
    done = subprocess.run(traced, cwd=ROOT, check=True, capture_output=True, text=True)
    own, modules = Counter(), Counter()
    for microseconds, _, name in IMPORT_LINE.findall(done.stderr):
        package = name.split(".")[0]
        package = package if package not in sys.stdlib_module_names else "standard library"
        own[package] += int(microseconds)
        modules[package] += 1
    return [{"package": p, "ms": round(us / 1000, 1), "modules": modules[p]} for p, us in own.most_common()]


def main(argv: list[str] | None = None) -> int:
    """Measure, print, save."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="3 times")
    parser.add_argument("--repeat", type=int, metavar="R", help="how many times")
    parser.add_argument("--out", type=Path, help="folder for start_up.json")
    args = parser.parse_args(argv)
    repeat = args.repeat or (3 if args.quick else 15)

    programs = commands()
    times: dict[str, list[float]] = {name: [] for name in programs}
    for command in programs.values():
        seconds(command)  # the first one reads the disk
    for _ in range(repeat):
        for name, command in programs.items():
            times[name].append(seconds(command))
    pairs = [a / b for a, b in zip(times["stage 1, answer"], times["scikit-learn and load"], strict=True)]
    ratio = summary(pairs) | {"bar": BAR, "reached": summary(pairs)["median"] <= BAR}
    figures = {
        "seconds": {name: summary(values) for name, values in times.items()},
        "ratios": {"stage 1 / scikit-learn and load": ratio},
        "imports": imports(programs["stage 1, answer"]),
        "scikit_learn_is_imported": any(p["package"] == "sklearn" for p in imports(programs["stage 1, answer"])),
    }
    show_table(
        f"Start to end, seconds, medians of {repeat}",
        ["program", "seconds", "min", "max"],
        [(name, f["median"], f["min"], f["max"]) for name, f in figures["seconds"].items()],
    )
    show_table(
        "What stage 1 imports",
        ["package", "ms", "modules"],
        [(p["package"], p["ms"], p["modules"]) for p in figures["imports"][:SHOWN]],
    )
    print(f"stage 1 / scikit-learn and load: {ratio['median']:.2f} (bar: at most {BAR})")
    save("start_up", argv, figures, args.out)
    return 0


if __name__ == "__main__":
    sys.exit(main())
