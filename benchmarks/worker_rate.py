"""How fast one worker process is, beside what Kafka's own client can do and beside one task at a time.

One backlog of tasks is in the broker. In turn, several times over, each program works it off in one process. How much
is done is read from the broker: the committed offsets of the program's group, the same for all. The rate is that
between 10 % and 90 % of the backlog; a slow program is stopped after some seconds.

Run: python -m benchmarks.worker_rate            # 1 000 000 tasks, 5 times
     python -m benchmarks.worker_rate --quick    # 100 000 tasks, once
"""

import argparse
import sys
from pathlib import Path
from typing import Any

from benchmarks.harness import Kafka, Measured, Program, fill, kafka, save, show_table, summary, tasks, watch
from common.kafka.topics import RESULTS, TASKS

WORKER = "5_task_queue.iris_classifier_task_queue_worker"
WORKER_GROUP = "iris-task-queue-workers"
PROGRAMS: dict[str, tuple[str, str, list[str]]] = {  # name: module, group, arguments
    "echo": ("benchmarks.reference.kafka_echo", "reference-echo", []),
    "at-least-once": (WORKER, WORKER_GROUP, ["--delivery", "at-least-once"]),
    "exactly-once": (WORKER, WORKER_GROUP, ["--delivery", "exactly-once"]),
    "max-batch-1": (WORKER, WORKER_GROUP, ["--max-batch", "1"]),
    "one-by-one": ("benchmarks.reference.one_by_one", "reference-one-by-one", []),
}
BARS = {  # name: (of, against, at least)
    "at-least-once / echo": ("at-least-once", "echo", 0.4),
    "exactly-once / echo": ("exactly-once", "echo", 0.3),
    "at-least-once / one-by-one": ("at-least-once", "one-by-one", 100),
    "max-batch-1 / one-by-one": ("max-batch-1", "one-by-one", 1),
}
MEMORY_BAR_MB = 250


def measure(
    broker: Kafka,
    name: str,
    total: int,
    seconds: float,
    extra: list[str] | None = None,
    since: dict[int, int] | None = None,
) -> Measured:
    """Let one program work on the backlog from its beginning and return its steady rate.

    `since` has the offset per partition at which the backlog begins, where that is not 0.
    """
    module, group, arguments = PROGRAMS[name]
    if module != WORKER:
        arguments = [*arguments, "--servers", broker.servers, "--group", group, "--count", str(total)]
    broker.forget(group)
    program = Program(module, *arguments, *(extra or []))
    try:
        return watch(program, lambda: broker.committed(group, since=since), total, seconds, broker)
    finally:
        program.end()
        broker.empty(RESULTS)


def ratios(rates: dict[str, list[float]]) -> dict[str, dict[str, Any]]:
    """Return each bar's ratio, of runs that were neighbours: what slows the machine slows both."""
    found = {}
    for name, (of, against, bar) in BARS.items():
        if rates.get(of) and rates.get(against):
            pairs = [a / b for a, b in zip(rates[of], rates[against], strict=True)]
            found[name] = summary(pairs) | {"bar": bar, "reached": summary(pairs)["median"] >= bar}
    return found


def main(argv: list[str] | None = None) -> int:
    """Measure, print, save."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a small backlog, once")
    parser.add_argument("--tasks", type=int, metavar="N", help="size of the backlog")
    parser.add_argument("--repeat", type=int, metavar="R", help="how many times")
    parser.add_argument("--seconds", type=float, metavar="S", help="longest window of a program")
    parser.add_argument("--partitions", type=int, default=4)
    parser.add_argument("--only", nargs="+", choices=list(PROGRAMS), default=list(PROGRAMS), help="these programs")
    parser.add_argument("--worker-args", default="", help="more arguments for the worker, in one string")
    parser.add_argument("--echo-args", default="", help="more arguments for the echo, in one string")
    parser.add_argument("--out", type=Path, help="folder for worker_rate.json")
    args = parser.parse_args(argv)
    total = args.tasks or (100_000 if args.quick else 1_000_000)
    repeat = args.repeat or (1 if args.quick else 5)
    seconds = args.seconds or (2.0 if args.quick else 8.0)

    runs: dict[str, list[Measured]] = {name: [] for name in args.only}
    with kafka(partitions=args.partitions) as broker:
        fill(broker.servers, TASKS, tasks(total))
        for turn in range(repeat):
            for name in args.only:
                extra = list(map(str, (args.worker_args if PROGRAMS[name][0] == WORKER else "").split()))
                extra += (args.echo_args if name == "echo" else "").split()
                runs[name].append(measured := measure(broker, name, total, seconds, extra))
                print(f"{turn + 1}/{repeat} {name}: {measured.rate:,.0f} tasks/s", file=sys.stderr, flush=True)

    figures: dict[str, Any] = {
        "tasks": total,
        "partitions": args.partitions,
        "programs": {
            name: {
                "tasks_per_second": summary([m.rate for m in done]),
                "cpu_us_per_task": summary([m.cpu_us for m in done]),
                "broker_cpu_us_per_task": summary([m.broker_us for m in done]),
                "peak_mb": summary([m.peak_mb for m in done]),
            }
            for name, done in runs.items()
        },
        "ratios": ratios({name: [m.rate for m in done] for name, done in runs.items()}),
        "memory_bar_mb": MEMORY_BAR_MB,
    }
    show_table(
        f"One process, {total:,} tasks, medians of {repeat}",
        ["program", "tasks/s", "min", "max", "CPU µs/task", "broker's", "memory MB"],
        [
            (
                name,
                p["tasks_per_second"]["median"],
                p["tasks_per_second"]["min"],
                p["tasks_per_second"]["max"],
                p["cpu_us_per_task"]["median"],
                p["broker_cpu_us_per_task"]["median"],
                p["peak_mb"]["max"],
            )
            for name, p in figures["programs"].items()
        ],
    )
    show_table(
        "Ratios",
        ["ratio", "measured", "bar", ""],
        [
            (name, r["median"], r["bar"], "reached" if r["reached"] else "not reached")
            for name, r in figures["ratios"].items()
        ],
    )
    save("worker_rate", argv, figures, args.out)
    return 0


if __name__ == "__main__":
    sys.exit(main())
