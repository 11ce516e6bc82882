"""All stages measured the same way in one run: throughput, latency, CPU, memory, start-up, overload, sudden death.

- 1, 2 and 4 clients that each wait for their answer before they ask again, with the fast model and with a slow one;
- a backlog, for the stages whose clients need not wait;
- overload: 16 clients ask within 0.2 s, 50 ms of CPU each; stage 3 takes 4 at a time (`--limit-concurrency`);
- killed: 16 clients ask in the same way, then what does the work gets SIGKILL and is started again;
- beside them the raw limits of the same minutes, from benchmarks/reference/.

Run: python -m benchmarks.scoreboard            # 5 times (about 20 minutes)
     python -m benchmarks.scoreboard --quick    # once (under 2 minutes)
"""

import json
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from functools import partial

from benchmarks.broker import Kafka, fill, kafka, measurements, tasks
from benchmarks.command import finish, options, progress
from benchmarks.http_servers import server
from benchmarks.records import Place, Run, percentile
from benchmarks.stages import Ask, Stage, Stage1, Stage2, Stage3, Stage4, Stage5, http_client
from benchmarks.watching import Measured, Work, watch
from benchmarks.worker_rate import measure as work_off
from common.iris_model import load_model
from common.kafka.topics import RESULTS, TASKS

CODE = (
    *("1_monolith_cli", "2_monolith_user_input_loop", "3_client_server/iris_classifier_rest_server.py"),
    *("4_message_queue", "5_task_queue", "common"),
)
CLIENTS = {1: "1 client", 2: "2 clients", 4: "4 clients"}
SLOW_SECONDS = 0.01  # CPU time per prediction of the slow model
MODELS = {"fast model": 0.0, "slow model": SLOW_SECONDS}
CROWD = 16  # clients at overload and at sudden death
CROWD_CPU_SECONDS = 0.05
APART_SECONDS = 0.012  # from one client's question to the next one's
SERVER_LIMIT = 4  # requests at a time that stage 3 takes at overload
KILL_AFTER, START_AFTER = 0.6, 0.5  # seconds from the questions to SIGKILL, from there to the new start
ANSWER_SECONDS = 60.0  # who has no answer by then has lost it
OUTCOMES = ("answered", "refused", "lost")
STAGES: dict[str, Callable[[], Stage]] = {"1": Stage1, "2": Stage2, "3": Stage3, "4": Stage4, "5": Stage5}
RATES = "predictions per second"
TASK_QUEUE, BACKLOG = Stage5.title, "fast model, backlog"
RATIOS = {  # name: what of a stage, limit
    "prompt, 1 client / bare predict, one row at a time": (
        (Stage2.title, "fast model, 1 client"),
        "bare predict, one row at a time",
    ),
    "server, 1 client / bare uvicorn, 1 client": ((Stage3.title, "fast model, 1 client"), "bare uvicorn, 1 client"),
    "task queue, backlog / Kafka echo": ((TASK_QUEUE, BACKLOG), "Kafka echo"),
    "task queue, backlog / one by one": ((TASK_QUEUE, BACKLOG), "one by one"),
    "task queue, backlog / bare predict, whole array": ((TASK_QUEUE, BACKLOG), "bare predict, whole array"),
}
MESSAGES = {"4": lambda n: (("", m.model_dump_json().encode()) for m in measurements(n)), "5": tasks}


def closed_loop(stage: Stage, count: int, seconds: float) -> dict[str, float]:
    """Let so many clients ask, each one question after another; return rate, latencies in ms and CPU in ms."""
    with ExitStack() as stack:
        clients = [stack.enter_context(stage.client()) for _ in range(count)]
        for ask in clients:
            if ask(ANSWER_SECONDS) != "answered":  # the first question finds imports and connections cold
                raise RuntimeError(f"{stage.title} does not answer.")
        times: list[float] = []
        cpu, start = stage.cpu(), time.perf_counter()
        _at_once([partial(_ask_until, ask, start + seconds, times) for ask in clients])
        elapsed, cpu = time.perf_counter() - start, stage.cpu() - cpu
    return {
        "per_second": len(times) / elapsed,
        "p50": 1000 * percentile(times, 0.5),
        "p99": 1000 * percentile(times, 0.99),
        "CPU": 1000 * cpu / len(times),
    }


def _ask_until(ask: Ask, end: float, times: list[float]) -> None:
    while (start := time.perf_counter()) < end:
        if ask(ANSWER_SECONDS) == "answered":
            times.append(time.perf_counter() - start)


def _at_once(parts: Sequence[Callable[[], None]], meanwhile: Callable[[], None] = lambda: None) -> None:
    """Run parts in threads of their own, and something else beside them, until all have ended."""
    threads = [threading.Thread(target=part) for part in parts]
    for thread in threads:
        thread.start()
    meanwhile()
    for thread in threads:
        thread.join()


def start_up(make: Callable[[], Stage]) -> float:
    """Return the seconds from the start of what does the work to the first answer."""
    stage = make()
    start = time.perf_counter()
    try:
        stage.start()
        with stage.client() as ask:
            ask(ANSWER_SECONDS)
            return time.perf_counter() - start
    finally:
        stage.stop()


