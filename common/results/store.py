"""Results in one SQLite file, each exactly once: the rows and the next offset are written in one transaction.

Kafka's own committed offsets are not used. After a crash the reader goes on where the file says; what was read but
not written is read again. Two persisters at once cannot write the same results: each compares the stored offset with
the one that it started from, inside its write transaction, and the second one finds that it has moved.

Based on "Storing Offsets Outside Kafka" in the documentation of KafkaConsumer, Apache Kafka 4.3.
"""

import sqlite3
import time
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple, Self

from common.errors import ProgramError
from common.kafka.names import named

GROUP = named("iris-persisters-")  # the store's id follows
BUSY_SECONDS = 5.0  # longest wait for another program that is writing

SCHEMA = """
CREATE TABLE IF NOT EXISTS positions (
    topic       TEXT NOT NULL,
    partition   INTEGER NOT NULL,
    topic_id    TEXT NOT NULL,      -- Kafka's id of the topic: a topic made anew has another one
    next_offset INTEGER NOT NULL,
    PRIMARY KEY (topic, partition)
);
CREATE TABLE IF NOT EXISTS store (
    id TEXT NOT NULL                -- in the name of the consumer group: persisters of one store share its work
);
INSERT INTO store SELECT lower(hex(randomblob(6))) WHERE NOT EXISTS (SELECT * FROM store);
CREATE TABLE IF NOT EXISTS results (
    id        INTEGER PRIMARY KEY,
    task_id   TEXT UNIQUE,          -- NULL in stage 4, whose messages have none
    iris_type INTEGER,              -- NULL where the result is an error
    species   TEXT,
    value     TEXT NOT NULL         -- the message
);
"""
# The first result of a task stays. Only an error gives way to a prediction: a dead letter can be replayed.
INSERT = """
INSERT INTO results (task_id, iris_type, species, value) VALUES (?, ?, ?, ?)
ON CONFLICT (task_id) DO UPDATE SET iris_type = excluded.iris_type, species = excluded.species, value = excluded.value
WHERE results.iris_type IS NULL AND excluded.iris_type IS NOT NULL
"""


class Row(NamedTuple):
    """One result as it is stored."""

    task_id: str | None
    iris_type: int | None
    species: str | None
    value: str


class Span(NamedTuple):
    """A piece of a partition that has been read: offsets `start` up to but not including `end`."""

    partition: int
    start: int
    end: int


class PositionMovedError(Exception):
    """Another persister has stored part of this meanwhile; nothing was written. Start again from `positions()`."""


class ResultStore:
    """The SQLite file of results. One thread at a time.

    Raises:
        ProgramError: the file cannot be opened, or is not an SQLite database.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._db = sqlite3.connect(path, timeout=BUSY_SECONDS, isolation_level=None)
        except (OSError, sqlite3.Error) as error:
            raise ProgramError(f"Cannot use the database {path}: {error}.") from None
        try:
            self._use_wal()  # readers do not wait for the writer
            self._db.execute("PRAGMA synchronous = FULL")  # what is committed survives a power cut
            self._db.executescript(SCHEMA)
        except sqlite3.Error as error:
            self._db.close()
            raise ProgramError(f"Cannot use the database {path}: {error}.") from None

    def _use_wal(self) -> None:
        """Switch to the write-ahead log. SQLite itself does not wait here while another does the same."""
        deadline = time.monotonic() + BUSY_SECONDS
        while True:
            try:
                self._db.execute("PRAGMA journal_mode = WAL")
                return
            except sqlite3.OperationalError as error:
                if error.sqlite_errorcode != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                    raise
                time.sleep(0.01)

    @property
    def group(self) -> str:
        """The consumer group of this store's persisters. Each store has one of its own, and so all results."""
        return GROUP + self._db.execute("SELECT id FROM store").fetchone()[0]

    def positions(self, topic: str, topic_id: str) -> dict[int, int]:
        """Return the next offset of each partition that has been stored from this very topic."""
        query = "SELECT partition, next_offset FROM positions WHERE topic = ? AND topic_id = ?"
        return dict(self._db.execute(query, (topic, topic_id)).fetchall())

    def known_topic_id(self, topic: str) -> str | None:
        """Return the id that the topic had when something was last stored from it."""
        row = self._db.execute("SELECT topic_id FROM positions WHERE topic = ? LIMIT 1", (topic,)).fetchone()
        return row[0] if row else None

    def store(self, topic: str, topic_id: str, spans: Iterable[Span], rows: Iterable[Row]) -> int:
        """Write rows and the end of their spans in one transaction; return how many rows are new.

        Raises:
            PositionMovedError: a span does not start where the stored one ends.
            sqlite3.OperationalError: the file is full, locked or gone; nothing was written.
        """
        self._db.execute("BEGIN IMMEDIATE")  # from here on no other program writes
        try:
            for span in spans:
                self._move(topic, topic_id, span)
            written = self._insert(rows)
            self._db.execute("COMMIT")
            return written
        except BaseException:
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")
            raise

    def _move(self, topic: str, topic_id: str, span: Span) -> None:
        """Write where a span ends; raises PositionMovedError if it does not start where the stored one ends."""
        stored = self.positions(topic, topic_id).get(span.partition, span.start)
        if stored != span.start:
            raise PositionMovedError(f"{topic}[{span.partition}] is at {stored}")
        self._db.execute(
            "INSERT OR REPLACE INTO positions (topic, partition, topic_id, next_offset) VALUES (?, ?, ?, ?)",
            (topic, span.partition, topic_id, span.end),
        )

    def _insert(self, rows: Iterable[Row]) -> int:
        """Write rows; return how many are new."""
        before = self._db.total_changes
        self._db.executemany(INSERT, rows)
        return self._db.total_changes - before

    def find(self, task_id: str) -> str | None:
        """Return the stored message of a task, or None."""
        row = self._db.execute("SELECT value FROM results WHERE task_id = ?", (task_id,)).fetchone()
        return row[0] if row else None

    def newest(self, limit: int) -> list[Row]:
        """Return the newest results, oldest of them first."""
        query = "SELECT task_id, iris_type, species, value FROM results ORDER BY id DESC LIMIT ?"
        return [Row(*row) for row in reversed(self._db.execute(query, (limit,)).fetchall())]

    def count(self) -> int:
        """Return the number of results."""
        return self._db.execute("SELECT count(*) FROM results").fetchone()[0]

    def close(self) -> None:
        """Close the file."""
        self._db.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *args: object) -> None:
        self.close()
