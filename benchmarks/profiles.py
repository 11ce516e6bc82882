"""Where the time of one task goes in each stage: import, load, validate, predict, encode, and the way there and back.

The phases are timed around the stages' own functions in this process, each call after a short rest: a program that was
waiting finds cold caches, and takes about three times as long as in a loop. The whole is measured from outside, at a
client that asks an idle system (stage 5 also: from a backlog, per task). What is left is transport and waiting.

Run: python -m benchmarks.profiles            # 5 times
     python -m benchmarks.profiles --quick    # once
"""

import importlib
import json
import statistics
import sys
import time
from collections.abc import Callable
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


class FakeMessage:
    """A Kafka message as the worker's handler sees it."""

    def __init__(self, offset: int, key: str, value: bytes) -> None:
        self._offset, self._key, self._value = offset, key.encode(), value

    def value(self) -> bytes:
        return self._value

    def key(self) -> bytes:
        return self._key

    def headers(self) -> None:
        return None

    def error(self) -> None:
        return None

    def topic(self) -> str:
        return "tasks"

    def partition(self) -> int:
        return 0

    def offset(self) -> int:
        return self._offset


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


def stage_1(model: IrisModel, seconds: float) -> Seconds:
    """Every phase is paid by every prediction."""
    runs = max(2, int(seconds * 2))
    found = [json.loads(Measured("benchmarks.profile_start").finish()[0]) for _ in range(runs)]
    phases = {name: statistics.median(run[name] for run in found) for name in found[0]}
    total = whole(Stage1(), seconds)
    return phases | {"start Python": max(0.0, total - sum(phases.values()))}


def stage_2(model: IrisModel, seconds: float) -> Seconds:
    """Import and load are paid once, before the first prompt."""
    measurement = validate(split_words(LINE))
    iris_type = predict(model, measurement)
    phases = {
        "validate": typical(lambda: validate(split_words(LINE))),
        "predict": typical(lambda: predict(model, measurement)),
        "encode": typical(lambda: show(iris_type)),
    }
    return _rest(phases, whole(Stage2(), seconds))


def stage_3(model: IrisModel, seconds: float) -> Seconds:
    """The rest is HTTP, FastAPI and the thread that the endpoint runs in."""
    measurement = validate(split_words(LINE))
    body, iris_type = measurement.model_dump_json(), predict(model, measurement)
    phases = {
        "validate": typical(lambda: Measurement.model_validate_json(body)),
        "predict": typical(lambda: predict(model, measurement)),
        "encode": typical(lambda: iris_type.model_dump_json()),
    }
    return _rest(phases, whole(Stage3(), seconds))


def stage_4(model: IrisModel, seconds: float) -> Seconds:
    """The rest is Kafka, twice, and the wait for delivery and commit."""
    measurement = validate(split_words(LINE))
    body, iris_type = measurement.model_dump_json().encode(), predict(model, measurement)
    phases = {
        "validate": typical(lambda: validate_json(body)),
        "predict": typical(lambda: predict(model, measurement)),
        "encode": typical(lambda: Result(X=measurement, y=iris_type).to_json()),
    }
    return _rest(phases, whole(Stage4(), seconds))


def stage_5_alone(model: IrisModel, seconds: float) -> Seconds:
    """One task through an idle worker."""
    return _rest(handler_phases(model, 1), whole(Stage5(), seconds))


def stage_5_batch(model: IrisModel, seconds: float, broker: Kafka) -> Seconds:
    """One task of many that are waiting."""
    per_task = {name: value / BATCH for name, value in handler_phases(model, BATCH).items()}
    rate = backlog(broker, "5", Stage5(), int(max(60_000, 100_000 * seconds)), seconds * 2).rate
    return _rest(per_task, 1 / rate)


def handler_phases(model: IrisModel, size: int) -> Seconds:
    """Time the phases inside the worker's handler, for a batch of this size, by wrapping what it calls."""
    worker = importlib.import_module("5_task_queue.iris_classifier_task_queue_worker")
    messages: list[Any] = [FakeMessage(i, key, value) for i, (key, value) in enumerate(tasks(size))]
    phase_of = {"decode": "validate", "to_array": "validate", "encode_batch": "encode"}
    spent: Seconds = {"validate": 0.0, "predict": 0.0, "encode": 0.0}

    def timed(function: Callable[..., Any], phase: str) -> Callable[..., Any]:
        def wrapped(*arguments: Any, **named: Any) -> Any:
            start = time.perf_counter()
            try:
                return function(*arguments, **named)
            finally:
                spent[phase] += time.perf_counter() - start

        return wrapped

    originals = {name: getattr(worker, name) for name in phase_of if hasattr(worker, name)}
    model = load_model()
    model.predict_proba = timed(model.predict_proba, "predict")  # type: ignore[method-assign]
    for name, function in originals.items():
        setattr(worker, name, timed(function, phase_of[name]))
    try:
        runs = []
        for _ in range(TIMED if size == 1 else 9):
            spent.update(dict.fromkeys(spent, 0.0))
            if size == 1:
                time.sleep(REST_SECONDS)
            start = time.perf_counter()
            worker.handle(messages, model)
            total = time.perf_counter() - start
            spent["encode"] += total - sum(spent.values())  # putting the replies together
            runs.append(dict(spent))
    finally:
        for name, function in originals.items():
            setattr(worker, name, function)
    return {phase: statistics.median(run[phase] for run in runs) for phase in spent}


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
            found = {"1 command line": stage_1(model, seconds), "2 prompt": stage_2(model, seconds)}
            found["3 client and server"] = stage_3(model, seconds)
            found["4 message queue"] = stage_4(model, seconds)
            broker.create_topics(4)
            found["5 task queue, alone"] = stage_5_alone(model, seconds)
            found["5 task queue, of a backlog"] = stage_5_batch(model, seconds, broker)
            for stage, phases in found.items():
                for phase in PHASES:
                    run.add("one task", stage, phase, 1e6 * phases.get(phase, 0.0), unit="µs")
                run.add("one task", stage, "all", 1e6 * sum(phases.values()), unit="µs")
            progress(f"{turn + 1}/{repeat} done")
    return finish(run, args)


if __name__ == "__main__":
    sys.exit(main())
