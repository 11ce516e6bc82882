"""Many requests, each from a client that was made for it: connect, position, send, wait, leave. Prints JSON.

Run: python -m faults.fresh_clients --count 200
"""

import argparse
import importlib
import json
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from typing import Any

from common.iris_dto import Measurement
from common.terminal import run
from faults.kill_switch import prepare

THREADS = 8
WAIT_SECONDS = 60.0


def main() -> int:
    """Ask, and print per request how long it took, or why there was no answer."""
    prepare()
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=200)
    args = parser.parse_args()
    module: Any = importlib.import_module("5_task_queue.iris_classifier_cli_client_task_queue")

    def ask(n: int) -> tuple[float, str, str]:
        began, task_id = time.monotonic(), str(uuid.uuid4())
        try:
            with closing(module.TaskClient()) as client:
                client.position()
                measurement = Measurement(sepal_length=5.1, sepal_width=3.5, petal_length=1.4, petal_width=0.2)
                result = client.predict(measurement, task_id, WAIT_SECONDS)
            failed = "" if result.y and result.y.species == "setosa" else "a wrong answer"
        except Exception as error:
            failed = f"{type(error).__name__}: {error}"
        return time.monotonic() - began, task_id, failed

    print("Fresh clients: is ready", flush=True)
    with ThreadPoolExecutor(THREADS) as pool:
        done = list(pool.map(ask, range(args.count)))
    print(json.dumps(done))
    return 0


if __name__ == "__main__":
    run(main)
