"""How fast one worker process is, beside what Kafka's own client can do and beside one task at a time.

One backlog of tasks is in the broker. In turn, several times over, each program works it off in one process. How much
is done is read from the broker: the committed offsets of the program's group, the same for all. The rate is that
between 10 % and 90 % of the backlog; a slow program is stopped after some seconds.

Run: python -m benchmarks.worker_rate            # 1 000 000 tasks, 5 times
     python -m benchmarks.worker_rate --quick    # 100 000 tasks, once
"""

import sys
from collections.abc import Sequence

from benchmarks.broker import Kafka, fill, kafka, tasks
from benchmarks.command import finish, options, progress
from benchmarks.records import Run
from benchmarks.watching import Measured, Work, watch
from common.kafka.topics import RESULTS, TASKS

WORKER = "5_task_queue.iris_classifier_task_queue_worker"
WORKER_GROUP = "iris-task-queue-workers"
CODE = ("5_task_queue/iris_classifier_task_queue_worker.py", "5_task_queue/worker", "common/kafka", "common/iris_model")
PROGRAMS: dict[str, tuple[str, str, list[str]]] = {  # name: module, group, arguments
    "echo": ("benchmarks.reference.kafka_echo", "reference-echo", []),
    "at-least-once": (WORKER, WORKER_GROUP, ["--delivery", "at-least-once"]),
    "exactly-once": (WORKER, WORKER_GROUP, ["--delivery", "exactly-once"]),
    "max-batch-1": (WORKER, WORKER_GROUP, ["--max-batch", "1"]),
    "one-by-one": ("benchmarks.reference.one_by_one", "reference-one-by-one", []),
}
BARS = (("at-least-once", "echo", 0.4), ("exactly-once", "echo", 0.3))  # of, to, at least
BARS += (("at-least-once", "one-by-one", 100), ("max-batch-1", "one-by-one", 1))
MEMORY_BAR_MB = 250


def measure(
    broker: Kafka,
    name: str,
    total: int,
    seconds: float,
    extra: Sequence[str] = (),
    since: dict[int, int] | None = None,
) -> Work:
    """Let one program work on the backlog from its beginning and return its steady rate.

    `since` has the offset per partition at which the backlog begins, where that is not 0.
    """
    module, group, arguments = PROGRAMS[name]
    if module != WORKER:
        arguments = [*arguments, "--servers", broker.servers, "--group", group, "--count", str(total)]
    broker.forget(group)
    with Measured(module, *arguments, *extra) as program:
        work = watch(program, lambda: broker.committed(group, since=since), total, seconds, broker)
    broker.empty(RESULTS)
    return work


def main(argv: list[str] | None = None) -> int:
    """Measure, show, write."""
    parser = options(__doc__, "a small backlog, once")
    parser.add_argument("--tasks", type=int, metavar="N", help="size of the backlog")
    parser.add_argument("--seconds", type=float, metavar="S", help="longest window of a program")
    parser.add_argument("--partitions", type=int, default=4)
    parser.add_argument("--only", nargs="+", choices=list(PROGRAMS), default=list(PROGRAMS), help="these programs")
    parser.add_argument("--worker-args", default="", help="more arguments for the worker, in one string")
    parser.add_argument("--echo-args", default="", help="more arguments for the echo, in one string")
    args = parser.parse_args(argv)
    total = args.tasks or (100_000 if args.quick else 1_000_000)
    repeat = args.repeat or (1 if args.quick else 5)
    seconds = args.seconds or (2.0 if args.quick else 8.0)
    more = {WORKER: args.worker_args.split(), PROGRAMS["echo"][0]: args.echo_args.split()}

    run = Run.begin("worker_rate", argv, CODE, tasks=total, partitions=args.partitions)
    with kafka(partitions=args.partitions) as broker:
        fill(broker.servers, TASKS, tasks(total))
        for turn in range(repeat):
            for name in args.only:
                work = measure(broker, name, total, seconds, more.get(PROGRAMS[name][0], []))
                run.add("program", name, "rate", work.rate, unit="tasks/s")
                run.add("program", name, "CPU", work.cpu_us, unit="µs/task")
                run.add("program", name, "broker's CPU", work.broker_us, unit="µs/task")
                memory_bar = {"at_most": MEMORY_BAR_MB} if PROGRAMS[name][0] == WORKER else {}
                run.add("program", name, "greatest memory", work.peak_mb, unit="MB", **memory_bar)
                progress(f"{turn + 1}/{repeat} {name}: {work.rate:,.0f} tasks/s")
    for of, to, bar in BARS:
        run.ratio(f"{of} / {to}", ("program", of, "rate"), ("program", to, "rate"), at_least=bar)
    return finish(run, args)


if __name__ == "__main__":
    sys.exit(main())
