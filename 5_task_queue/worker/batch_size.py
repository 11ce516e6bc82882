"""How many tasks a worker takes at once: as many as are waiting, but no more than half a second of work.

With a fast model that is thousands, and the costs of a batch (one prediction, one commit) are shared by all of them.
With a slow model it is few: tasks do not wait in one worker while others have nothing to do.

Batches grow step by step, so that a worker can promise how many tasks it will have in hand at most (see `suspects.py`).
"""

SECONDS_IN_HAND = 0.5
LEARNING = 0.3  # how much the last batch counts for the estimate of what a task costs
SMALL_BATCH = 100  # tasks that may be taken however few came before
GROWTH = 4  # above, a batch is at most so many times the last one


class BatchSize:
    """Learns from each batch how large the next one may be. The first is a single task."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._bound = min(most, SMALL_BATCH)
        self._seconds_per_task = 0.0

    @property
    def next(self) -> int:
        """How many tasks to take at most."""
        if not self._seconds_per_task:
            return 1
        return max(1, min(self._bound, int(SECONDS_IN_HAND / self._seconds_per_task)))

    @property
    def next_two(self) -> int:
        """How many tasks the next two batches can have together at most."""
        return min((1 + GROWTH) * self._bound, 2 * self._most)

    def taken(self, tasks: int) -> None:
        """Note how many tasks were there."""
        self._bound = min(self._most, max(SMALL_BATCH, GROWTH * tasks, self._bound // 2))

    def worked(self, tasks: int, seconds: float) -> None:
        """Note how long they took."""
        self._seconds_per_task += LEARNING * (seconds / tasks - self._seconds_per_task)
