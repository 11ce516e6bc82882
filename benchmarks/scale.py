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
import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from benchmarks.harness import (
    Kafka,
    Program,
    fill,
    kafka,
    save,
    show_table,
    summary,
    tasks,
    wait_for_text,
    watch,
)
from benchmarks.worker_rate import WORKER, WORKER_GROUP, measure
from common.kafka.topics import RESULTS, TASKS

FROZEN_MS = 60_000  # how long a frozen worker stays a member of its group
MODELS = {"fast": 0.0, "0.1 ms": 0.0001, "1 ms": 0.001}  # CPU seconds burnt per task

Options = argparse.Namespace
Section = Callable[[Options], list[dict[str, Any]]]


def workers(options: Options) -> list[dict[str, Any]]:
    """Throughput against workers, partitions and what the model costs."""
    counts = (1, 2) if options.quick else (1, 2, 4)
    models = ("1 ms",) if options.quick else tuple(MODELS)
    rates: dict[tuple[str, int, int], list[float]] = {}
    with kafka(partitions=1) as broker:
        broker.set_group(WORKER_GROUP, {"consumer.session.timeout.ms": str(FROZEN_MS)})
        for partitions in counts:  # only upwards: partitions cannot be taken away
            broker.empty(TASKS)
            broker.create_topics(partitions)
            for model in models:
                total = _enough(MODELS[model], options)
                backlog = list(tasks(total))
                for _ in range(options.repeat):
                    for count in counts:
                        rate = _together(broker, count, partitions, MODELS[model], backlog)
                        rates.setdefault((model, partitions, count), []).append(rate)
                        _tell("workers", f"model {model}, partitions {partitions}, workers {count}", rate)
    return [
        {"model": model, "partitions": p, "workers": w, "tasks_per_second": summary(found)}
        for (model, p, w), found in rates.items()
    ]


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
    programs = [Program(WORKER, settings={"IRIS_SIMULATED_CPU_SECONDS": str(cpu_seconds)}) for _ in range(count)]
    try:
        wait_for_text(
            programs, lambda texts: _held(texts) == set(range(partitions)) and _spread(texts, count, partitions)
        )
        before = broker.ends(TASKS)
        _signal(programs, signal.SIGSTOP)
        fill(broker.servers, TASKS, backlog)
        _signal(programs, signal.SIGCONT)
        return watch(programs[0], lambda: broker.committed(WORKER_GROUP, since=before), len(backlog), 20.0).rate
    finally:
        _signal(programs, signal.SIGCONT)
        for program in programs:
            program.end()
        broker.empty(RESULTS)


def _signal(programs: list[Program], number: signal.Signals) -> None:
    for program in programs:
        if program.running:
            program.process.send_signal(number)


def _last_held(text: str) -> set[int]:
    """Return the partitions that a worker said last that it holds."""
    found = re.findall(r"holds partitions (.*)", text)
    return {int(n) for n in re.findall(r"\d+", found[-1])} if found else set()


def _held(texts: list[str]) -> set[int]:
    return set().union(*map(_last_held, texts))


def _spread(texts: list[str], count: int, partitions: int) -> bool:
    """Tell whether the partitions are shared as evenly as can be, each held by one worker."""
    sizes = [len(_last_held(text)) for text in texts]
    return sum(sizes) == partitions and sum(size > 0 for size in sizes) == min(count, partitions)


def batches(options: Options) -> list[dict[str, Any]]:
    """Throughput and latency cost of both delivery modes at several batch sizes."""
    sizes = (1, 1000) if options.quick else (1, 10, 100, 1000, 5000)
    total = 50_000 if options.quick else 600_000
    rates: dict[tuple[int, str], list[float]] = {}
    with kafka() as broker:
        fill(broker.servers, TASKS, tasks(total))
        for _ in range(options.repeat):
            for size in sizes:
                for mode in ("at-least-once", "exactly-once"):
                    done = measure(broker, mode, total, options.seconds, ["--max-batch", str(size)])
                    rates.setdefault((size, mode), []).append(done.rate)
                    _tell("batches", f"{mode}, batch {size}", done.rate)
    return [{"batch": size, "delivery": mode, "tasks_per_second": summary(r)} for (size, mode), r in rates.items()]


def sizes(options: Options) -> list[dict[str, Any]]:
    """Throughput against the size of a task; the result keeps its size."""
    found: dict[tuple[int, str], list[float]] = {}
    lengths = (150, 4_096) if options.quick else (150, 1_024, 4_096, 16_384, 65_536)
    for length in lengths:
        total = max(4_000, min(600_000, 400_000_000 // length)) // (20 if options.quick else 1)
        with kafka() as broker:
            fill(broker.servers, TASKS, padded(total, length))
            for _ in range(options.repeat):
                for name in ("echo", "at-least-once"):
                    done = measure(broker, name, total, options.seconds)
                    found.setdefault((length, name), []).append(done.rate)
                    _tell("sizes", f"{name}, {length} bytes", done.rate)
    return [
        {
            "bytes": length,
            "program": name,
            "tasks_per_second": summary(r),
            "mb_per_second": summary([rate * length / 1e6 for rate in r]),
        }
        for (length, name), r in found.items()
    ]


def padded(count: int, length: int) -> Iterator[tuple[str, bytes]]:
    """Yield tasks of so many bytes: spaces before the last bracket."""
    for task_id, task in tasks(count):
        yield task_id, task[:-1] + b" " * (length - len(task)) + b"}"


def brokers(options: Options) -> list[dict[str, Any]]:
    """Throughput on one broker and on three, where a message counts as written when two have it."""
    total = 50_000 if options.quick else 400_000
    rates: dict[tuple[int, str], list[float]] = {}
    for count in (1, 3):
        with kafka(brokers=count) as broker:
            fill(broker.servers, TASKS, tasks(total))
            for _ in range(options.repeat):
                for name in ("echo", "at-least-once", "exactly-once"):
                    done = measure(broker, name, total, options.seconds)
                    rates.setdefault((count, name), []).append(done.rate)
                    _tell("brokers", f"{count} brokers, {name}", done.rate)
    return [{"brokers": count, "program": name, "tasks_per_second": summary(r)} for (count, name), r in rates.items()]


def _tell(section: str, what: str, rate: float) -> None:
    print(f"{section}: {what}: {rate:,.0f} tasks/s", file=sys.stderr, flush=True)


SECTIONS: dict[str, Section] = {"workers": workers, "batches": batches, "sizes": sizes, "brokers": brokers}


def main(argv: list[str] | None = None) -> int:
    """Measure, print, save."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a few of each, once")
    parser.add_argument("--repeat", type=int, metavar="R", help="how many times")
    parser.add_argument("--seconds", type=float, metavar="S", help="longest window of a program")
    parser.add_argument("--only", nargs="+", choices=list(SECTIONS), default=list(SECTIONS), help="these parts")
    parser.add_argument("--out", type=Path, help="folder for scale.json")
    options = parser.parse_args(argv)
    options.repeat = options.repeat or (1 if options.quick else 5)
    options.seconds = options.seconds or (1.5 if options.quick else 6.0)

    figures: dict[str, Any] = {}
    for name in options.only:
        started = time.monotonic()
        figures[name] = SECTIONS[name](options)
        columns = list(figures[name][0])
        rows = [
            [row[c]["median"] if isinstance(row[c], dict) else str(row[c]) for c in columns] for row in figures[name]
        ]
        show_table(f"{name}, medians of {options.repeat} ({time.monotonic() - started:.0f} s)", columns, rows)
    save("scale", argv, figures, options.out)
    return 0


if __name__ == "__main__":
    sys.exit(main())
