"""How many results per second the persister stores in SQLite, each exactly once, beside bare SQLite.

`results` is filled beforehand, a share of it twice, as an at-least-once worker may do. The rate is that between 10 %
and 90 %, by the offsets that stand in the file; at the end every task id must be stored once.

Run: python -m benchmarks.persister_rate            # 300 000 results, 5 times
     python -m benchmarks.persister_rate --quick    # 40 000 results, once
"""

import contextlib
import json
import sqlite3
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from benchmarks.broker import fill, kafka, tasks
from benchmarks.command import finish, options, progress
from benchmarks.records import Run
from benchmarks.watching import Measured, Work, watch
from common.iris_dto import IrisType, Measurement, Result
from common.iris_model import load_model, predict
from common.kafka.topics import RESULTS
from common.programs import until

PERSISTER = "4_message_queue.iris_classifier_mq_persister"
CODE = ("4_message_queue/iris_classifier_mq_persister.py", "common/results", "common/kafka")
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


def measure(sent: int, folder: Path) -> tuple[Work, int]:
    """Let the persister store everything; return its steady rate and the number of rows at the end."""
    database = folder / "results.sqlite3"
    with Measured(PERSISTER, settings={"IRIS_DATABASE": str(database)}) as program:
        work = watch(program, lambda: position(database), sent, WAIT_SECONDS)
        until(lambda: position(database) >= sent, WAIT_SECONDS, "all results stored")
    with contextlib.closing(sqlite3.connect(database)) as db:
        different, rows = db.execute("SELECT count(DISTINCT task_id), count(*) FROM results").fetchone()
    if different != rows:
        raise AssertionError(f"{rows - different} results are stored twice.")
    return work, rows


def main(argv: list[str] | None = None) -> int:
    """Measure, show, write."""
    parser = options(__doc__, "few results, once")
    parser.add_argument("--results", type=int, metavar="N", help="how many")
    parser.add_argument("--partitions", type=int, default=4)
    args = parser.parse_args(argv)
    count = args.results or (40_000 if args.quick else 300_000)
    repeat = args.repeat or (1 if args.quick else 5)

    run = Run.begin("persister_rate", argv, CODE, results=count, partitions=args.partitions)
    with kafka(partitions=args.partitions) as broker:
        sent = fill(broker.servers, RESULTS, results(count))
        run.count("count", "results", "sent", sent)
        for turn in range(repeat):
            with Measured("benchmarks.reference.bare_sqlite", "--rows", count) as bare:
                bare_rate = json.loads(bare.finish(300)[0])["rate"]
            with tempfile.TemporaryDirectory() as folder:
                work, rows = measure(sent, Path(folder))
            run.add("program", "persister", "rate", work.rate, unit="results/s", at_least=BAR)
            run.add("program", "persister", "CPU", work.cpu_us, unit="µs/result")
            run.add("program", "persister", "greatest memory", work.peak_mb, unit="MB")
            run.add("program", "bare SQLite", "rate", bare_rate, unit="results/s")
            run.add("count", "results", "stored", rows)
            progress(f"{turn + 1}/{repeat} {work.rate:,.0f} results/s")
    return finish(run, args)


if __name__ == "__main__":
    sys.exit(main())
