"""What a worker says about itself: which partitions it holds, and how many tasks of each it has done."""

import time
from collections import Counter
from collections.abc import Iterable

from confluent_kafka import Message

EVERY_SECONDS = 1.0


class Tally:
    """Counts tasks per partition; prints at most once a second."""

    def __init__(self, worker: str) -> None:
        self.total: Counter[int] = Counter()
        self._worker = worker
        self._new: Counter[int] = Counter()
        self._printed = 0.0

    def partitions(self, partitions: list[int]) -> None:
        """Say which partitions the worker holds."""
        print(f"worker {self._worker} holds partitions {', '.join(map(str, partitions)) or 'none'}", flush=True)

    def count(self, messages: list[Message], skipped: Iterable[Message] = ()) -> None:
        """Count tasks that are done; skipped messages are not counted."""
        self._new.update(map(Message.partition, messages))  # pyright: ignore[reportArgumentType, reportCallIssue]
        self._new.subtract(map(Message.partition, skipped))  # pyright: ignore[reportArgumentType, reportCallIssue]
        self.show_in_time()

    def show_in_time(self) -> None:
        """Print what has been done, if the last time is long enough ago."""
        if time.monotonic() - self._printed > EVERY_SECONDS:
            self.show()

    def show(self) -> None:
        """Print what has been done since the last time."""
        if self._new.total():
            self.total += self._new
            print(f"worker {self._worker} did {_per_partition(self._new)}; {self.total.total()} in all", flush=True)
            self._new.clear()
            self._printed = time.monotonic()


def _per_partition(counts: Counter[int]) -> str:
    return ", ".join(f"{count} of partition {number}" for number, count in sorted(counts.items()) if count)
