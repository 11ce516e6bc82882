"""How throughput grows, and what it costs: workers and partitions, batch sizes, message sizes, three brokers.

- workers: 1, 2 and 4 workers on 1, 2 and 4 partitions, with the fast model and with slow ones. The workers join first
  and are frozen while the tasks are written; so all begin at the same moment.
- batches: at-least-once and exactly-once with at most 1, 10, 100, 1 000 and 5 000 tasks at once.
- sizes: tasks of 150 bytes to 64 KiB (spaces inside the JSON), worker and echo.
- brokers: the same worker on one broker and on a cluster of three, where each message is stored three times.

Run: python -m benchmarks.scale            # all, 5 times (about 35 minutes)
     python -m benchmarks.scale --quick    # a few of each, once
"""

import argparse
import re
import sys
from collections.abc import Iterator, Sequence

from benchmarks.broker import Kafka, fill, kafka, tasks
from benchmarks.command import finish, options, progress
from benchmarks.records import Run
from benchmarks.watching import Measured, watch
from benchmarks.worker_rate import CODE, WORKER, WORKER_GROUP, measure
from common.kafka.topics import RESULTS, TASKS
from common.programs import end_all, until

FROZEN_MS = 60_000  # how long a frozen worker stays a member of its group
MODELS = {"fast": 0.0, "0.1 ms": 0.0001, "1 ms": 0.001}  # CPU seconds burnt per task

Options = argparse.Namespace


def workers(options: Options, run: Run) -> None:
    """Throughput against workers, partitions and what the model costs."""
    counts = (1, 2) if options.quick else (1, 2, 4)
    models = ("1 ms",) if options.quick else tuple(MODELS)
    with kafka(partitions=1) as broker:
        broker.set_group(WORKER_GROUP, {"consumer.session.timeout.ms": str(FROZEN_MS)})
        for partitions in counts:  # only upwards: partitions cannot be taken away
            broker.empty(TASKS)
            broker.create_topics(partitions)
            for model in models:
                backlog = list(tasks(_enough(MODELS[model], options)))
                for _ in range(options.repeat):
                    for count in counts:
                        rate = _together(broker, count, partitions, MODELS[model], backlog)
                        row = f"{model} model, {plural(partitions, 'partition')}"
                        _add(run, "workers", row, plural(count, "worker"), rate)


def plural(count: int, noun: str) -> str:
    """Return a number and what it counts: `1 worker`, `2 workers`."""
    return f"{count} {noun}{'s' * (count != 1)}"


def _enough(cpu_seconds: float, options: Options) -> int:
    """Return how many tasks keep the workers busy for some seconds."""
    if options.quick:
        return 2_000 if cpu_seconds else 50_000
    return int(10 / cpu_seconds) if cpu_seconds >= 0.001 else 100_000 if cpu_seconds else 600_000


def _together(
    broker: Kafka, count: int, partitions: int, cpu_seconds: float, backlog: list[tuple[str, bytes]]
) -> float:
    """Return the rate of so many workers that begin at the same moment."""
    broker.empty(TASKS)
    broker.forget(WORKER_GROUP)
    programs = [Measured(WORKER, settings={"IRIS_SIMULATED_CPU_SECONDS": str(cpu_seconds)}) for _ in range(count)]
    try:
        until(lambda: _shared(programs, partitions), what="each partition has its worker", programs=programs)
        before = broker.ends(TASKS)
        for program in programs:
            program.pause()
        fill(broker.servers, TASKS, backlog)
        for program in programs:
            program.resume()
        return watch(programs[0], lambda: broker.committed(WORKER_GROUP, since=before), len(backlog), 20.0).rate
    finally:
        end_all(programs)
        broker.empty(RESULTS)


def _shared(programs: list[Measured], partitions: int) -> bool:
    """Return whether the partitions are shared as evenly as can be, each held by one worker."""
    held = [_last_held(program.output) for program in programs]
    busy = sum(bool(numbers) for numbers in held)
    return sorted(n for numbers in held for n in numbers) == list(range(partitions)) and busy == min(
        len(programs), partitions
    )


def _last_held(text: str) -> set[int]:
    """Return the partitions that a worker said last that it holds."""
    found = re.findall(r"holds partitions (.*)", text)
    return {int(n) for n in re.findall(r"\d+", found[-1])} if found else set()


def batches(options: Options, run: Run) -> None:
    """Throughput and latency cost of both delivery modes at several batch sizes."""
    sizes = (1, 1000) if options.quick else (1, 10, 100, 1000, 5000)
    rows = {f"at most {plural(size, 'task')}": ["--max-batch", str(size)] for size in sizes}
    total = 20_000 if options.quick else 600_000
    _by_turns(options, run, "batches", rows, ("at-least-once", "exactly-once"), total)


def sizes(options: Options, run: Run) -> None:
    """Throughput against the size of a task; the result keeps its size."""
    for length in (150, 4_096) if options.quick else (150, 1_024, 4_096, 16_384, 65_536):
        total = max(4_000, min(600_000, 400_000_000 // length)) // (20 if options.quick else 1)
        _by_turns(options, run, "sizes", {f"{length} bytes": []}, ("echo", "at-least-once"), total, length)


def brokers(options: Options, run: Run) -> None:
    """Throughput on one broker and on three, where a message counts as written when two have it."""
    total, names = 50_000 if options.quick else 400_000, ("echo", "at-least-once", "exactly-once")
    for count in (1, 3):
        _by_turns(options, run, "brokers", {plural(count, "broker"): []}, names, total, brokers=count)


def _by_turns(
    options: Options,
    run: Run,
    table: str,
    rows: dict[str, list[str]],
    programs: Sequence[str],
    total: int,
    length: int = 0,
    brokers: int = 1,
) -> None:
    """Let programs work off the same backlog by turns, with each row's arguments."""
    with kafka(brokers) as broker:
        fill(broker.servers, TASKS, padded(total, length))
        for _ in range(options.repeat):
            for row, arguments in rows.items():
                for name in programs:
                    rate = measure(broker, name, total, options.seconds, arguments).rate
                    _add(run, table, row, f"{name}, rate" if length else name, rate)
                    if length:
                        run.add(table, row, f"{name}, bytes", rate * length / 1e6, unit="MB/s")


def padded(count: int, length: int) -> Iterator[tuple[str, bytes]]:
    """Yield tasks of so many bytes: spaces before the last bracket."""
    for task_id, task in tasks(count):
        yield task_id, task[:-1] + b" " * (length - len(task)) + b"}"


def _add(run: Run, table: str, row: str, column: str, rate: float) -> None:
    run.add(table, row, column, rate, unit="tasks/s")
    progress(f"{table}: {row}, {column}: {rate:,.0f} tasks/s")


SECTIONS = {"workers": workers, "batches": batches, "sizes": sizes, "brokers": brokers}


def main(argv: list[str] | None = None) -> int:
    """Measure, show, write."""
    parser = options(__doc__, "a few of each, once")
    parser.add_argument("--seconds", type=float, metavar="S", help="longest window of a program")
    parser.add_argument("--only", nargs="+", choices=list(SECTIONS), default=list(SECTIONS), help="these parts")
    args = parser.parse_args(argv)
    args.repeat = args.repeat or (1 if args.quick else 5)
    args.seconds = args.seconds or (1.5 if args.quick else 6.0)
    run = Run.begin("scale", argv, CODE)
    for name in args.only:
        SECTIONS[name](args, run)
    return finish(run, args)


if __name__ == "__main__":
    sys.exit(main())
