"""Runs a program of the repository with other client settings, to measure what a setting costs. Nothing is edited.

Run: BENCH_PRODUCER='{"linger.ms": 5}' python -m benchmarks.with_settings 5_task_queue.iris_classifier_task_queue_worker
"""

import importlib
import json
import os
import sys
from collections.abc import Callable
from typing import Any

import common.kafka_clients as kafka_clients
from common.terminal import run


def overlay(original: Callable[..., dict[str, Any]], more: dict[str, Any]) -> Callable[..., dict[str, Any]]:
    """Return a function of settings that gives the same ones, with `more` over them; None takes a setting away."""

    def changed(*arguments: Any, **named: Any) -> dict[str, Any]:
        settings = original(*arguments, **named) | more
        return {name: value for name, value in settings.items() if value is not None}

    return changed


def apply(producer: dict[str, Any], consumer: dict[str, Any], reader: dict[str, Any]) -> None:
    """Change what every program imported from now on gets as its clients' settings."""
    kafka_clients.producer_config = overlay(kafka_clients.producer_config, producer)
    kafka_clients.consumer_config = overlay(kafka_clients.consumer_config, consumer)
    kafka_clients.reader_config = overlay(kafka_clients.reader_config, reader)


def main() -> int:
    """Run the program that the first argument names."""
    given = [json.loads(os.environ.get(f"BENCH_{kind}", "{}")) for kind in ("PRODUCER", "CONSUMER", "READER")]
    apply(*given)
    return importlib.import_module(sys.argv[1]).main(sys.argv[2:])


if __name__ == "__main__":
    run(main)
