"""What one task costs from a client to an idle worker and back, beside the raw round trip of Kafka's own client.

The raw client and what is compared with it ask by turns, a hundred questions each: what slows the machine slows both.
Compared are the stage's client and worker in both delivery modes; FastStream as the one that answers, without any work
to do; and the stage's own with one thing changed or left out. The first turn warms the broker up and does not count.

Run: python -m benchmarks.round_trip            # 1 000 rounds, 5 times, some 8 minutes
     python -m benchmarks.round_trip --quick    # 100 rounds, once, on a broker that is still cold
"""

import importlib
import json
import random
import re
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from typing import Any

import common.kafka.connection as kafka_clients
from benchmarks.broker import Kafka, kafka, measurements
from benchmarks.changed_worker import AS_IT_IS, CHANGES, Change, overlay
from benchmarks.command import finish, options, progress
from benchmarks.records import Run, percentile
from benchmarks.watching import Measured
from benchmarks.worker_rate import CODE
from common.kafka.topics import RESULTS, TASKS

CLIENT = "5_task_queue.iris_classifier_cli_client_task_queue"
RAW = "benchmarks.reference.raw_round_trip"
TIMES = re.compile(r"^\[")  # a line of seconds
BLOCK = 100  # questions in a row
WARM_UP = 50  # questions that do not count, each time that a program has been started
ANSWER_SECONDS = 20.0
BARS = {"p50": 1.25, "p99": 1.5}
RAW_VARIANTS = {  # what Kafka's own client does otherwise, or who answers it
    "raw, commit async": ("--commit", "async"),
    "raw, commit sync": ("--commit", "sync"),
    "FastStream": ("--answer-with", "benchmarks.reference.faststream_answer"),
}

Ask = Callable[[int], list[float]]  # so many questions, one after the other: the seconds that each has taken


@contextmanager
def raw(broker: Kafka, topics: str, *arguments: str) -> Iterator[Ask]:
    """Start the raw round trip over two topics of its own."""
    named = ("--tasks", f"{topics}-tasks", "--results", f"{topics}-results", "--group", topics)
    with Measured(RAW, "--servers", broker.servers, *named, "--blocks", *arguments) as program:

        def ask(rounds: int) -> list[float]:
            program.send_line(rounds)
            return json.loads(program.wait_for_line(TIMES))

        yield ask
        program.finish(ANSWER_SECONDS)


@contextmanager
def through_worker(delivery: str, name: str = "") -> Iterator[Ask]:
    """Start the stage's worker, and have the stage's client ask it, with what `name` changes."""
    change = CHANGES.get(name, AS_IT_IS)
    module: Any = importlib.import_module(CLIENT)
    module.producer_config = overlay(kafka_clients.producer_config, change.client_producer)
    module.reader_config = overlay(kafka_clients.reader_config, change.client_reader)
    with Measured("benchmarks.changed_worker", name, "--delivery", delivery) as worker:
        worker.wait_for("holds partitions 0, 1")
        with closing(module.TaskClient()) as client:
            client.position()
            yield lambda rounds: ask_worker(client, change, rounds)


def ask_worker(client: Any, change: Change, rounds: int) -> list[float]:
    """Ask the worker so many questions."""
    times = []
    for measurement in measurements(rounds):
        task_id = str(uuid.uuid4())
        start = time.perf_counter()
        if change.idle_client:
            ask_bare(client._producer, client._results._consumer, task_id)
        else:
            client.predict(measurement, task_id, ANSWER_SECONDS)
        times.append(time.perf_counter() - start)
    return times


def ask_bare(producer: Any, consumer: Any, task_id: str) -> None:
    """Ask as the raw client does, over the stage's connections: nothing is made, nothing is read but the key."""
    value = (
        f'{{"task_id":"{task_id}","X":{{"sepal_length":5.1,"sepal_width":3.5,"petal_length":1.4,"petal_width":0.2}}}}'
    )
    key, start = task_id.encode(), time.monotonic()
    producer.produce(TASKS, value, key)
    while True:
        producer.poll(0)
        message = consumer.poll(0.5)
        if message is not None and not message.error() and message.key() == key:
            return
        if time.monotonic() - start > ANSWER_SECONDS:
            raise TimeoutError("No answer.")


