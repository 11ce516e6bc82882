"""What the handler answers to a batch: results, errors for whoever waits, and dead letters."""

from dataclasses import dataclass, field

from confluent_kafka import Message

from common.iris_dto import Result, TaskError


@dataclass
class DeadLetter:
    """A message that cannot be done, and why."""

    message: Message
    reason: str
    attempts: int = 1


@dataclass
class Replies:
    """The replies to a batch, in no particular order."""

    results: list[tuple[str, bytes]] = field(default_factory=list)  # (task id, message)
    dead_letters: list[DeadLetter] = field(default_factory=list)
    errors: list[tuple[str, str]] = field(default_factory=list)  # (task id, code) of the results that are errors
    skipped: list[Message] = field(default_factory=list)  # valid messages of stage 4, which its own worker answers

    def error(self, task_id: str | None, code: str, text: str) -> None:
        """Answer a task with an error, if it is known who waits for it."""
        if task_id:
            value = Result(task_id=task_id, error=TaskError(code=code, message=text)).to_json()
            self.results.append((task_id, value))
            self.errors.append((task_id, code))

    def refuse(self, message: Message, task_id: str | None, code: str, text: str, attempts: int = 1) -> None:
        """Answer with an error, and keep the message as a dead letter."""
        self.error(task_id, code, text)
        self.dead_letters.append(DeadLetter(message, text, attempts))

    def __add__(self, other: "Replies") -> "Replies":
        return Replies(
            self.results + other.results,
            self.dead_letters + other.dead_letters,
            self.errors + other.errors,
            self.skipped + other.skipped,
        )
