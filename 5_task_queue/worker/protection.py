"""What stands between a poison task and its worker: time limits, the dead letters, a warning if most is invalid.

A task that kills its worker is found by the next one, see `suspects.py`.
"""

import sys
import time
from collections import deque
from collections.abc import Callable

from confluent_kafka import Message

from common.iris_dto import shorten
from common.iris_model import IrisModel
from common.kafka.topics import TASKS

from .codec import task_id_of
from .deadlines import in_time
from .replies import Replies
from .suspects import MAX_ATTEMPTS
from .task_queue import Batch, TaskQueue
from .time_limit import TimeLimit, TooSlowError

WARNING_SECONDS = 60.0  # from one warning to the next
JUDGED = 200  # messages over which the share of invalid ones is judged

Handler = Callable[[list[Message], IrisModel], Replies]


class Protection:
    """Calls the handler so that no task can harm more than itself."""

    def __init__(self, handle: Handler, model: IrisModel, queue: TaskQueue) -> None:
        self._handle, self._model = handle, model
        self._seconds, self._clock = queue.options.task_seconds, queue.delivery.clock
        self._cancelled = queue.cancelled
        self._limit = TimeLimit(self._seconds, queue.stop)
        self._invalid: deque[bool] = deque(maxlen=JUDGED)
        self._next_warning = 0.0

    def replies_to(self, batch: Batch) -> Replies:
        """Return the replies to a batch.

        Raises:
            TakeAgainError: the program is to end, and the work would take too long.
        """
        if not batch.messages:
            return Replies()
        if batch.attempts > MAX_ATTEMPTS:
            deaths = batch.attempts - 1
            text = f"Its worker died {deaths} times while it was working on this task alone."
            return self._refused(batch.messages[0], "killed-its-worker", text, deaths)
        messages, replies = in_time(batch.messages, self._clock)
        messages = self._cancelled.without(messages, replies)
        replies += self._handled(messages)
        self._judge(len(batch.messages), len(replies.dead_letters))
        return replies

    def _handled(self, messages: list[Message]) -> Replies:
        if not messages:
            return Replies()
        try:
            with self._limit:
                return self._handle(messages, self._model)
        except TooSlowError:
            code, text = "too-slow", f"It took longer than {self._seconds:g} s."
        except (ArithmeticError, LookupError, MemoryError, RuntimeError, TypeError, ValueError) as error:
            code, text = "failed", f"The model failed with {type(error).__name__}: {shorten(str(error), 200)}"
        if len(messages) == 1:
            return self._refused(messages[0], code, text)
        replies = Replies()
        for message in messages:
            replies += self._handled([message])
        return replies

    def _refused(self, message: Message, code: str, text: str, attempts: int = 1) -> Replies:
        replies = Replies()
        replies.refuse(message, task_id_of(message), code, text, attempts)
        return replies

    def _judge(self, messages: int, invalid: int) -> None:
        """Say so, now and then, if somebody sends what are not tasks. Good tasks beside them wait for nobody."""
        self._invalid.extend([True] * invalid + [False] * (messages - invalid))
        mostly = len(self._invalid) == JUDGED and sum(self._invalid) > JUDGED / 2
        if mostly and time.monotonic() > self._next_warning:
            self._next_warning = time.monotonic() + WARNING_SECONDS
            print(
                f"Most of the last {JUDGED} messages in {TASKS} are not valid tasks. They become dead letters. "
                "See who sends them: python -m 5_task_queue.dead_letters list",
                file=sys.stderr,
                flush=True,
            )