def by_turns(raw_ask: Ask, ask: Ask, rounds: int) -> tuple[list[float], list[float]]:
    """Return the seconds of the raw client's questions, and those of the other's."""
    raw_ask(WARM_UP)
    ask(WARM_UP)
    raw_times: list[float] = []
    times: list[float] = []
    while len(times) < rounds:
        raw_times += raw_ask(BLOCK)
        times += ask(BLOCK)
    return raw_times, times


def add(run: Run, name: str, raw_times: list[float], times: list[float]) -> None:
    """Add what one turn has measured of a system, and of the raw client beside it."""
    table, row = ("at-least-once, but", f"{name}: {CHANGES[name].what}") if name in CHANGES else ("system", name)
    places = [(table, row)]
    if name == "at-least-once":
        places.append(("at-least-once, but", "as it is"))
    for which, share in (("p50", 0.5), ("p99", 0.99)):
        raw, found = 1000 * percentile(raw_times, share), 1000 * percentile(times, share)
        run.add("system", "raw", which, raw, unit="ms")
        for place in places:
            run.add(*place, which, found, unit="ms")
            run.add(*place, f"{which} of raw", found / raw)
        if name == "at-least-once":
            run.add("ratio", f"at-least-once / raw, {which}", "measured", found / raw, at_most=BARS[which])


def main(argv: list[str] | None = None) -> int:
    """Measure, show, write."""
    parser = options(__doc__, "few rounds, once")
    parser.add_argument("--rounds", type=int, metavar="N", help=f"questions per measurement, in blocks of {BLOCK}")
    parser.add_argument("--partitions", type=int, default=4)
    parser.add_argument("--changes", nargs="*", choices=list(CHANGES), metavar="C", help=f"of {list(CHANGES)}")
    args = parser.parse_args(argv)
    rounds = args.rounds or (100 if args.quick else 1000)
    repeat = args.repeat or (1 if args.quick else 5)
    changes = args.changes
    if changes is None:
        changes = ["linger.ms=5"] if args.quick else list(CHANGES)

    systems = ["at-least-once", "exactly-once", *RAW_VARIANTS, *changes]
    run = Run.begin("round_trip", argv, (*CODE, f"{CLIENT.replace('.', '/')}.py"), rounds=rounds)
    asked = 0
    with kafka(partitions=args.partitions) as broker:
        for topics in ("raw", "other"):
            broker.new_topic(f"{topics}-tasks", args.partitions)
            broker.new_topic(f"{topics}-results", args.partitions)
        for turn in range(0 if args.quick else -1, repeat):
            found = {}
            with raw(broker, "raw") as raw_ask:
                for name in random.Random(turn).sample(systems, len(systems)):  # none is always the first
                    if name in RAW_VARIANTS:
                        system = raw(broker, "other", *RAW_VARIANTS[name])
                    else:
                        delivery = "exactly-once" if name == "exactly-once" else "at-least-once"
                        system = through_worker(delivery, name if name in CHANGES else "")
                        asked += WARM_UP + -(-rounds // BLOCK) * BLOCK
                    with system as ask:
                        found[name] = by_turns(raw_ask, ask, rounds)
            for name in systems if turn >= 0 else ():
                add(run, name, *found[name])
            progress(f"{turn + 1}/{repeat} done")
        run.count("question", "of all runs", "sent", broker.end(TASKS))
        run.count("question", "of all runs", "expected", asked)
        run.count("question", "of all runs", "results", broker.messages(RESULTS))
    ours, theirs = (("system", name, "p50 of raw") for name in ("at-least-once", "FastStream"))
    run.ratio("at-least-once / FastStream, p50", ours, theirs, at_most=1)
    return finish(run, args)


if __name__ == "__main__":
    sys.exit(main())
