"""Stage 4, the persister: a second subscriber of `results`, which alone writes SQLite.

Unlike the worker and the client:
- it knows neither model nor measurement: it stores each result once, however often it is stopped or killed;
- its consumer group belongs to the store: two persisters of one file share the work, those of two files do not;
- it commits nothing to Kafka: its position is kept in the SQLite file, written together with the results.

How that is done is in `common/results/persister.py` (reading) and `common/results/store.py` (writing).

Run: python -m 4_message_queue.iris_classifier_mq_persister
     python -m 4_message_queue.iris_classifier_mq_persister --list
     python -m 4_message_queue.iris_classifier_mq_persister --check --seconds 10
"""

import sqlite3

from common.iris_dto import SPECIES
from common.kafka.connection import Connection, connect, run_with_kafka
from common.kafka.stopping import Stop
from common.kafka.topics import create_topics
from common.results.health import check
from common.results.persister import Persister, results_consumer
from common.results.store import ResultStore
from common.settings import load_settings
from common.terminal import ArgumentParser, positive_seconds, say_ready


def list_results(limit: int) -> int:
    """Print the newest results, as a table."""
    with ResultStore(load_settings().database) as store:
        for row in store.newest(limit):
            answer = row.species or (SPECIES[row.iris_type] if row.iris_type is not None else "error")
            print(f"{answer:<12} {row.task_id or '-':<36} {row.value}")
        print(f"{store.count()} results in {store.path}")
    return 0


def check_stored(seconds: float) -> int:
    """Test whether the results that wait are being stored; return the exit code."""
    admin = connect()
    with ResultStore(load_settings().database) as store:
        return check(admin, store, seconds, away=sqlite3.Error)


def main(argv: list[str] | None = None, open_store: type[ResultStore] = ResultStore) -> int:
    """Take and store, until Ctrl-C or SIGTERM."""
    parser = ArgumentParser(__doc__, "kafka_bootstrap_servers", "database")
    parser.add_argument("--list", action="store_true", help="print what is stored and end")
    parser.add_argument("--limit", type=int, default=20, help="how many results --list prints")
    parser.add_argument("--check", action="store_true", help="test whether results are being stored, and end")
    parser.add_argument("--seconds", type=positive_seconds, default=5.0, metavar="S", help="time to show progress")
    args = parser.parse_args(argv)
    if args.list:
        return list_results(args.limit)
    if args.check:
        return check_stored(args.seconds)

    stop, connection = Stop(), Connection()
    admin = connect()
    create_topics(admin)
    with open_store(load_settings().database) as store:
        consumer = results_consumer(store.group, connection)
        persister = Persister(admin, consumer, store, stop, sqlite3.OperationalError, str(store.path))
        persister.subscribe()
        say_ready(f"Persister is ready, storing in {store.path}")
        try:
            while not stop.requested:
                messages = persister.take()  # take
                if not messages:
                    connection.check(consumer)
                    continue
                written = persister.persist(messages)  # store, and remember how far
                print(f"stored {written} results, {store.count()} in all, skipped {persister.skipped}", flush=True)
        finally:
            consumer.close()
    return 0


if __name__ == "__main__":
    run_with_kafka(main)
