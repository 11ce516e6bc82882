"""What overload does to a CPU-bound server, with a limit on what it takes at once and without.

    $ python -m benchmarks.overload            # about a minute; a table, and a plot where matplotlib is installed
    $ python -m benchmarks.overload --cpu-seconds 0.05 --limit 2

The model service burns CPU time for each prediction. More and more clients ask, each one question after the other; a
client that is refused comes again when it is told to (Retry-After). Without a limit, everybody waits: past the point
where the CPU is busy, each further client only adds to the latency. With a limit, those who are let in are served in
time, and the others are told at once. Neither makes the server faster.
"""

import argparse
import asyncio
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx2
from rich.console import Console
from rich.table import Table

from benchmarks.http_servers import MODEL, RESULTS, circumstances, server, write_json
from common.iris_dto import FEATURES
from common.terminal import ArgumentParser, run

CLIENTS = (1, 2, 4, 8, 16)
BODY = {"input": dict(zip(FEATURES, (5.1, 3.5, 1.4, 0.2), strict=True))}
WARM_UP_SECONDS = 0.5
ANSWER_SECONDS = 60.0  # longest wait for an answer


async def ask(client: httpx2.AsyncClient, end: float, latencies: list[float], refusals: list[float]) -> None:
    """Ask one question after the other until the end (monotonic seconds)."""
    while (started := time.monotonic()) < end:
        response = await client.post("/predict", json=BODY)
        if response.status_code == 503:
            refusals.append(started)
            wait = float(response.headers["retry-after"])
            await asyncio.sleep(max(0.0, min(wait, end - time.monotonic())))
        else:
            response.raise_for_status()
            latencies.append(time.monotonic() - started)


async def load(url: str, clients: int, seconds: float) -> dict[str, float]:
    """Let so many clients ask for so long; return predictions per second, latencies in ms, and refusals per second."""
    latencies: list[float] = []
    refusals: list[float] = []
    started = time.monotonic()
    limits = httpx2.Limits(max_connections=clients)
    async with httpx2.AsyncClient(base_url=url, timeout=ANSWER_SECONDS, limits=limits) as client:
        end = started + seconds
        await asyncio.gather(*(ask(client, end, latencies, refusals) for _ in range(clients)))
    passed = time.monotonic() - started
    ordered = sorted(latencies) or [float("nan")]
    return {
        "clients": clients,
        "predictions_per_second": round(len(latencies) / passed, 1),
        "p50_ms": round(1000 * ordered[len(ordered) // 2], 1),
        "p99_ms": round(1000 * ordered[min(len(ordered) - 1, int(len(ordered) * 0.99))], 1),
        "refusals_per_second": round(len(refusals) / passed, 1),
    }


def sweep(limits: dict[str, int], cpu_seconds: float, seconds: float) -> dict[str, list[dict[str, float]]]:
    """Return the figures of each limit (0 is none) for each number of clients.

    The servers take turns, so that what else the machine does hits all of them; one that nobody asks costs nothing.
    """
    result: dict[str, list[dict[str, float]]] = {name: [] for name in limits}
    with ExitStack() as stack:
        services = {}
        for name, limit in limits.items():
            settings = {"IRIS_MAX_IN_FLIGHT": str(limit), "IRIS_SIMULATED_CPU_SECONDS": str(cpu_seconds)}
            services[name] = stack.enter_context(server(name, MODEL.app, MODEL.options, **settings))
            asyncio.run(load(services[name].url, 1, WARM_UP_SECONDS))
        for clients in CLIENTS:
            for name, service in services.items():
                result[name].append(asyncio.run(load(service.url, clients, seconds)))
    return result


def show(result: dict[str, list[dict[str, float]]], console: Console) -> None:
    """Print a table for each sweep."""
    for name, steps in result.items():
        table = Table(title=name)
        for column in ("clients", "predictions/s", "p50, ms", "p99, ms", "refused/s"):
            table.add_column(column, justify="right")
        for step in steps:
            table.add_row(*(f"{value:g}" for value in step.values()))
        console.print(table)


def plot(result: dict[str, list[dict[str, float]]], path: Path) -> None:
    """Draw throughput and latency over the number of clients."""
    import matplotlib

    matplotlib.use("svg")
    matplotlib.rcParams["svg.hashsalt"] = "iris"  # the same figures give the same file
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(1, 3, figsize=(12, 3.6), layout="constrained")
    for (name, steps), style in zip(result.items(), ("o-", "s--"), strict=True):
        clients = [step["clients"] for step in steps]
        for axis, key in zip(axes, ("predictions_per_second", "p99_ms", "refusals_per_second"), strict=True):
            axis.plot(clients, [step[key] for step in steps], style, label=name)
    titles = ("predictions per second", "p99 of the predictions, ms", "refusals per second")
    for axis, title in zip(axes, titles, strict=True):
        axis.set(title=title, xlabel="clients", xscale="log", ylim=(0, None))
        axis.set_xticks(CLIENTS, [str(count) for count in CLIENTS])
        axis.minorticks_off()
        axis.grid(alpha=0.3)
    axes[0].legend()
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, metadata={"Date": None})
    pyplot.close(figure)


def main(argv: list[str] | None = None) -> int:
    """Sweep without and with a limit; show, draw and write what was seen."""
    parser = ArgumentParser(__doc__)
    parser.add_argument("--cpu-seconds", type=positive, default=0.02, help="CPU time of a prediction (%(default)s)")
    parser.add_argument("--limit", type=at_least_one, default=2, help="predictions at once (%(default)s)")
    parser.add_argument("--seconds", type=positive, default=5.0, help="duration of each step (%(default)s)")
    parser.add_argument("--quick", action="store_true", help="steps of one second, nothing is written")
    args = parser.parse_args(argv)
    console = Console()
    seconds = 1.0 if args.quick else args.seconds
    result = sweep({"no limit": 0, f"limit {args.limit}": args.limit}, args.cpu_seconds, seconds)
    show(result, console)
    if args.quick:
        return 0
    settings: dict[str, Any] = {"cpu_seconds": args.cpu_seconds, "limit": args.limit, "seconds": seconds}
    console.print(f"written to {write_json('overload.json', circumstances() | settings | {'sweeps': result})}")
    try:
        plot(result, RESULTS / "overload.svg")
        console.print(f"drawn in {RESULTS / 'overload.svg'}")
    except ImportError:
        console.print("No plot: matplotlib is missing. Install it with: pip install -e '.[bench]'")
    return 0


def at_least_one(text: str) -> int:
    """Return a limit, or raise what argparse tells the user."""
    if text.isascii() and text.isdigit() and int(text) > 0:
        return int(text)
    raise argparse.ArgumentTypeError(f"{text!r} is not a whole number above 0")


def positive(text: str) -> float:
    """Return a number of seconds, or raise what argparse tells the user."""
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if 0 < value <= 3600:
        return value
    raise argparse.ArgumentTypeError(f"{text!r} is not a number of seconds above 0")


if __name__ == "__main__":
    run(main)
