"""What stands between a bad task and its worker: a time limit, a grave, and a stop when nearly everything is bad."""

import signal
import time
from collections import deque
from collections.abc import Callable
from types import FrameType

from confluent_kafka import Message

from common.errors import ProgramError
from common.iris_model import IrisModel
from common.kafka.stopping import GRACE_SECONDS, Stop
from common.kafka.topics import TASKS

from .codec import task_id_of
from .intake import MAX_ATTEMPTS, Intake
from .replies import Replies

TICK_SECONDS = 0.1  # how often a long prediction is looked at
JUDGED = 200  # messages over which the share of bad ones is judged

Handler = Callable[[list[Message], IrisModel], Replies]


class TooSlow(Exception):
    """The work has taken longer than it may."""


class HandBack(Exception):
    """The program has been asked to end, and the work would take too long: another worker will do it."""


class TimeLimit:
    """Interrupts Python code in the main thread that takes too long. Unix only; C code is not interrupted.

    `with` raises:
        TooSlow: the time is over.
        HandBack: the program was asked to end, GRACE_SECONDS ago.
    """

    def __init__(self, seconds: float, stop: Stop) -> None:
        self._seconds, self._stop = seconds, stop
        self._deadline = 0.0
        signal.signal(signal.SIGALRM, self._look)

    def _look(self, number: int, frame: FrameType | None) -> None:
        if self._stop.requested and self._stop.seconds_since() > GRACE_SECONDS:
            raise HandBack
        if time.monotonic() > self._deadline:
            raise TooSlow

    def __enter__(self) -> None:
        self._deadline = time.monotonic() + self._seconds
        signal.setitimer(signal.ITIMER_REAL, TICK_SECONDS, TICK_SECONDS)

    def __exit__(self, *_: object) -> None:
        signal.setitimer(signal.ITIMER_REAL, 0)


class Protection:
    """Calls the handler so that no task can harm more than itself."""

    def __init__(self, handle: Handler, model: IrisModel, intake: Intake, stop: Stop, task_seconds: float) -> None:
        self._handle, self._model, self._intake = handle, model, intake
        self._task_seconds, self._limit = task_seconds, TimeLimit(task_seconds, stop)
        self._bad: deque[bool] = deque(maxlen=JUDGED)

    def handle(self, messages: list[Message]) -> Replies:
        """Return the replies to a batch. Raises HandBack; ProgramError where most of what arrives is bad."""
        if not messages:
            return Replies()
        buried = Replies()
        if self._intake.suspicions:
            for message in messages:
                attempts = self._intake.attempts(message) - 1
                if attempts >= MAX_ATTEMPTS:
                    text = f"Its worker died {attempts} times while it was working on this task alone."
                    buried.bury(message, task_id_of(message), "killed-its-worker", text, attempts)
            messages = [] if buried.dead_letters else messages  # suspected to death, it was alone in hand
        started = time.perf_counter()
        replies = self._in_time(messages) + buried
        if messages:
            self._intake.measured(len(messages), time.perf_counter() - started)
        self._judge(len(messages), len(replies.dead_letters))
        return replies

    def _in_time(self, messages: list[Message]) -> Replies:
        try:
            with self._limit:
                return self._handle(messages, self._model)
        except TooSlow:
            if len(messages) > 1:
                replies = Replies()
                for message in messages:
                    replies += self._in_time([message])
                return replies
        replies = Replies()
        text = f"It took longer than {self._task_seconds:g} s."
        replies.bury(messages[0], task_id_of(messages[0]), "too-slow", text)
        return replies

    def _judge(self, messages: int, bad: int) -> None:
        """Stop instead of moving a whole topic to the dead letters: somebody sends what is no task at all."""
        self._bad.extend([True] * bad + [False] * (messages - bad))
        if len(self._bad) == JUDGED and sum(self._bad) > JUDGED / 2:
            raise ProgramError(
                f"Most of the last {JUDGED} messages in {TASKS} are no valid tasks. Stopped before the topic is "
                "emptied into the dead letters. See who sends them, then start the worker again."
            )
