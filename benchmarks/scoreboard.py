"""All stages measured the same way in one run: throughput, latency, CPU, memory, start-up, overload, sudden death.

- 1, 2 and 4 clients that each wait for their answer before they ask again, with the fast model and with a slow one;
- a backlog, for the stages whose clients need not wait;
- overload: 16 clients ask within 0.2 s, 50 ms of CPU each; stage 3 takes 4 at a time (`--limit-concurrency`);
- killed: 16 clients ask in the same way, then what does the work gets SIGKILL and is started again;
- beside them the raw limits of the same minutes, from benchmarks/reference/.

Run: python -m benchmarks.scoreboard            # 5 times (about 20 minutes)
     python -m benchmarks.scoreboard --quick    # once (under 2 minutes)
"""

import argparse
import json
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.harness import (
    Kafka,
    Measured,
    Program,
    fill,
    kafka,
    measurements,
    percentile,
    save,
    show_table,
    summary,
    tasks,
    watch,
)
from benchmarks.http_servers import server
from benchmarks.stages import Client, Http, Stage, Stage1, Stage2, Stage3, Stage4, Stage5
from benchmarks.worker_rate import measure as work_off
from common.iris_model import load_model
from common.kafka.topics import RESULTS, TASKS

CLIENTS = (1, 2, 4)
SLOW_SECONDS = 0.01  # CPU time per prediction of the slow model
CROWD = 16  # clients at overload and at sudden death
CROWD_CPU_SECONDS = 0.05
APART_SECONDS = 0.012  # from one client's question to the next one's
SERVER_LIMIT = 4  # requests at a time that stage 3 takes at overload
KILL_AFTER, START_AFTER = 0.6, 0.5  # seconds from the questions to SIGKILL, from there to the new start
ANSWER_SECONDS = 60.0  # who has no answer by then has lost it
OUTCOMES = ("answered", "refused", "lost")
STAGES: dict[str, Callable[[], Stage]] = {"1": Stage1, "2": Stage2, "3": Stage3, "4": Stage4, "5": Stage5}
RATIOS = {  # name: (stage, which rate of it, limit)
    "prompt, 1 client / bare predict, one row at a time": ("2", "fast, 1", "bare predict, one row at a time"),
    "server, 1 client / bare uvicorn, 1 client": ("3", "fast, 1", "bare uvicorn, 1 client"),
    "task queue, backlog / Kafka echo": ("5", "backlog", "Kafka echo"),
    "task queue, backlog / one by one": ("5", "backlog", "one by one"),
    "task queue, backlog / bare predict, whole array": ("5", "backlog", "bare predict, whole array"),
}
MESSAGES = {"4": lambda n: (("", m.model_dump_json().encode()) for m in measurements(n)), "5": tasks}


def closed_loop(stage: Stage, count: int, seconds: float) -> dict[str, float]:
    """Let so many clients ask, each one question after another; return rate, latencies in ms and CPU in ms."""
    clients = [stage.client() for _ in range(count)]
    try:
        for client in clients:
            if client.ask(ANSWER_SECONDS) != "answered":  # the first question finds imports and connections cold
                raise RuntimeError(f"{stage.title} does not answer.")
        times: list[float] = []
        cpu, start = stage.cpu(), time.perf_counter()
        threads = [threading.Thread(target=_ask_until, args=(c, start + seconds, times)) for c in clients]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        elapsed, cpu = time.perf_counter() - start, stage.cpu() - cpu
        return {
            "per_second": len(times) / elapsed,
            "p50_ms": 1000 * percentile(times, 0.5),
            "p99_ms": 1000 * percentile(times, 0.99),
            "cpu_ms": 1000 * cpu / len(times),
        }
    finally:
        stage.look()
        for client in clients:
            client.close()


def _ask_until(client: Client, end: float, times: list[float]) -> None:
    while (start := time.perf_counter()) < end:
        if client.ask(ANSWER_SECONDS) == "answered":
            times.append(time.perf_counter() - start)


def start_up(make: Callable[[], Stage]) -> float:
    """Return the seconds from the start of what does the work to the first answer."""
    stage = make()
    start = time.perf_counter()
    try:
        stage.start()
        client = stage.client()
        client.ask(ANSWER_SECONDS)
        seconds = time.perf_counter() - start
        client.close()
        return seconds
    finally:
        stage.stop()


