"""How fast are stage 3's services, beside two references that never change? All in one run, with wrk.

    $ python -m benchmarks.services            # about five minutes
    $ python -m benchmarks.services --quick    # one, for a first look

One uvicorn process each, one measurement per request, 1, 8 and 64 connections. The servers take turns in every round,
so that what else the machine does hits all of them; the figures are medians over the rounds. Our services write their
logs (to nowhere), the references write none. Bare uvicorn has the model service's event loop and parser.
"""

import json
import shutil
import subprocess
import tempfile
from contextlib import ExitStack
from typing import Any

from benchmarks.command import finish, options, progress
from benchmarks.http_servers import GATEWAY, MODEL, Server, server
from benchmarks.records import Run
from common.errors import ProgramError
from common.iris_dto import FEATURES
from common.terminal import run

CODE = ("3_client_server/services", "common/web", "common/iris_codec.py", "common/iris_model")
CONNECTIONS = {1: "1 connection", 8: "8 connections", 64: "64 connections"}
UNITS = {"rate": "requests/s", "p50": "ms", "p99": "ms"}
MANY = 1000  # measurements in the large request
LARGE = "1 000 measurements in a request"
RATIOS: tuple[tuple[str, str, str, dict[str, dict[str, float]]], ...] = (  # what, of, to, bars by connections
    (
        *("rate", "model service", "bare uvicorn"),
        {CONNECTIONS[1]: {"at_least": 0.7}, CONNECTIONS[8]: {"at_least": 0.35}, CONNECTIONS[64]: {"at_least": 0.35}},
    ),
    ("p99", "model service", "bare uvicorn", {CONNECTIONS[64]: {"at_most": 3}}),
    ("rate", "model service", "plain FastAPI", {column: {"at_least": 3} for column in CONNECTIONS.values()}),
    ("p50", "gateway", "model service", {}),
)
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
    return {"rate": rate, "p50": report["p50"] / 1e3, "p99": report["p99"] / 1e3}


def measure(found: Run, rounds: int, seconds: int) -> None:
    """Start all servers, and load them in turns."""
    with ExitStack() as stack:
        bare = stack.enter_context(server("bare uvicorn", "benchmarks.reference.bare_uvicorn:app", MODEL.options))
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
        for one, path, body in targets:  # warm up
            for count in CONNECTIONS:
                load(one.url + path, body, count, 1)
        for turn in range(rounds):
            progress(f"round {turn + 1} of {rounds}")
            for one, path, body in targets:
                for count, column in CONNECTIONS.items():
                    for what, value in load(one.url + path, body, count, seconds).items():
                        found.add(what, one.name, column, value, unit=UNITS[what])
            for one, path, body in large:
                for what, value in load(one.url + path, body, 1, seconds).items():
                    found.add(LARGE, one.name, what, value, unit=UNITS[what])
        for one, _, _ in targets:
            found.count("memory", one.name, "at the end", one.memory_mb(), "MB")


def compare(found: Run) -> None:
    """Add what the figures are of each other, round by round."""
    for column in CONNECTIONS.values():
        for what, of, to, bars in RATIOS:
            bar = bars.get(column, {})
            found.ratio(f"{what}, {column}: {of} / {to}", (what, of, column), (what, to, column), **bar)
    for name in ("model service", "gateway"):
        found.ratio(f"p50, {name}: {MANY} measurements / one", (LARGE, name, "p50"), ("p50", name, "1 connection"))


def main(argv: list[str] | None = None) -> int:
    """Measure, show, write."""
    args = options(__doc__, "one round of one second each").parse_args(argv)
    if not shutil.which("wrk"):
        raise ProgramError("wrk is missing. Install it with: apt-get install wrk")
    rounds, seconds = (args.repeat or 1, 1) if args.quick else (args.repeat or 5, 3)
    found = Run.begin("services", argv, CODE, rounds=rounds, seconds=seconds)
    measure(found, rounds, seconds)
    compare(found)
    return finish(found, args)


if __name__ == "__main__":
    run(main)
