"""The PostgreSQL persister, unchanged, with a switch that kills it at a named point.

Run: python -m faults.fault_postgres_persister --kill-at before-COMMIT --after 3 --dsn postgresql://...
"""

import contextlib
import importlib
import signal
from collections.abc import Iterator
from functools import partial
from typing import Any

import psycopg

from common.terminal import run
from faults.kill_switch import KillSwitch, argument_parser, note_takes, prepare


def patch(switch: KillSwitch) -> Any:
    """Import the persister and put the switch where its work passes; return the module."""
    persister: Any = importlib.import_module("5_task_queue.beyond.postgres_store")

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

    stub: Any = persister.psycopg
    stub.connect = partial(NotedConnection.connect, cursor_factory=NotedCursor)
    note_takes(persister.Persister, switch)
    return persister


def main() -> int:
    """Patch the persister and run it."""
    prepare()
    args, rest = argument_parser(__doc__).parse_known_args()
    return patch(KillSwitch(args.kill_at, args.after, signal.SIGKILL)).main(rest)


if __name__ == "__main__":
    run(main)
