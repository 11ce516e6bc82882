"""Beyond one file: stage 4's persister for those who outgrow SQLite. Results go into PostgreSQL, each exactly once.

Unlike SQLite's store, common/results/store.py:
- many programs on many machines can write at once; a persister locks only the positions of its own partitions;
- the comparison of the stored offset is part of the statement that moves it: of two persisters that both hold a
  partition, the second one waits for the first, finds the offset moved, writes nothing and starts again from there;
- the server can be away: a connection that breaks is made anew, and whatever was not committed is read again. If
  it broke during a commit, only the stored offset says whether the commit took effect.

Run: python -m 5_task_queue.beyond.postgres_store --dsn postgresql://user@host/database
     python -m 5_task_queue.beyond.postgres_store --check --seconds 10
"""

from collections.abc import Iterable
from typing import Any, Self

from common.errors import ProgramError
from common.kafka.connection import Connection, connect, run_with_kafka
from common.kafka.stopping import Stop
from common.kafka.topics import create_topics
from common.results.health import check
from common.results.persister import Persister, results_consumer
from common.results.store import GROUP, PositionMovedError, Row, Span
from common.terminal import ArgumentParser, positive_seconds, say_ready

try:
    import psycopg
except ImportError:  # an extra that few need
    raise SystemExit('PostgreSQL\'s client is not installed. Install it with: pip install -e ".[beyond]"') from None

CONNECT_SECONDS = 5
UNANSWERED_MS = 10_000  # a server whose machine has gone counts as away after this

SESSION = """
SET synchronous_commit = on;                        -- what is committed survives a power cut
SET lock_timeout = '5s';                            -- then the persister says that it waits
SET idle_in_transaction_session_timeout = '10s';    -- a persister that hangs does not lock its partitions for ever
"""
SCHEMA = """
SELECT pg_advisory_xact_lock(hashtext('iris schema'));  -- CREATE ... IF NOT EXISTS alone fails when two do it at once
CREATE SCHEMA IF NOT EXISTS iris;
CREATE TABLE IF NOT EXISTS iris.positions (
    topic       text NOT NULL,
    partition   integer NOT NULL,
    topic_id    text NOT NULL,      -- Kafka's id of the topic: a topic made anew has another one
    next_offset bigint NOT NULL,
    PRIMARY KEY (topic, partition)
);
CREATE TABLE IF NOT EXISTS iris.store (
    id text NOT NULL                -- in the name of the consumer group: persisters of one store share its work
);
INSERT INTO iris.store SELECT left(gen_random_uuid()::text, 8) WHERE NOT EXISTS (SELECT FROM iris.store);
CREATE TABLE IF NOT EXISTS iris.results (
    id        bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    task_id   text UNIQUE,          -- NULL in stage 4, whose messages have none
    iris_type smallint,             -- NULL where the result is an error
    species   text,
    value     text NOT NULL         -- the message
);
"""
# Compare and swap. The row is locked until the end of the transaction; the comparison sees what is committed by then.
MOVE = """
INSERT INTO iris.positions AS stored (topic, partition, topic_id, next_offset)
VALUES (%(topic)s, %(partition)s, %(topic_id)s, %(end)s)
ON CONFLICT (topic, partition) DO UPDATE SET topic_id = excluded.topic_id, next_offset = excluded.next_offset
WHERE stored.topic_id <> excluded.topic_id OR stored.next_offset = %(start)s
"""
# The first result of a task stays. Only an error gives way to a prediction: a dead letter can be replayed.
INSERT = """
INSERT INTO iris.results AS stored (task_id, iris_type, species, value) VALUES (%s, %s, %s, %s)
ON CONFLICT (task_id) DO UPDATE SET iris_type = excluded.iris_type, species = excluded.species, value = excluded.value
WHERE stored.iris_type IS NULL AND excluded.iris_type IS NOT NULL
"""


