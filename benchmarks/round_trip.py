"""What one task costs from a client to an idle worker and back, beside the raw round trip of Kafka's own client.

In turn, several times over: the raw round trip, then the stage's own client and worker in both delivery modes. Each
client is positioned once and asks one task after another. Then FastStream as the one that answers, without any work to
do, and the worker and the client with one setting changed.

Run: python -m benchmarks.round_trip            # 1 000 rounds, 5 times
     python -m benchmarks.round_trip --quick    # 150 rounds, once
"""

import argparse
import importlib
import json
import sys
import time
import uuid
from pathlib import Path
from typing import Any

import common.kafka_clients as kafka_clients
from benchmarks.harness import (
    Kafka,
    Program,
    kafka,
    measurements,
    percentile,
    save,
    show_table,
    summary,
    wait_for_line,
)
from benchmarks.with_settings import overlay
from common.kafka_clients import RESULTS, TASKS

CLIENT = "5_task_queue.iris_classifier_cli_client_task_queue"
WORKER = "5_task_queue.iris_classifier_task_queue_worker"
RAW = "benchmarks.reference.raw_round_trip"
WARM_UP = 50  # rounds that do not count
ANSWER_SECONDS = 20.0
BARS = {"p50": 1.25, "p99": 1.5}

Settings = dict[str, Any]
# What is changed, where: the worker's producer, the worker's consumer, the client's producer, the client's reader.
SETTINGS: dict[str, tuple[str, Settings, Settings, Settings, Settings]] = {
    "as it is": ("the client's linger.ms=0, idempotence, fetch.wait.max.ms=500", {}, {}, {}, {}),
    "linger.ms=5": ("the client's producer waits for company", {}, {}, {"linger.ms": 5}, {}),
    "no idempotence": (
        "a retry may double a message",
        {"enable.idempotence": False},
        {},
        {"enable.idempotence": False},
        {},
    ),
    "read_uncommitted": (
        "the client sees aborted results as well",
        {},
        {},
        {},
        {"isolation.level": "read_uncommitted"},
    ),
    "fetch.wait.max.ms=10": (
        "empty fetches are repeated 100 times a second",
        {},
        {"fetch.wait.max.ms": 10},
        {},
        {"fetch.wait.max.ms": 10},
    ),
    "classic group": (
        "the group protocol before KIP-848",
        {},
        {"group.protocol": "classic", "partition.assignment.strategy": "cooperative-sticky"},
        {},
        {},
    ),
    "Nagle's algorithm": (
        "socket.nagle.disable=false",
        {"socket.nagle.disable": False},
        {"socket.nagle.disable": False},
        {"socket.nagle.disable": False},
        {"socket.nagle.disable": False},
    ),
}


FASTSTREAM = ("--answer-with", "benchmarks.reference.faststream_answer")


def raw(broker: Kafka, rounds: int, *arguments: str) -> dict[str, float]:
    """Return p50 and p99 of the raw round trip in milliseconds."""
    program = Program(RAW, "--servers", broker.servers, "--rounds", rounds, *arguments)
    found = json.loads(program.wait(60 + rounds))
    return {"p50": found["p50_ms"], "p99": found["p99_ms"]}


def through_worker(rounds: int, delivery: str, setting: str = "as it is") -> dict[str, float]:
    """Return p50 and p99 in milliseconds of the stage's client, asking the stage's worker."""
    _, worker_producer, worker_consumer, client_producer, client_reader = SETTINGS[setting]
    worker = Program(
        "benchmarks.with_settings",
        WORKER,
        "--delivery",
        delivery,
        settings={"BENCH_PRODUCER": json.dumps(worker_producer), "BENCH_CONSUMER": json.dumps(worker_consumer)},
    )
    try:
        wait_for_line(worker, "holds partitions 0, 1")
        times = ask(rounds, client_producer, client_reader)
    finally:
        worker.end()
    return {"p50": 1000 * percentile(times, 0.5), "p99": 1000 * percentile(times, 0.99)}


def ask(rounds: int, producer: Settings, reader: Settings) -> list[float]:
    """Return the seconds that each question has taken."""
    module: Any = importlib.import_module(CLIENT)
    module.producer_config = overlay(kafka_clients.producer_config, producer)
    module.reader_config = overlay(kafka_clients.reader_config, reader)
    times = []
    with module.TaskClient() as client:
        client.position()
        for i, measurement in enumerate(measurements(WARM_UP + rounds)):
            start = time.perf_counter()
            client.predict(measurement, str(uuid.uuid4()), ANSWER_SECONDS)
            if i >= WARM_UP:
                times.append(time.perf_counter() - start)
    return times