def crowd(stage: Stage, *, kill: bool) -> dict[str, Any]:
    """Let many ask at almost the same moment, once each; return outcomes and the longest wait in seconds."""
    clients = [stage.client() for _ in range(CROWD)]
    outcomes: list[str] = []
    waits: list[float] = []
    gate = threading.Barrier(CROWD + 1)

    def ask(client: Client, turn: int) -> None:
        gate.wait()
        time.sleep(turn * APART_SECONDS)
        start = time.perf_counter()
        outcomes.append(client.ask(ANSWER_SECONDS))
        waits.append(time.perf_counter() - start)

    threads = [threading.Thread(target=ask, args=(client, turn)) for turn, client in enumerate(clients)]
    for thread in threads:
        thread.start()
    gate.wait()
    if kill:
        time.sleep(KILL_AFTER)
        stage.kill()
        time.sleep(START_AFTER)
        stage.start(CROWD_CPU_SECONDS)
    for thread in threads:
        thread.join()
    for client in clients:
        client.close()
    counts = Counter(outcomes)
    return {outcome: counts[outcome] for outcome in OUTCOMES} | {"asked": CROWD, "longest_s": max(waits)}


def backlog(broker: Kafka, key: str, stage: Stage, count: int, seconds: float) -> Measured:
    """Return the rate at which a worker works off what nobody waits for."""
    group = {"4": Stage4.group, "5": Stage5.group}[key]
    stage.stop()
    broker.empty(TASKS)
    broker.forget(group)
    before = broker.ends(TASKS)
    fill(broker.servers, TASKS, MESSAGES[key](count))
    stage.start()
    measured = watch(stage.programs[0], lambda: broker.committed(group, since=before), count, seconds)
    stage.stop()
    broker.empty(TASKS)
    broker.empty(RESULTS)
    broker.forget(group)
    return measured


def measure(key: str, broker: Kafka, quick: bool) -> dict[str, Any]:
    """Measure one stage once."""
    seconds = 0.7 if quick else 4.0
    make = STAGES[key]
    found: dict[str, Any] = {"start_up_s": start_up(make), "clients": {}}
    for model, cpu_seconds in (("fast", 0.0), ("slow", SLOW_SECONDS)):
        stage = make()
        stage.start(cpu_seconds)
        try:
            for count in CLIENTS:
                found["clients"][f"{model}, {count}"] = closed_loop(stage, count, seconds)
                found.setdefault("memory_mb", stage.memory_mb())  # of the first: one client
        finally:
            stage.stop()
    if key in MESSAGES:
        count = (2_000 if key == "4" else 60_000) * (1 if quick else 5)
        found["backlog"] = backlog(broker, key, make(), count, seconds * 2).rate
    for name in ("overload", "killed"):
        stage = Stage3(SERVER_LIMIT) if key == "3" and name == "overload" else make()
        stage.start(CROWD_CPU_SECONDS)
        try:
            found[name] = crowd(stage, kill=name == "killed")
        finally:
            stage.stop()
    return found


def limits(broker: Kafka, quick: bool) -> dict[str, float]:
    """Return the rates, per second, of what no stage can be faster than, and of one task at a time."""
    seconds, count = (0.7, 60_000) if quick else (4.0, 300_000)
    predict = json.loads(Program("benchmarks.reference.bare_predict", "--rows", count).wait(ANSWER_SECONDS))
    with server("bare uvicorn", "benchmarks.reference.bare_uvicorn:app") as bare:
        client, times = Http(int(bare.url.rpartition(":")[2]), keep=True), []
        start = time.perf_counter()
        _ask_until(client, start + seconds, times)
        answered = len(times) / (time.perf_counter() - start)
        client.close()
    broker.empty(TASKS)
    before = broker.ends(TASKS)
    fill(broker.servers, TASKS, tasks(count))
    echo, one_by_one = (
        work_off(broker, name, count, 2 * seconds, since=before).rate for name in ("echo", "one-by-one")
    )
    return {
        "bare predict, one row at a time": float(predict["single_rate"]),
        "bare predict, whole array": float(predict["rate"]),
        "bare uvicorn, 1 client": answered,
        "Kafka echo": echo,
        "one by one": one_by_one,
    }


