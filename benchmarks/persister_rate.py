"""How many results per second the persister stores in SQLite, each exactly once, beside bare SQLite.

`results` is filled beforehand, a share of it twice, as an at-least-once worker may do. The rate is that between 10 %
and 90 %, by the offsets that stand in the file; at the end every task id must be stored once.

Run: python -m benchmarks.persister_rate            # 300 000 results, 5 times
     python -m benchmarks.persister_rate --quick    # 40 000 results, once
"""

import argparse
import contextlib
import json
import sqlite3
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks.harness import (
    Measured,
    Program,
    fill,
    kafka,
    save,
    show_table,
    summary,
    tasks,
    watch,
)
from common.iris_dto import IrisType, Measurement, Result
from common.iris_model import load_model, predict
from common.kafka.topics import RESULTS

PERSISTER = "4_message_queue.iris_classifier_mq_persister"
GROUP = "iris-persisters"
DOUBLED_EVERY = 100  # one result in so many stands in the topic twice
BAR = 20_000  # results per second
WAIT_SECONDS = 60.0


def results(count: int) -> Iterator[tuple[str, bytes]]:
    """Yield results as stage 5's worker writes them, some of them twice."""
    model = load_model()
    answers: dict[str, tuple[Measurement, IrisType]] = {}
    for i, (task_id, task) in enumerate(tasks(count)):
        key = task[task.index(b'"X":') :].decode()
        if key not in answers:
            measurement = Measurement.model_validate(json.loads(task)["X"])
            answers[key] = measurement, predict(model, measurement)
        measurement, answer = answers[key]
        value = Result(task_id=task_id, X=measurement, y=answer).to_json()
        yield task_id, value
        if i % DOUBLED_EVERY == 0:
            yield task_id, value


def position(path: Path) -> int:
    """Return how many messages have been stored, by the offsets in the file."""
    with contextlib.suppress(sqlite3.Error), contextlib.closing(sqlite3.connect(path)) as db:
        return db.execute("SELECT coalesce(sum(next_offset), 0) FROM positions").fetchone()[0]
    return 0


def measure(sent: int, folder: Path) -> tuple[Measured, int]:
    """Let the persister store everything; return its steady rate and the number of rows at the end."""
    database = folder / "results.sqlite3"
    program = Program(PERSISTER, settings={"IRIS_DATABASE": str(database)})
    try:
        measured = watch(program, lambda: position(database), sent, WAIT_SECONDS)
        deadline = time.monotonic() + WAIT_SECONDS
        while position(database) < sent and time.monotonic() < deadline:
            time.sleep(0.05)
    finally:
        program.end()
    with contextlib.closing(sqlite3.connect(database)) as db:
        rows = db.execute("SELECT count(DISTINCT task_id), count(*) FROM results").fetchone()
    if rows[0] != rows[1]:
        raise AssertionError(f"{rows[1] - rows[0]} results are stored twice.")
    return measured, rows[0]


def main(argv: list[str] | None = None) -> int:
    """Measure, print, save."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="few results, once")
    parser.add_argument("--results", type=int, metavar="N", help="how many")
    parser.add_argument("--repeat", type=int, metavar="R", help="how many times")
    parser.add_argument("--partitions", type=int, default=4)
    parser.add_argument("--out", type=Path, help="folder for persister_rate.json")
    args = parser.parse_args(argv)
    count = args.results or (40_000 if args.quick else 300_000)
    repeat = args.repeat or (1 if args.quick else 5)

    done: list[Measured] = []
    bare: list[float] = []
    stored = []
    with kafka(partitions=args.partitions) as broker:
        sent = fill(broker.servers, RESULTS, results(count))
        for turn in range(repeat):
            reference = Program("benchmarks.reference.bare_sqlite", "--rows", count)
            bare.append(json.loads(reference.wait(300))["rate"])
            broker.forget(GROUP)
            with tempfile.TemporaryDirectory() as folder:
                measured, rows = measure(sent, Path(folder))
            done.append(measured)
            stored.append(rows)
            print(f"{turn + 1}/{repeat} {measured.rate:,.0f} results/s", file=sys.stderr, flush=True)
    rate = summary([m.rate for m in done])
    figures: dict[str, Any] = {
        "results": count,
        "sent": sent,
        "stored": stored,
        "results_per_second": rate | {"bar": BAR, "reached": rate["median"] >= BAR},
        "bare_sqlite_per_second": summary(bare),
        "cpu_us_per_result": summary([m.cpu_us for m in done]),
        "peak_mb": summary([m.peak_mb for m in done]),
    }
    show_table(
        f"{count:,} results into SQLite, {sent - count:,} of them sent twice, medians of {repeat}",
        ["", "results/s", "min", "max"],
        [
            ("persister", rate["median"], rate["min"], rate["max"]),
            ("bare SQLite", *(figures["bare_sqlite_per_second"][k] for k in ("median", "min", "max"))),
        ],
    )
    print(f"stored: {', '.join(map(str, stored))}; bar: at least {BAR:,} results/s")
    save("persister_rate", argv, figures, args.out)
    return 0


if __name__ == "__main__":
    sys.exit(main())
