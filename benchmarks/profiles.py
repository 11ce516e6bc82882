"""Where the time of one task goes in each stage: import, load, validate, predict, encode, and the way there and back.

The phases are timed around the stages' own functions in this process, each call after a short rest: a program that was
waiting finds cold caches, and takes about three times as long as in a loop. The whole is measured from outside, at a
client that asks an idle system (stage 5 also: from a backlog, per task). What is left is transport and waiting.

Run: python -m benchmarks.profiles            # 5 times
     python -m benchmarks.profiles --quick    # once
"""

import importlib
import itertools
import json
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from benchmarks.broker import Kafka, kafka, tasks
from benchmarks.command import finish, options, progress
from benchmarks.records import Run
from benchmarks.scoreboard import CODE, backlog, closed_loop
from benchmarks.stages import Stage, Stage1, Stage2, Stage3, Stage4, Stage5
from benchmarks.watching import Measured
from common.iris_dto import Measurement, Result, split_words, validate, validate_json
from common.iris_model import IrisModel, load_model, predict
from common.terminal import show

PHASES = ("start Python", "import", "load", "validate", "predict", "encode", "transport and wait")
LINE = "5.1 3.5 1.4 0.2"
BATCH = 5000
TIMED = 300  # calls of a function that takes microseconds
REST_SECONDS = 0.0015  # before each of them: about as long as a program waits between two questions

Seconds = dict[str, float]


@dataclass
class Waiting:
    """A Kafka message as the worker's codec sees it."""

    body: bytes

    def value(self) -> bytes:
        return self.body

    def headers(self) -> None:
        return None


def typical(function: Callable[[], Any], calls: int = TIMED) -> float:
    """Return the median seconds of a call that comes after a rest."""
    times = []
    for _ in range(calls):
        time.sleep(REST_SECONDS)
        start = time.perf_counter()
        function()
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def whole(stage: Stage, seconds: float) -> float:
    """Return the median seconds of a question to an idle system."""
    stage.start()
    try:
        return closed_loop(stage, 1, seconds)["p50"] / 1000
    finally:
        stage.stop()


def measure(model: IrisModel, seconds: float, broker: Kafka) -> dict[str, Seconds]:
    """Return the seconds of each phase in each stage, once."""
    measurement = validate(split_words(LINE))
    iris_type, body = predict(model, measurement), measurement.model_dump_json()
    predicting = partial(predict, model, measurement)
    found = {
        "1 command line": command_line(seconds),
        "2 prompt": timed(Stage2(), seconds, lambda: validate(split_words(LINE)), predicting, lambda: show(iris_type)),
        "3 client and server": timed(  # the rest is HTTP, FastAPI and the thread that the endpoint runs in
            *(Stage3(), seconds, lambda: Measurement.model_validate_json(body)),
            *(predicting, iris_type.model_dump_json),
        ),
        "4 message queue": timed(  # the rest is Kafka, twice, and the wait for delivery and commit
            *(Stage4(), seconds, lambda: validate_json(body.encode())),
            *(predicting, lambda: Result(X=measurement, y=iris_type).to_json()),
        ),
    }
    broker.create_topics(4)
    found["5 task queue, alone"] = _rest(handler_phases(model, 1), whole(Stage5(), seconds))
    of_many = {name: value / BATCH for name, value in handler_phases(model, BATCH).items()}
    rate = backlog(broker, "5", Stage5(), int(max(60_000, 100_000 * seconds)), seconds * 2).rate
    found["5 task queue, of a backlog"] = _rest(of_many, 1 / rate)
    return found


def command_line(seconds: float) -> Seconds:
    """Every phase is paid by every prediction, so each is timed in a process of its own."""
    runs = [json.loads(Measured("benchmarks.profile_start").finish()[0]) for _ in range(max(2, int(seconds * 2)))]
    phases = {name: statistics.median(run[name] for run in runs) for name in runs[0]}
    total = whole(Stage1(), seconds)
    return phases | {"start Python": max(0.0, total - sum(phases.values()))}


def timed(
    stage: Stage,
    seconds: float,
    validating: Callable[[], Any],
    predicting: Callable[[], Any],
    encoding: Callable[[], Any],
) -> Seconds:
    """Time the phases that are paid for each question; import and load are paid once, before the first."""
    functions = {"validate": validating, "predict": predicting, "encode": encoding}
    return _rest({phase: typical(function) for phase, function in functions.items()}, whole(stage, seconds))


def handler_phases(model: IrisModel, size: int) -> Seconds:
    """Time what the worker's handler does with a batch of this size, step by step."""
    codec: Any = importlib.import_module("5_task_queue.worker.codec")
    messages = [Waiting(value) for _, value in tasks(size)]
    runs = []
    for _ in range(TIMED if size == 1 else 9):
        if size == 1:
            time.sleep(REST_SECONDS)
        times = [time.perf_counter()]
        decoded, replies = codec.decode(messages)
        X = codec.to_array(decoded)
        times.append(time.perf_counter())
        probabilities = model.predict_proba(X)
        times.append(time.perf_counter())
        values = codec.encode_batch(decoded, X, probabilities, model)
        replies.results += zip([task.task_id for task in decoded], values, strict=True)
        times.append(time.perf_counter())
        runs.append([b - a for a, b in itertools.pairwise(times)])
    return dict(zip(("validate", "predict", "encode"), map(statistics.median, zip(*runs, strict=True)), strict=True))


def _rest(phases: Seconds, total: float) -> Seconds:
    return phases | {"transport and wait": max(0.0, total - sum(phases.values()))}


def main(argv: list[str] | None = None) -> int:
    """Measure, show, write, draw."""
    args = options(__doc__, "once, short").parse_args(argv)
    repeat, seconds = args.repeat or (1 if args.quick else 5), 0.5 if args.quick else 3.0
    model = load_model()
    run = Run.begin("profiles", argv, CODE)
    with kafka(partitions=1) as broker:
        for turn in range(repeat):
            for stage, phases in measure(model, seconds, broker).items():
                for phase in PHASES:
                    run.add("one task", stage, phase, 1e6 * phases.get(phase, 0.0), unit="µs")
                run.add("one task", stage, "all", 1e6 * sum(phases.values()), unit="µs")
            progress(f"{turn + 1}/{repeat} done")
    return finish(run, args)


if __name__ == "__main__":
    sys.exit(main())
