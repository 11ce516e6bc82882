"""What can be done with tasks, whoever asks for it, a program or a page: submit one or many, cancel, describe."""

import time
from datetime import UTC, datetime
from typing import Any

import msgspec

from common.iris_codec import FastMeasurement
from common.kafka.topics import CANCELLED
from common.web.limiter import Slots
from common.web.problems import Problem, wrong_input

from ..formats.bodies import Found, message
from ..formats.task_ids import batch_ids, new_id
from ..settings import ServiceSettings
from .connection import RETRY_SECONDS, GatewayConnection
from .known import Known, KnownTasks, is_accepted, measurement_of, pack, read_answer, row_of
from .sender import Sender
from .view import View

FINAL = ("done", "failed", "cancelled")


class Door:
    """The queue as the gateway sees it, from its start to its end."""

    def __init__(self, settings: ServiceSettings) -> None:
        self.settings = settings
        self.connection = GatewayConnection()
        self.known = KnownTasks(settings.max_known)
        self.view = View(self.known)
        self.sender = Sender(
            self.connection, settings.produce_seconds, settings.max_unacknowledged, settings.max_batches
        )
        self.streams = Slots("stream", settings.max_streams)
        self.waiting = 0  # requests that wait for a result

    def close(self) -> None:
        """Let go of Kafka."""
        self.sender.close()
        self.view.close()

    @property
    def ready(self) -> bool:
        """Return whether Kafka answers, and everything is known that there was."""
        return not self.connection.down and self.view.caught_up

    async def submit(self, task_id: str | None, measurement: FastMeasurement, request_id: str) -> Known:
        """Return the task once Kafka has acknowledged it.

        Raises:
            Problem: 422, the id belongs to another measurement; 503, it was not accepted, or nobody knows.
        """
        row = pack(*measurement.row())
        if task_id is None:
            task_id = new_id()
        elif found := self._same(task_id, row):
            return found
        self.refuse_if_slow()
        task = self.known.sent(task_id, row)
        try:
            place = await self.sender.send(task_id, message(task_id, measurement), request_id)
        except Problem as problem:
            if problem.title != "Fate unknown":
                self.known.forget(task)
            raise
        self.known.accepted(task_id, row, *place)
        return task

    async def submit_batch(self, found: list[Found], batch_id: str | None, request_id: str) -> list[str]:
        """Return the ids of the tasks once Kafka has acknowledged all of them.

        Raises:
            Problem: 422, as for one; 503, nothing was accepted, or with the ids whose fate is unknown.
        """
        self.refuse_if_slow()
        ids = [own or made for (own, _), made in zip(found, batch_ids(batch_id or new_id(), len(found)), strict=True)]
        new: list[tuple[str, FastMeasurement]] = []
        for index, (task_id, (own, measurement)) in enumerate(zip(ids, found, strict=True)):
            if (own or batch_id) and self._same(task_id, pack(*measurement.row()), index):
                continue
            new.append((task_id, measurement))
        tasks = [self.known.sent(task_id, pack(*measurement.row())) for task_id, measurement in new]
        try:
            lines = [(task_id, message(task_id, measurement)) for task_id, measurement in new]
            left = await self.sender.send_batch(lines, request_id)
        except Problem:
            for task in tasks:
                self.known.forget(task)
            raise
        if left:
            unknown = [task.task_id for task in tasks if not is_accepted(task)]
            raise Problem(
                503,
                "Fate unknown",
                f"Kafka has not acknowledged {len(unknown)} of {len(ids)} tasks in time. Their fate is unknown: "
                "ask for them, or send the batch again with the same key.",
                RETRY_SECONDS,
                task_ids=unknown,
            )
        for task in tasks:
            self.known.accepted_somewhere(task)
        return ids

    def _same(self, task_id: str, row: bytes, index: int | None = None) -> Known | None:
        """Return the task if it is accepted already. Raises Problem 422 if it has another measurement."""
        task = self.known.by_id.get(task_id)
        if task is None:
            return None
        if row_of(task) not in (None, row):
            where = {} if index is None else {"index": index}
            raise wrong_input(
                f"{'' if index is None else f'{index}: '}the key {task_id} belongs to a task with another measurement.",
                task_id=task_id,
                **where,
            )
        return task if is_accepted(task) else None

    async def wait(self, task: Known, seconds: float) -> bool:
        """Wait for an outcome; return whether there is one. Where too many wait already, do not wait."""
        if task.outcome is not None:
            return True
        if self.waiting >= self.settings.max_waiting:
            return False  # as if the time were over
        self.waiting += 1
        try:
            return await self.known.wait(task.task_id, seconds)
        finally:
            self.waiting -= 1

    async def cancel(self, task: Known, request_id: str) -> None:
        """Tell all workers that nobody wants this task any more.

        Raises:
            Problem: 409, it has an outcome; 503, Kafka does not take it.
        """
        if task.outcome is not None:
            raise Problem(409, "The task has an outcome", f"The task {task.task_id} is {task.state}.", state=task.state)
        value = msgspec.json.encode({"task_id": task.task_id})
        await self.sender.send(task.task_id, value, request_id, CANCELLED)
        task.cancel_asked = True
        self.known.tell()

    def find(self, task_id: str) -> Known:
        """Return a task.

        Raises:
            Problem: 404, nobody knows it, or not yet; 410, it was accepted, and is forgotten by now.
        """
        task = self.known.by_id.get(task_id)
        if task is not None and is_accepted(task):
            return task
        if task is not None:
            text = "This gateway has sent it, and Kafka has not acknowledged it: its fate is not known yet."
            raise Problem(404, "Fate unknown", text, RETRY_SECONDS)
        if self.known.was_here(task_id):
            text = "The task was accepted once, and is older than what this gateway remembers."
            raise Problem(410, "Forgotten", text)
        raise Problem(404, "No such task", "Nobody knows a task with this id.")

    # --- the queue itself ---

    def late_seconds(self) -> float:
        """Return how long the oldest task has been waiting, if that is too long; else 0."""
        since = self.known.oldest_waiting_ms()
        seconds = time.time() - since / 1000 if since else 0.0
        return seconds if seconds > self.settings.slow_queue_seconds else 0.0

    def refuse_if_slow(self) -> None:
        """Raise Problem 503 if the queue is too slow and the settings say so."""
        if self.settings.refuse_slow_queue and (late := self.late_seconds()):
            limit = self.settings.slow_queue_seconds
            raise Problem(
                503,
                "The queue is too slow",
                f"The oldest task has been waiting for {late:.0f} s, the limit is {limit:g} s. More workers?",
                max(RETRY_SECONDS, min(limit, 60.0)),
                limit=limit,
                oldest_waiting_seconds=round(late, 1),
            )

    def describe(self, task: Known) -> dict[str, Any]:
        """Return everything that is known of a task."""
        takings = self.known.takings(task)
        told: dict[str, Any] = {"task_id": task.task_id, "state": self.known.state_of(task)}
        told["accepted_at"], told["finished_at"] = iso(task.accepted_ms), iso(task.done_ms)
        told["started_at"] = iso(takings[-1].time_ms) if takings else None
        told["worker"] = takings[-1].worker if takings else None
        told["attempts"] = max(len(takings), takings[-1].attempts) if takings else None
        told["partition"] = task.partition if task.offset >= 0 else None
        told["offset"] = task.offset if task.offset >= 0 else None
        told["cancel_requested"] = task.cancel_asked
        told["X"] = measurement_of(task)
        told["result"] = told["error"] = None
        if task.outcome is not None:
            answer = read_answer(task.outcome)
            told["error"] = answer.error
            told["result"] = None if answer.error else msgspec.json.decode(answer.y)
        told["links"] = links(task.task_id)
        return told


def links(task_id: str) -> dict[str, str]:
    """Return where to ask for a task."""
    return {"self": f"/tasks/{task_id}", "events": f"/tasks/{task_id}/events"}


def iso(milliseconds: int) -> str | None:
    """Return Unix time as ISO 8601, None for 0."""
    return datetime.fromtimestamp(milliseconds / 1000, UTC).isoformat(timespec="milliseconds") if milliseconds else None
