"""Which tasks may have killed a worker, and how the one that did is found. Pure: offsets in, offsets out, no Kafka.

A task that kills its worker never reaches an `except`. So, before a worker takes tasks from a partition, a *mark* in
the metadata of the committed offset says how many it may have in hand from there on. A worker that ends in order takes
the mark away: whoever finds one on assignment knows that its writer has died, and which tasks are the *suspects*.

They are taken a few at a time, and after another crash one by one. Only a crash with a single task in hand counts as an
attempt of this task: tasks that were in hand when somebody killed the worker from outside are not blamed. After
MAX_ATTEMPTS it is a poison task. If several partitions have suspects, they are *tested* one after the other; the marks
of the others say that they wait, and a crash does not count for them.
"""

import json
from dataclasses import asdict, dataclass

MAX_ATTEMPTS = 3  # crashes with the task alone in hand
FEWER = 20  # after a crash with n tasks in hand, n / 20 are taken at a time


@dataclass
class Mark:
    """The metadata of a commit, as JSON."""

    in_hand: int  # tasks that the worker takes from this offset on, at most
    attempts: int  # if it is one: how often it was started alone
    by: str  # the worker
    waiting: int = 0  # suspects from this offset on, while another partition is tested

    def to_json(self) -> str:
        """Return the metadata."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, metadata: str | None) -> "Mark | None":
        """Return the mark, or None if the metadata is not one."""
        try:
            mark = json.loads(metadata or "")
            waiting = int(mark.get("waiting", 0))
            return cls(max(1, int(mark["in_hand"])), int(mark["attempts"]), str(mark["by"]), waiting)
        except (ValueError, KeyError, TypeError, AttributeError):
            return None


@dataclass
class Stretch:
    """Suspects of one partition, from the committed offset on."""

    size: int  # tasks to take at a time
    until: int  # the offset after the last suspect
    attempts: int  # how often the first one was started alone, this time included


class Suspects:
    """The suspects in the partitions of one worker, whose name no other worker has."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._stretches: dict[int, Stretch] = {}

    def __bool__(self) -> bool:
        return bool(self._stretches)

    @property
    def tested(self) -> int:
        """The partition whose suspects are tested now."""
        return next(iter(self._stretches))

    @property
    def size(self) -> int:
        """How many of its tasks to take at a time."""
        return self._stretches[self.tested].size

    @property
    def attempts(self) -> int:
        """How often the next task was started alone, this time included."""
        stretch = self._stretches.get(self.tested) if self else None
        return stretch.attempts if stretch and stretch.size == 1 else 1

    def found(self, number: int, start: int, end: int, metadata: str | None) -> None:
        """Read the mark that stands at the committed offset `start` of a partition that ends at `end`."""
        mark = Mark.from_json(metadata)
        if not mark or mark.by == self._name or start >= end:  # its own: Kafka was away, nobody died
            return
        if mark.waiting:
            stretch = Stretch(mark.in_hand, min(start + mark.waiting, end), mark.attempts)
        else:
            attempts = mark.attempts + 1 if mark.in_hand == 1 else 1
            stretch = Stretch(max(1, mark.in_hand // FEWER), min(start + mark.in_hand, end), attempts)
        self._stretches[number] = stretch

    def mark(self, number: int, offset: int, in_hand: int) -> str:
        """Return the metadata for a commit of this offset; without suspects, `in_hand` tasks follow at most."""
        stretch = self._stretches.get(number)
        if stretch is None:
            return Mark(in_hand, 0, self._name).to_json()
        waiting = 0 if number == self.tested else stretch.until - offset
        return Mark(stretch.size, stretch.attempts, self._name, waiting).to_json()

    def survived(self, number: int, end: int) -> None:
        """Note that the tasks before this offset have not killed the worker."""
        stretch = self._stretches.get(number)
        if stretch:
            stretch.attempts = 1  # the next task is started for the first time
            if end >= stretch.until:
                self.forget(number)

    def forget(self, number: int) -> None:
        """Suspect nothing in this partition any more."""
        self._stretches.pop(number, None)
