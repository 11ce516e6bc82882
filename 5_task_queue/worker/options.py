"""The command line of the worker."""

from dataclasses import dataclass

from common.terminal import ArgumentParser


@dataclass(frozen=True)
class Options:
    """What the worker was told at its start."""

    delivery: str = "at-least-once"
    max_batch: int = 10_000  # tasks
    task_seconds: float = 60.0
    slot: int | None = None  # None: the first free one


def parse_options(doc: str | None, argv: list[str] | None) -> Options:
    """Return the options in `argv`, or end the program with one line and exit code 2."""
    parser = ArgumentParser(doc, "kafka_bootstrap_servers", "model_path", "simulated_cpu_seconds", "worker_name")
    parser.add_argument("--delivery", choices=["at-least-once", "exactly-once"], default=Options.delivery)
    parser.add_argument(
        "--max-batch", type=int, default=Options.max_batch, metavar="N", help="most tasks to take at once"
    )
    parser.add_argument(
        "--task-seconds", type=float, default=Options.task_seconds, metavar="S", help="longest time for one task"
    )
    parser.add_argument("--slot", type=int, metavar="N", help="this worker's number (default: the first free one)")
    args = parser.parse_args(argv)
    if args.max_batch < 1:
        parser.error(f"--max-batch: {args.max_batch} is not a number above 0")
    return Options(**vars(args))
