"""The persister of either store, with a switch that kills it at a named point, and a disk that can be full.

Run: python -m faults.fault_persister --kill-at before-COMMIT --after 3
     python -m faults.fault_persister --kill-at before-COMMIT --after 3 --dsn postgresql://...
"""

import importlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from common.results.persister import Persister
from common.results.store import ResultStore, Row, Span
from common.terminal import run

from .kill_switch import PERSISTER_POINTS, KillSwitch, switch_parser

HUGE_PAGES = 1 << 30


def with_switch(store: Any, switch: KillSwitch) -> Any:
    """Return a subclass of a store that passes the switch on its way through a transaction."""

    class SwitchedStore(store):
        def store(self, *arguments: Any) -> int:
            switch.passage("before-BEGIN")
            written = super().store(*arguments)
            switch.passage("after-COMMIT")
            return written

        def _move(self, *arguments: Any) -> None:
            super()._move(*arguments)
            switch.passage("after-position")

        def _insert(self, *arguments: Any) -> int:
            written = super()._insert(*arguments)
            switch.passage("before-COMMIT")
            return written

    return SwitchedStore


def with_full_disk(full: Path) -> Any:
    """Return a store whose file may not grow by a single page while the file `full` exists."""

    class FullStore(ResultStore):
        def store(self, topic: str, topic_id: str, spans: Iterable[Span], rows: Iterable[Row]) -> int:
            pages = self._db.execute("PRAGMA page_count").fetchone()[0] if full.exists() else HUGE_PAGES
            self._db.execute(f"PRAGMA max_page_count = {pages}").fetchone()
            return super().store(topic, topic_id, spans, rows)

    return FullStore


def main() -> int:
    """Run a persister with another store."""
    parser = switch_parser(__doc__, PERSISTER_POINTS)
    parser.add_argument("--full", type=Path, help="while this file exists, the disk is full")
    parser.add_argument("--dsn", help="of the PostgreSQL database to store in (default: SQLite)")
    options = parser.parse_args()
    switch = KillSwitch.of(options)
    take = Persister.take

    def switched_take(self: Persister) -> Any:
        if messages := take(self):
            switch.passage("after-poll")
        return messages

    Persister.take = switched_take
    if options.dsn:
        postgres: Any = importlib.import_module("5_task_queue.beyond.postgres_store")
        return postgres.main(["--dsn", options.dsn], with_switch(postgres.PostgresStore, switch))
    sqlite: Any = importlib.import_module("4_message_queue.iris_classifier_mq_persister")
    return sqlite.main([], with_switch(with_full_disk(options.full) if options.full else ResultStore, switch))


if __name__ == "__main__":
    run(main)
