"""How fast are stage 3's services, beside two references that never change? All in one run, with wrk.

    $ python -m benchmarks.services            # about five minutes
    $ python -m benchmarks.services --quick    # one, for a first look

One uvicorn process each, one measurement per request, 1, 8 and 64 connections. The servers take turns in every round,
so that what else the machine does hits all of them; the figures are medians over the rounds. Our services write their
logs (to nowhere), the references write none.
"""

import json
import shutil
import subprocess
import tempfile
from collections.abc import Iterable
from contextlib import ExitStack
from statistics import median
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks.http_servers import GATEWAY, MODEL, Server, circumstances, server, write_json
from common.errors import ProgramError
from common.iris_dto import FEATURES
from common.terminal import ArgumentParser, run

CONNECTIONS = (1, 8, 64)
MANY = 1000  # measurements in the large request
FLOWER = dict(zip(FEATURES, (5.1, 3.5, 1.4, 0.2), strict=True))
REPORT = """
done = function(summary, latency, requests)
  local e = summary.errors
  io.write(string.format('{"requests": %d, "microseconds": %d, "p50": %f, "p99": %f, "errors": %d}',
    summary.requests, summary.duration, latency:percentile(50), latency:percentile(99),
    e.connect + e.read + e.write + e.status + e.timeout))
end
"""


def load(url: str, body: Any, connections: int, seconds: int) -> dict[str, float]:
    """Return the rate (requests/s), p50 and p99 (ms) that wrk measures.

    Raises:
        ProgramError: an answer was not 200, or a connection failed.
    """
    with tempfile.NamedTemporaryFile("w", suffix=".lua", encoding="utf-8") as script:
        script.write(f"wrk.method = 'POST'\nwrk.headers['Content-Type'] = 'application/json'\n{REPORT}")
        script.write(f"wrk.body = [[{json.dumps(body)}]]\n")
        script.flush()
        command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "-s", script.name, url]
        output = subprocess.run(command, capture_output=True, check=True, encoding="utf-8", timeout=seconds + 30).stdout
    report = json.loads(output[output.rindex("{") :])
    if report["errors"]:
        raise ProgramError(f"{url}: {report['errors']:.0f} of {report['requests']} requests failed.")
    rate = report["requests"] / report["microseconds"] * 1e6
    return {"rate": rate, "p50_ms": report["p50"] / 1e3, "p99_ms": report["p99"] / 1e3}


def medians(samples: Iterable[dict[str, float]]) -> dict[str, float]:
    """Return the median of each figure."""
    several = list(samples)
    return {key: round(median(sample[key] for sample in several), 3) for key in several[0]}


def measure(rounds: int, seconds: int, console: Console) -> dict[str, Any]:
    """Start all servers, load them in turns, and return the figures."""
    with ExitStack() as stack:
        bare = stack.enter_context(server("bare uvicorn", "benchmarks.reference.bare_uvicorn:app"))
        plain = stack.enter_context(server("plain FastAPI", "benchmarks.reference.fastapi_plain:app"))
        model = stack.enter_context(server("model service", MODEL.app, MODEL.options))
        gateway = stack.enter_context(server("gateway", GATEWAY.app, GATEWAY.options, IRIS_MODEL_URL=model.url))
        targets: list[tuple[Server, str, Any]] = [
            (bare, "/predict", FLOWER),
            (plain, "/predict", FLOWER),
            (model, "/predict", {"input": FLOWER}),
            (gateway, "/process", {"data": FLOWER}),
        ]
        large = [(model, "/predict", {"input": [FLOWER] * MANY}), (gateway, "/process", {"data": [FLOWER] * MANY})]
        samples: dict[tuple[str, int], list[dict[str, float]]] = {}
        many: dict[str, list[dict[str, float]]] = {}
        for number in range(-1, rounds):
            console.print(f"round {number + 1} of {rounds}" if number >= 0 else "warming up")
            for one, path, body in targets:
                for connections in CONNECTIONS:
                    sample = load(one.url + path, body, connections, seconds if number >= 0 else 1)
                    if number >= 0:
                        samples.setdefault((one.name, connections), []).append(sample)
            for one, path, body in large:
                many.setdefault(one.name, []).append(load(one.url + path, body, 1, seconds))
        memory = {one.name: round(one.memory_mb(), 1) for one, _, _ in targets}
    figures = {
        one.name: {str(count): medians(samples[one.name, count]) for count in CONNECTIONS} for one, _, _ in targets
    }
    return {
        "figures": figures,
        "memory_mb": memory,
        "times_the_reference": {
            str(count): round(
                median(
                    ours["rate"] / theirs["rate"]
                    for ours, theirs in zip(samples[model.name, count], samples[plain.name, count], strict=True)
                ),
                2,
            )
            for count in CONNECTIONS
        },
        "gateway_adds": {
            str(count): round(
                median(
                    through["p50_ms"] / direct["p50_ms"] - 1
                    for through, direct in zip(samples[gateway.name, count], samples[model.name, count], strict=True)
                ),
                2,
            )
            for count in CONNECTIONS
        },
        "many_measurements": {
            name: medians(several) | {"times_one": round(medians(several)["p50_ms"] / figures[name]["1"]["p50_ms"], 1)}
            for name, several in many.items()
        },
    }


def show(result: dict[str, Any], console: Console) -> None:
    """Print the figures as tables."""
    table = Table(title="requests/s, p50 and p99 in ms")
    table.add_column("server")
    for count in CONNECTIONS:
        table.add_column(f"{count} connection{'s' if count > 1 else ''}", justify="right")
    table.add_column("memory, MB", justify="right")
    for name, by_count in result["figures"].items():
        cells = [f"{f['rate']:,.0f}  {f['p50_ms']:.2f}  {f['p99_ms']:.2f}" for f in by_count.values()]
        table.add_row(name, *cells, f"{result['memory_mb'][name]:.0f}")
    console.print(table)
    for text, key in (
        ("model service, times the rate of plain FastAPI", "times_the_reference"),
        ("gateway adds, times the model service's own p50", "gateway_adds"),
    ):
        console.print(f"{text}: " + ", ".join(f"{value:.2f} at {count}" for count, value in result[key].items()))
    for name, figures in result["many_measurements"].items():
        console.print(f"{name}, {MANY} measurements: p50 {figures['p50_ms']:.2f} ms, {figures['times_one']} times one")


def main(argv: list[str] | None = None) -> int:
    """Measure, show, write the result."""
    parser = ArgumentParser(__doc__)
    parser.add_argument("--quick", action="store_true", help="one round of one second each")
    args = parser.parse_args(argv)
    if not shutil.which("wrk"):
        raise ProgramError("wrk is missing. Install it with: apt-get install wrk")
    console = Console()
    rounds, seconds = (1, 1) if args.quick else (5, 3)
    result = circumstances() | {"rounds": rounds, "seconds": seconds} | measure(rounds, seconds, console)
    show(result, console)
    if not args.quick:
        console.print(f"written to {write_json('services.json', result)}")
    return 0


if __name__ == "__main__":
    run(main)