def ratios(stages: dict[str, list[dict[str, Any]]], limit: list[dict[str, float]]) -> dict[str, dict[str, float]]:
    """Return what the stages reach of the limits: ratios of rates that were measured in the same turn."""
    found = {}
    for name, (key, which, of) in RATIOS.items():
        runs = stages.get(key, [])
        rates = [run[which] if which == "backlog" else run["clients"][which]["per_second"] for run in runs]
        if rates:
            found[name] = summary([rate / raw[of] for rate, raw in zip(rates, limit, strict=True)])
    return found


def merge(runs: list[dict[str, Any]]) -> dict[str, Any]:
    """Return medians and spread where there are numbers to compare; counts are added up."""
    merged: dict[str, Any] = {}
    for name, value in runs[0].items():
        values = [run[name] for run in runs]
        if isinstance(value, dict):
            merged[name] = merge(values)
        elif isinstance(value, int):
            merged[name] = sum(values)
        else:
            merged[name] = summary(values)
    return merged


def show(stages: dict[str, dict[str, Any]], repeat: int) -> None:
    """Print the tables."""
    loops = {
        key: {m: [s["clients"][f"{m}, {c}"] for c in CLIENTS] for m in ("fast", "slow")} for key, s in stages.items()
    }
    rate = [
        (
            stage["title"],
            *(loop["per_second"]["median"] for model in ("fast", "slow") for loop in loops[key][model]),
            stage["backlog"]["median"] if "backlog" in stage else None,
        )
        for key, stage in stages.items()
    ]
    columns = [f"{model} {count}" for model in ("fast", "slow") for count in CLIENTS]
    show_table(f"predictions/s by model and clients, medians of {repeat}", ["stage", *columns, "backlog"], rate)
    cost = [
        (
            stage["title"],
            *(loops[key][model][0][which]["median"] for model in ("fast", "slow") for which in ("p50_ms", "p99_ms")),
            loops[key]["fast"][0]["cpu_ms"]["median"],
            stage["memory_mb"]["median"],
            stage["start_up_s"]["median"],
        )
        for key, stage in stages.items()
    ]
    columns = ["fast p50 ms", "p99", "slow p50 ms", "p99", "CPU ms", "memory MB", "start-up s"]
    show_table(f"one client, medians of {repeat}", ["stage", *columns], cost)
    for name in ("overload", "killed"):
        rows = [
            (s["title"], *(str(s[name][o]) for o in ("asked", *OUTCOMES)), s[name]["longest_s"]["median"])
            for s in stages.values()
        ]
        show_table(name, ["stage", "asked", *OUTCOMES, "longest wait s"], rows)


def show_limits(figures: dict[str, Any]) -> None:
    """Print the limits and what is reached of them."""
    show_table("raw limits", ["reference", "per second"], [(n, f["median"]) for n, f in figures["limits"].items()])
    show_table("ratios", ["ratio", "median"], [(name, found["median"]) for name, found in figures["ratios"].items()])


def main(argv: list[str] | None = None) -> int:
    """Measure, print, save, draw."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="short windows, once")
    parser.add_argument("--repeat", type=int, metavar="R", help="how many times")
    parser.add_argument("--stages", nargs="+", choices=list(STAGES), default=list(STAGES), help="these stages")
    parser.add_argument("--out", type=Path, help="folder for scoreboard.json and the plots")
    args = parser.parse_args(argv)
    repeat = args.repeat or (1 if args.quick else 5)

    load_model()  # trains where there is no model yet
    runs: dict[str, list[dict[str, Any]]] = {key: [] for key in args.stages}
    raw: list[dict[str, float]] = []
    for turn in range(repeat):
        with kafka(partitions=1) as broker:
            for key in args.stages:
                if key == "5":
                    broker.create_topics(4)
                runs[key].append(measure(key, broker, args.quick))
                print(f"{turn + 1}/{repeat} stage {key}", file=sys.stderr, flush=True)
            raw.append(limits(broker, args.quick))
            print(f"{turn + 1}/{repeat} limits", file=sys.stderr, flush=True)
    stages = {key: {"title": STAGES[key]().title} | merge(found) for key, found in runs.items()}
    show(stages, repeat)
    figures: dict[str, Any] = {"slow_model_cpu_seconds": SLOW_SECONDS, "server_limit": SERVER_LIMIT, "stages": stages}
    figures |= {"limits": merge(raw), "ratios": ratios(runs, raw)}
    show_limits(figures)
    save("scoreboard", argv, figures, args.out)

    from benchmarks.plots import draw_all

    for path in draw_all(args.out):
        print(f"Drawn: {path.name}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
