"""Many requests, each from a client that was made for it: connect, position, send, wait, leave. Prints JSON.

Run: python -m faults.fresh_clients --count 200
"""

import importlib
import json
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from typing import Any

from common.iris_dto import Measurement
from common.terminal import ArgumentParser, run

CLIENT: Any = importlib.import_module("5_task_queue.iris_classifier_cli_client_task_queue")
THREADS = 8
WAIT_SECONDS = 60.0
SETOSA = Measurement(sepal_length=5.1, sepal_width=3.5, petal_length=1.4, petal_width=0.2)


def ask(task_id: str) -> tuple[float, float, str, str]:
    """Return when a request began (monotonic clock), how long it took in seconds, its id, and why it failed."""
    began = time.monotonic()
    try:
        with closing(CLIENT.TaskClient()) as client:
            client.position()
            result = client.predict(SETOSA, task_id, WAIT_SECONDS)
        failed = "" if result.y and result.y.species == "setosa" else "a wrong answer"
    except Exception as error:
        failed = f"{type(error).__name__}: {error}"
    return began, time.monotonic() - began, task_id, failed


def main() -> int:
    """Ask, and print per request how it went."""
    parser = ArgumentParser(__doc__)
    parser.add_argument("--count", type=int, default=200)
    count = parser.parse_args().count
    with ThreadPoolExecutor(THREADS) as pool:
        done = list(pool.map(ask, [str(uuid.uuid4()) for _ in range(count)]))
    print(json.dumps(done))
    return 0


if __name__ == "__main__":
    run(main)
