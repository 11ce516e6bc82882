"""Stage 4's persister, unchanged, with a switch that kills it at a named point, and a disk that can be full.

Run: python -m faults.fault_persister --kill-at before-COMMIT --after 3
"""

import importlib
import signal
import sqlite3
from functools import partial
from pathlib import Path
from typing import Any

from common.results import store as result_store
from common.terminal import run
from faults.kill_switch import KillSwitch, argument_parser, note_takes, prepare

HUGE_PAGES = 1 << 30


def patch(switch: KillSwitch, full: Path | None) -> Any:
    """Import the persister and put the switch into its database connection; return the module."""
    persister: Any = importlib.import_module("4_message_queue.iris_classifier_mq_persister")

    class NotedConnection(sqlite3.Connection):
        def execute(self, sql: str, *arguments: Any) -> sqlite3.Cursor:
            if sql.startswith("BEGIN"):
                if full:  # while the file `full` exists, the database may not grow by a single page
                    pages = super().execute("PRAGMA page_count").fetchone()[0] if full.exists() else HUGE_PAGES
                    super().execute(f"PRAGMA max_page_count = {pages}").fetchone()
                switch.passage("before-BEGIN")
            if sql == "COMMIT":
                switch.passage("before-COMMIT")
            cursor = super().execute(sql, *arguments)
            if sql.startswith("INSERT OR REPLACE INTO positions"):
                switch.passage("after-position")
            if sql == "COMMIT":
                switch.passage("after-COMMIT")
            return cursor

    stub: Any = result_store.sqlite3
    stub.connect = partial(sqlite3.connect, factory=NotedConnection)
    note_takes(persister.Persister, switch)
    return persister


def main() -> int:
    """Patch the persister and run it."""
    prepare()
    parser = argument_parser(__doc__)
    parser.add_argument("--full", type=Path, help="while this file exists, the disk is full")
    args, rest = parser.parse_known_args()
    return patch(KillSwitch(args.kill_at, args.after, signal.SIGKILL), args.full).main(rest)


if __name__ == "__main__":
    run(main)
