"""What stands between a poison task and its worker: a time limit, the dead letters, a stop if nearly all is invalid.

A task that kills its worker is found by the next one, see `suspects.py`.
"""

from collections import deque
from collections.abc import Callable

from confluent_kafka import Message

from common.errors import ProgramError
from common.iris_dto import shorten
from common.iris_model import IrisModel
from common.kafka.topics import TASKS

from .codec import task_id_of
from .replies import Replies
from .suspects import MAX_ATTEMPTS
from .task_queue import Batch, TaskQueue
from .time_limit import TimeLimit, TooSlowError

JUDGED = 200  # messages over which the share of invalid ones is judged

Handler = Callable[[list[Message], IrisModel], Replies]


class Protection:
    """Calls the handler so that no task can harm more than itself."""

    def __init__(self, handle: Handler, model: IrisModel, queue: TaskQueue) -> None:
        self._handle, self._model = handle, model
        self._seconds = queue.options.task_seconds
        self._limit = TimeLimit(self._seconds, queue.stop)
        self._invalid: deque[bool] = deque(maxlen=JUDGED)

    def replies_to(self, batch: Batch) -> Replies:
        """Return the replies to a batch.

        Raises:
            TakeAgainError: the program is to end, and the work would take too long.
            ProgramError: most of what arrives is invalid.
        """
        if not batch.messages:
            return Replies()
        if batch.attempts > MAX_ATTEMPTS:
            deaths = batch.attempts - 1
            text = f"Its worker died {deaths} times while it was working on this task alone."
            return self._refused(batch.messages[0], "killed-its-worker", text, deaths)
        replies = self._in_time(batch.messages)
        self._judge(len(batch.messages), len(replies.dead_letters))
        return replies

    def _in_time(self, messages: list[Message]) -> Replies:
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
            replies += self._in_time([message])
        return replies

    def _refused(self, message: Message, code: str, text: str, attempts: int = 1) -> Replies:
        replies = Replies()
        replies.refuse(message, task_id_of(message), code, text, attempts)
        return replies

    def _judge(self, messages: int, invalid: int) -> None:
        """Stop instead of moving a whole topic to the dead letters: somebody sends what is not a task at all."""
        self._invalid.extend([True] * invalid + [False] * (messages - invalid))
        if len(self._invalid) == JUDGED and sum(self._invalid) > JUDGED / 2:
            raise ProgramError(
                f"Most of the last {JUDGED} messages in {TASKS} are not valid tasks. Stopped before the topic is "
                "emptied into the dead letters. See who sends them, then start the worker again."
            )
