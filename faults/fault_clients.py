"""Clients that ask, and check each answer: fresh ones, one that goes on and on, or one that is idle. Prints JSON.

A line is one request: when it began (monotonic clock, s), how long it took (s), its id, why it failed.

Run: python -m faults.fault_clients --fresh 200
     python -m faults.fault_clients --steady            (until SIGTERM)
     python -m faults.fault_clients --idle 200000       (so many results of others go by before the last request)
"""

import importlib
import json
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from typing import Any

from confluent_kafka import KafkaException

from benchmarks.broker import fill
from common.iris_dto import Measurement
from common.kafka.stopping import Stop
from common.kafka.topics import RESULTS
from common.settings import load_settings
from common.terminal import ArgumentParser, run, say_ready

from .clock import shift

CLIENT: Any = importlib.import_module("5_task_queue.iris_classifier_cli_client_task_queue")
THREADS = 8
WAIT_SECONDS = 60.0
PAUSE_SECONDS = 0.05  # between two requests of one client
USUAL = 20  # requests that tell how long one takes as a rule
SETOSA = Measurement(sepal_length=5.1, sepal_width=3.5, petal_length=1.4, petal_width=0.2)

Asked = tuple[float, float, str, str]


def ask(client: Any) -> Asked:
    """Make one request, as the prompt does, and try again in a moment where that says so: nothing was sent by then."""
    began, task_id = time.monotonic(), str(uuid.uuid4())
    try:
        while True:
            try:
                client.position()
                break
            except KafkaException:
                if time.monotonic() - began > WAIT_SECONDS:
                    raise
        result = client.predict(SETOSA, task_id, WAIT_SECONDS)
        failed = "" if result.y and result.y.species == "setosa" else "a wrong answer"
    except Exception as error:
        failed = f"{type(error).__name__}: {error}"
    return began, time.monotonic() - began, task_id, failed


def ask_fresh(_: int) -> Asked:
    """Connect, ask, leave."""
    began = time.monotonic()
    with closing(CLIENT.TaskClient()) as client:
        task_id, failed = ask(client)[2:]
    return began, time.monotonic() - began, task_id, failed


def show(asked: Asked) -> None:
    """Print a line."""
    print(json.dumps(asked), flush=True)


def main() -> int:
    """Ask."""
    parser = ArgumentParser(__doc__)
    parser.add_argument("--fresh", type=int, default=0, metavar="N", help="this many clients, one request each")
    parser.add_argument("--steady", action="store_true", help="one client until SIGTERM")
    parser.add_argument("--idle", type=int, metavar="N", help="so many results of others go by meanwhile")
    parser.add_argument("--clock", type=float, default=0.0, metavar="S", help="how far its clock is ahead, seconds")
    args = parser.parse_args()
    shift(args.clock)
    if args.fresh:
        with ThreadPoolExecutor(THREADS) as pool:
            for asked in pool.map(ask_fresh, range(args.fresh)):
                show(asked)
    if args.steady or args.idle:
        stop = Stop()
        with closing(CLIENT.TaskClient()) as client:
            say_ready("The client is ready")
            while args.steady and not stop.requested:
                show(ask(client))
                stop.wait(PAUSE_SECONDS)
            if args.idle:
                for _ in range(USUAL):
                    show(ask(client))
                value = json.dumps({"task_id": "another's", "y": {"iris_type": 0, "species": "setosa"}}).encode()
                fill(load_settings().kafka_bootstrap_servers, RESULTS, ((str(n), value) for n in range(args.idle)))
                show(ask(client))
    return 0


if __name__ == "__main__":
    run(main)