class PostgresStore:
    """The results in a PostgreSQL database. One thread at a time."""

    def __init__(self, dsn: str) -> None:
        self._dsn = dsn
        self._db: psycopg.Connection[Any] | None = None
        info = self._connected().info
        self.where = f"PostgreSQL, database {info.dbname} at {info.host or 'localhost'}"
        with self._connected().transaction():
            self._connected().execute(SCHEMA)
        row = self._connected().execute("SELECT id FROM iris.store").fetchone()
        self.group = GROUP + (row[0] if row else "")

    def _connected(self) -> "psycopg.Connection[Any]":
        """Return the connection, or a new one if the last one broke."""
        if self._db is None or self._db.closed:
            self._db = psycopg.connect(
                self._dsn,
                autocommit=True,
                connect_timeout=CONNECT_SECONDS,
                tcp_user_timeout=UNANSWERED_MS,
                client_encoding="utf8",  # else text of a database without an encoding (SQL_ASCII) comes as bytes
            )
            self._db.execute(SESSION)
        return self._db

    def positions(self, topic: str, topic_id: str) -> dict[int, int]:
        """Return the next offset of each partition that has been stored from this very topic."""
        query = "SELECT partition, next_offset FROM iris.positions WHERE topic = %s AND topic_id = %s"
        return dict(self._connected().execute(query, (topic, topic_id)).fetchall())

    def known_topic_id(self, topic: str) -> str | None:
        """Return the id that the topic had when something was last stored from it."""
        query = "SELECT topic_id FROM iris.positions WHERE topic = %s LIMIT 1"
        row = self._connected().execute(query, (topic,)).fetchone()
        return row[0] if row else None

    def store(self, topic: str, topic_id: str, spans: Iterable[Span], rows: Iterable[Row]) -> int:
        """Write rows and the end of their spans in one transaction; return how many rows are new.

        Raises:
            PositionMovedError: a span does not start where the stored one ends.
            psycopg.OperationalError: the server is away, full or busy. Nothing was written; or, where the connection
                broke during the commit, everything, and the next try raises PositionMovedError.
        """
        db = self._connected()
        with db.transaction(), db.cursor() as cursor:
            for span in sorted(spans):  # in the same order everywhere: two persisters never wait for each other
                self._move(cursor, topic, topic_id, span)
            return self._insert(cursor, rows)

    def _move(self, cursor: "psycopg.Cursor[Any]", topic: str, topic_id: str, span: Span) -> None:
        """Write where a span ends; raises PositionMovedError if it does not start where the stored one ends."""
        values = {"topic": topic, "topic_id": topic_id, **span._asdict()}
        if not cursor.execute(MOVE, values).rowcount:
            raise PositionMovedError(f"{topic}[{span.partition}] is no longer at {span.start}")

    def _insert(self, cursor: "psycopg.Cursor[Any]", rows: Iterable[Row]) -> int:
        """Write rows; return how many are new."""
        values = [(_text(row.task_id), row.iris_type, _text(row.species), row.value) for row in rows]
        if not values:
            return 0
        cursor.executemany(INSERT, values)
        return cursor.rowcount

    def find(self, task_id: str) -> str | None:
        """Return the stored message of a task, or None."""
        query = "SELECT value FROM iris.results WHERE task_id = %s"
        row = self._connected().execute(query, (_text(task_id),)).fetchone()
        return row[0] if row else None

    def count(self) -> int:
        """Return the number of results."""
        row = self._connected().execute("SELECT count(*) FROM iris.results").fetchone()
        return row[0] if row else 0

    def close(self) -> None:
        """Close the connection."""
        if self._db is not None:
            self._db.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *args: object) -> None:
        self.close()


def _text(text: str | None) -> str | None:
    """Return text as PostgreSQL takes it: the one character that it cannot hold is written as in JSON."""
    return text.replace("\0", "\\u0000") if text else text


def main(argv: list[str] | None = None, open_store: type[PostgresStore] = PostgresStore) -> int:
    """Take and store, until Ctrl-C or SIGTERM."""
    parser = ArgumentParser(__doc__, "kafka_bootstrap_servers")
    parser.add_argument("--dsn", default="", help="the database (default: what PGHOST, PGDATABASE, PGPASSWORD ... say)")
    parser.add_argument("--check", action="store_true", help="test whether results are being stored, and end")
    parser.add_argument("--seconds", type=positive_seconds, default=5.0, metavar="S", help="time to show progress")
    args = parser.parse_args(argv)

    stop, connection = Stop(), Connection()
    admin = connect()
    if not args.check:
        create_topics(admin)
    try:
        store = open_store(args.dsn)
    except psycopg.Error as error:
        raise ProgramError(f"No PostgreSQL to store in: {str(error).splitlines()[0]}.") from None
    with store:
        if args.check:
            return check(admin, store, args.seconds, away=psycopg.Error)
        consumer = results_consumer(store.group, connection)
        persister = Persister(admin, consumer, store, stop, away=psycopg.OperationalError, where=store.where)
        persister.subscribe()
        say_ready(f"Persister is ready, storing in {store.where}")
        total = 0
        try:
            while not stop.requested:
                messages = persister.take()
                if not messages:
                    connection.check(consumer)
                    continue
                written = persister.persist(messages)
                total += written
                print(f"stored {written} results, {total} since the start, skipped {persister.skipped}", flush=True)
        except psycopg.Error as error:
            raise ProgramError(f"PostgreSQL refuses: {str(error).splitlines()[0]}.") from None
        finally:
            consumer.close()
    return 0


if __name__ == "__main__":
    run_with_kafka(main)
