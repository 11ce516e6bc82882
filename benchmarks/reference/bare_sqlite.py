"""The raw limit of a store: rows of a result's size into SQLite, durably, so many per transaction; no Kafka.

Run: python -m benchmarks.reference.bare_sqlite --rows 100000
"""

import argparse
import json
import sqlite3
import tempfile
import time
import uuid
from pathlib import Path


def main() -> None:
    """Insert and print one line of JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--batch", type=int, default=5000, help="rows per transaction")
    args = parser.parse_args()
    rows = [(str(uuid.uuid4()), i % 3, "setosa", "x" * 285) for i in range(args.rows)]
    with tempfile.TemporaryDirectory() as folder:
        db = sqlite3.connect(Path(folder) / "rows.sqlite3", isolation_level=None)
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("PRAGMA synchronous = FULL")
        db.execute(
            "CREATE TABLE r (id INTEGER PRIMARY KEY, task_id TEXT UNIQUE, type INTEGER, species TEXT, value TEXT)"
        )
        start = time.perf_counter()
        for i in range(0, len(rows), args.batch):
            db.execute("BEGIN")
            db.executemany(
                "INSERT INTO r (task_id, type, species, value) VALUES (?, ?, ?, ?)", rows[i : i + args.batch]
            )
            db.execute("COMMIT")
        seconds = time.perf_counter() - start
        db.close()
    print(json.dumps({"rows": args.rows, "rate": round(args.rows / seconds)}))


if __name__ == "__main__":
    main()
