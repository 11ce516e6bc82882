"""How long stage 1 takes from its start to its answer, beside importing scikit-learn, and what is imported for it.

The programs are started by turns, so that what slows the machine slows all of them.

Run: python -m benchmarks.start_up            # 15 times
     python -m benchmarks.start_up --quick    # 3 times
"""

import re
import subprocess
import sys
import time
from collections import Counter

from benchmarks.command import finish, options
from benchmarks.records import Run
from common.iris_model import load_model
from common.settings import ROOT

STAGE = "1_monolith_cli.iris_classifier_monolith_cli_app"
CODE = ("1_monolith_cli", "common/iris_dto.py", "common/iris_model", "common/settings.py", "common/terminal.py")
FLOWER = ["5.1", "3.5", "1.4", "0.2"]
BAR = 1.15
SHOWN = 15  # packages in the table
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


def imports(command: list[str]) -> dict[str, tuple[float, int]]:
    """Return per package what its import takes by itself, in ms, and how many modules that are; dearest first."""
    traced = [command[0], "-X", "importtime", *command[1:]]
    done = subprocess.run(traced, cwd=ROOT, check=True, capture_output=True, text=True)
    own, modules = Counter(), Counter()
    for microseconds, _, name in IMPORT_LINE.findall(done.stderr):
        package = name.split(".")[0]
        package = package if package not in sys.stdlib_module_names else "standard library"
        own[package] += int(microseconds)
        modules[package] += 1
    return {package: (round(us / 1000, 1), modules[package]) for package, us in own.most_common()}


def main(argv: list[str] | None = None) -> int:
    """Measure, show, write."""
    args = options(__doc__, "3 times").parse_args(argv)
    repeat = args.repeat or (3 if args.quick else 15)
    run = Run.begin("start_up", argv, CODE)
    programs = commands()
    for command in programs.values():
        seconds(command)  # the first one reads the disk
    for _ in range(repeat):
        for name, command in programs.items():
            run.add("program", name, "start to end", seconds(command), unit="s")
    stage, reference = (("program", name, "start to end") for name in ("stage 1, answer", "scikit-learn and load"))
    run.ratio("stage 1 / scikit-learn and load", stage, reference, at_most=BAR)
    for package, (ms, modules) in list(imports(programs["stage 1, answer"]).items())[:SHOWN]:
        run.count("stage 1 imports", package, "time", ms, "ms")
        run.count("stage 1 imports", package, "modules", modules)
    return finish(run, args)


if __name__ == "__main__":
    sys.exit(main())
