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

import httpx2

from benchmarks.command import finish, options
from benchmarks.http_servers import MODEL, server
from benchmarks.records import Run, percentile
from common.iris_dto import FEATURES
from common.terminal import run

CODE = ("3_client_server/services", "common/web", "common/iris_codec.py", "common/iris_model")
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


async def load(url: str, clients: int, seconds: float) -> tuple[list[float], list[float], float]:
    """Let so many clients ask for so long; return the latencies, when refusals came, and the seconds it has taken."""
    latencies: list[float] = []
    refusals: list[float] = []
    started = time.monotonic()
    limits = httpx2.Limits(max_connections=clients)
    async with httpx2.AsyncClient(base_url=url, timeout=ANSWER_SECONDS, limits=limits) as client:
        end = started + seconds
        await asyncio.gather(*(ask(client, end, latencies, refusals) for _ in range(clients)))
    return latencies, refusals, time.monotonic() - started


def sweep(found: Run, limits: dict[str, int], cpu_seconds: float, seconds: float) -> None:
    """Measure each limit (0 is none) with each number of clients.

    The servers take turns, so that what else the machine does hits all of them; one that nobody asks costs nothing.
    """
    with ExitStack() as stack:
        services = {}
        for name, limit in limits.items():
            settings = {"IRIS_MAX_IN_FLIGHT": str(limit), "IRIS_SIMULATED_CPU_SECONDS": str(cpu_seconds)}
            services[name] = stack.enter_context(server(name, MODEL.app, MODEL.options, **settings))
            asyncio.run(load(services[name].url, 1, WARM_UP_SECONDS))
        for clients in CLIENTS:
            for name, service in services.items():
                latencies, refusals, passed = asyncio.run(load(service.url, clients, seconds))
                row = f"{clients} client{'s' * (clients > 1)}"
                found.add(name, row, "predictions/s", len(latencies) / passed)
                for column, share in (("p50", 0.5), ("p99", 0.99)):
                    found.add(name, row, column, 1000 * percentile(latencies, share), unit="ms")
                found.add(name, row, "refused/s", len(refusals) / passed)


def main(argv: list[str] | None = None) -> int:
    """Sweep without and with a limit; show, write and draw what was seen."""
    parser = options(__doc__, "steps of one second")
    parser.add_argument("--cpu-seconds", type=positive, default=0.02, help="CPU time of a prediction (%(default)s)")
    parser.add_argument("--limit", type=at_least_one, default=2, help="predictions at once (%(default)s)")
    parser.add_argument("--seconds", type=positive, default=5.0, help="duration of each step (%(default)s)")
    args = parser.parse_args(argv)
    settings = {"cpu_seconds": args.cpu_seconds, "limit": args.limit, "seconds": 1.0 if args.quick else args.seconds}
    found = Run.begin("overload", argv, CODE, **settings)
    for _ in range(args.repeat or 1):
        sweep(found, {"no limit": 0, f"limit {args.limit}": args.limit}, args.cpu_seconds, settings["seconds"])
    return finish(found, args)


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