def crowd(stage: Stage, *, kill: bool) -> tuple[Counter[str], float]:
    """Let many ask at almost the same moment, once each; return outcomes and the longest wait in seconds."""
    outcomes: list[str] = []
    waits: list[float] = []
    gate = threading.Barrier(CROWD + 1)

    def ask_once(ask: Ask, turn: int) -> None:
        gate.wait()
        time.sleep(turn * APART_SECONDS)
        start = time.perf_counter()
        outcomes.append(ask(ANSWER_SECONDS))
        waits.append(time.perf_counter() - start)

    def strike() -> None:
        gate.wait()
        if kill:
            time.sleep(KILL_AFTER)
            stage.kill()
            time.sleep(START_AFTER)
            stage.start(CROWD_CPU_SECONDS)

    with ExitStack() as stack:
        clients = [stack.enter_context(stage.client()) for _ in range(CROWD)]
        _at_once([partial(ask_once, ask, turn) for turn, ask in enumerate(clients)], strike)
    return Counter(outcomes), max(waits)


def backlog(broker: Kafka, key: str, stage: Stage, count: int, seconds: float) -> Work:
    """Return the rate at which a worker works off what nobody waits for."""
    group = {"4": Stage4.group, "5": Stage5.group}[key]
    stage.stop()
    broker.empty(TASKS)
    broker.forget(group)
    before = broker.ends(TASKS)
    fill(broker.servers, TASKS, MESSAGES[key](count))
    stage.start()
    work = watch(stage.programs[0], lambda: broker.committed(group, since=before), count, seconds)
    stage.stop()
    broker.empty(TASKS)
    broker.empty(RESULTS)
    broker.forget(group)
    return work


def measure(run: Run, key: str, broker: Kafka, quick: bool) -> None:
    """Measure one stage once."""
    make = STAGES[key]
    title = make().title
    for model, cpu_seconds in MODELS.items():
        stage = make()
        stage.start(cpu_seconds)
        try:
            for count, clients in CLIENTS.items():
                found = closed_loop(stage, count, 0.3 if quick else 4.0)
                run.add(RATES, title, f"{model}, {clients}", found.pop("per_second"))
                table, row = ("one client", title) if count == 1 else ("more clients", f"{title}, {clients}")
                for what, ms in found.items():
                    run.add(table, row, f"{model}, {what}", ms, unit="ms")
                if count == 1 and not cpu_seconds:
                    run.add("one client", title, "memory", stage.memory_mb(), unit="MB")
        finally:
            stage.stop()
    run.add("one client", title, "start-up", start_up(make), unit="s")
    if key in MESSAGES:
        count = (10_000 if key == "4" else 300_000) // (10 if quick else 1)
        run.add(RATES, title, BACKLOG, backlog(broker, key, make(), count, 0.7 if quick else 8.0).rate)
    for name in ("overload", "killed"):
        stage = Stage3(SERVER_LIMIT) if key == "3" and name == "overload" else make()
        stage.start(CROWD_CPU_SECONDS)
        try:
            outcomes, longest = crowd(stage, kill=name == "killed")
        finally:
            stage.stop()
        run.count(name, title, "asked", CROWD)
        for outcome in OUTCOMES:
            run.count(name, title, outcome, outcomes[outcome])
        run.add(name, title, "longest wait", longest, unit="s")


def limits(run: Run, broker: Kafka, quick: bool) -> None:
    """Measure the rates, per second, of what no stage can be faster than, and of one task at a time."""
    seconds, count = (0.4, 30_000) if quick else (4.0, 300_000)
    with Measured("benchmarks.reference.bare_predict", "--rows", count) as program:
        predict = json.loads(program.finish(ANSWER_SECONDS)[0])
    run.add(*_limit("bare predict, one row at a time"), float(predict["single_rate"]))
    run.add(*_limit("bare predict, whole array"), float(predict["rate"]))
    bare = server("bare uvicorn", "benchmarks.reference.bare_uvicorn:app")
    with bare as running, http_client(running.port, keep=True) as ask:
        times, start = [], time.perf_counter()
        _ask_until(ask, start + seconds, times)
        run.add(*_limit("bare uvicorn, 1 client"), len(times) / (time.perf_counter() - start))
    broker.empty(TASKS)
    before = broker.ends(TASKS)
    fill(broker.servers, TASKS, tasks(count))
    for limit, program in (("Kafka echo", "echo"), ("one by one", "one-by-one")):
        run.add(*_limit(limit), work_off(broker, program, count, 2 * seconds, since=before).rate)


def _limit(name: str) -> Place:
    return "limit", name, "per second"


def main(argv: list[str] | None = None) -> int:
    """Measure, show, write, draw."""
    parser = options(__doc__, "short windows, once")
    parser.add_argument("--stages", nargs="+", choices=list(STAGES), default=list(STAGES), help="these stages")
    args = parser.parse_args(argv)
    repeat = args.repeat or (1 if args.quick else 5)
    load_model()  # trains where there is no model yet
    run = Run.begin("scoreboard", argv, CODE, slow_model_cpu_seconds=SLOW_SECONDS, server_limit=SERVER_LIMIT)
    for turn in range(repeat):
        with kafka(partitions=1) as broker:
            for key in args.stages:
                if key == "5":
                    broker.create_topics(4)
                measure(run, key, broker, args.quick)
                progress(f"{turn + 1}/{repeat} stage {key}")
            limits(run, broker, args.quick)
            progress(f"{turn + 1}/{repeat} limits")
    for name, (of, limit) in RATIOS.items():
        run.ratio(name, (RATES, *of), _limit(limit))
    return finish(run, args)


if __name__ == "__main__":
    sys.exit(main())
