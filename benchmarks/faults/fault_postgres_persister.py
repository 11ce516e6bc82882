"""The PostgreSQL persister, unchanged, with a switch that kills it at a named point.

Run: python -m benchmarks.faults.fault_postgres_persister --kill-at before-COMMIT --after 3 --dsn postgresql://...
"""

import argparse
import contextlib
import importlib
import signal
from collections.abc import Iterator
from functools import partial
from typing import Any

import psycopg

from benchmarks.faults.fault_persister import POINTS
from benchmarks.faults.kill_switch import KillSwitch, prepare
from common.terminal import run


def patch(switch: KillSwitch) -> Any:
    """Import the persister and put the switch where its work passes; return the module."""
    persister: Any = importlib.import_module("5_task_queue.beyond.postgres_store")
    take = persister.Persister.take

    class NotedCursor(psycopg.Cursor[Any]):
        def execute(self, query: Any, *arguments: Any, **named: Any) -> Any:
            done = super().execute(query, *arguments, **named)
            if query == persister.MOVE:
                switch.passage("after-position")
            return done

    class NotedConnection(psycopg.Connection[Any]):
        @contextlib.contextmanager
        def transaction(self, *arguments: Any, **named: Any) -> Iterator[psycopg.Transaction]:
            switch.passage("before-BEGIN")
            with super().transaction(*arguments, **named) as transaction:
                yield transaction
                switch.passage("before-COMMIT")
            switch.passage("after-COMMIT")

    def noted_take(self: Any) -> Any:
        messages = take(self)
        if messages:
            switch.passage("after-poll")
        return messages

    stub: Any = persister.psycopg
    stub.connect = partial(NotedConnection.connect, cursor_factory=NotedCursor)
    persister.Persister.take = noted_take
    return persister


def main() -> int:
    """Patch the persister and run it."""
    prepare()
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kill-at", choices=POINTS)
    parser.add_argument("--after", type=int, default=1, help="at which passage")
    args, rest = parser.parse_known_args()
    return patch(KillSwitch(args.kill_at, args.after, signal.SIGKILL)).main(rest)


if __name__ == "__main__":
    run(main)