def main(argv: list[str] | None = None) -> int:
    """Measure, print, save."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="few rounds, once")
    parser.add_argument("--rounds", type=int, metavar="N", help="questions per measurement")
    parser.add_argument("--repeat", type=int, metavar="R", help="how many times")
    parser.add_argument("--partitions", type=int, default=4)
    parser.add_argument("--settings", nargs="*", choices=list(SETTINGS), metavar="S", help=f"of {list(SETTINGS)}")
    parser.add_argument("--out", type=Path, help="folder for round_trip.json")
    args = parser.parse_args(argv)
    rounds = args.rounds or (150 if args.quick else 1000)
    repeat = args.repeat or (1 if args.quick else 5)
    settings = args.settings
    if settings is None:
        settings = ["linger.ms=5"] if args.quick else list(SETTINGS)

    systems: dict[str, list[dict[str, float]]] = {name: [] for name in ("raw", "at-least-once", "exactly-once")}
    systems |= {f"raw, commit {how}": [] for how in ("async", "sync")} | {"FastStream": []}
    changed: dict[str, list[dict[str, float]]] = {name: [] for name in settings}
    with kafka(partitions=args.partitions) as broker:
        for topic in ("raw-tasks", "raw-results"):
            broker.new_topic(topic, args.partitions)
        for turn in range(repeat):
            systems["raw"].append(raw(broker, rounds))
            for delivery in ("at-least-once", "exactly-once"):
                systems[delivery].append(through_worker(rounds, delivery))
            for how in ("async", "sync"):
                systems[f"raw, commit {how}"].append(raw(broker, rounds, "--commit", how))
            systems["FastStream"].append(raw(broker, rounds, *FASTSTREAM))
            for name in settings:
                changed[name].append(through_worker(rounds, "at-least-once", name))
            print(f"{turn + 1}/{repeat} done", file=sys.stderr, flush=True)
        asked = (WARM_UP + rounds) * repeat * (2 + len(settings))
        answered = {"sent": broker.end(TASKS), "expected": asked, "results": broker.messages(RESULTS)}

    figures: dict[str, Any] = {
        "rounds": rounds,
        "answered": answered,
        "systems_ms": {name: columns(done) for name, done in systems.items()},
        "settings_ms": {name: columns(done) | {"what": SETTINGS[name][0]} for name, done in changed.items()},
        "ratios": {},
    }
    for delivery in ("at-least-once", "exactly-once"):
        for which, bar in BARS.items():
            pairs = [a[which] / b[which] for a, b in zip(systems[delivery], systems["raw"], strict=True)]
            figures["ratios"][f"{delivery} / raw, {which}"] = ratio = summary(pairs)
            if delivery == "at-least-once":  # a transaction is three more requests to the broker: it has no bar
                ratio |= {"bar": bar, "reached": ratio["median"] <= bar}
    pairs = [a["p50"] / b["p50"] for a, b in zip(systems["at-least-once"], systems["FastStream"], strict=True)]
    figures["ratios"]["at-least-once / FastStream, p50"] = summary(pairs) | {
        "bar": 1,
        "reached": summary(pairs)["median"] <= 1,
    }
    rows = figures["systems_ms"] | figures["settings_ms"]
    show_table(
        f"One task through an idle worker and back, ms, {rounds} rounds, medians of {repeat}",
        ["system", "p50", "p99", "p50 from", "p50 to"],
        [(name, f["p50"]["median"], f["p99"]["median"], f["p50"]["min"], f["p50"]["max"]) for name, f in rows.items()],
    )
    show_table(
        "Ratios",
        ["ratio", "measured", "bar", ""],
        [
            (name, r["median"], r.get("bar", "–"), {True: "reached", False: "not reached"}.get(r.get("reached"), ""))
            for name, r in figures["ratios"].items()
        ],
    )
    save("round_trip", argv, figures, args.out)
    return 0


def columns(done: list[dict[str, float]]) -> dict[str, Any]:
    """Return p50 and p99, each with median and spread."""
    return {which: summary([d[which] for d in done]) for which in ("p50", "p99")}


if __name__ == "__main__":
    sys.exit(main())
