"""What the gateway answers, and what its documentation says about its busy addresses."""

from typing import Any, Literal

from pydantic import BaseModel

from common.iris_dto import Measurement
from common.web.api import schema

from .bodies import MAX_BATCH, UUID4, TaskBody


class Links(BaseModel):
    """Where to ask for a task."""

    self: str
    events: str


class Accepted(BaseModel):
    """A task that Kafka has. `oldest_waiting_seconds` only where the queue is slow."""

    task_id: str
    state: str
    links: Links
    oldest_waiting_seconds: float | None = None


class TaskState(BaseModel):
    """All that is known of a task. What is not known is null."""

    task_id: str
    state: Literal["waiting", "running", "done", "failed", "cancelled"]
    accepted_at: str | None
    started_at: str | None
    finished_at: str | None
    worker: str | None
    attempts: int | None
    partition: int | None
    offset: int | None
    cancel_requested: bool
    X: dict[str, float] | None
    result: dict[str, Any] | None
    error: dict[str, Any] | None
    links: Links


class TaskList(BaseModel):
    """Tasks, the newest first, and the address of those after them."""

    tasks: list[TaskState]
    next: str | None


class BatchAccepted(BaseModel):
    """Tasks that Kafka has, in the order in which they came."""

    batch_id: str
    task_ids: list[str]


ANY = UUID4.replace("a-f", "a-fA-F").replace("ab]", "abAB]")
KEY = {
    "name": "Idempotency-Key",
    "in": "header",
    "required": False,
    "schema": {"type": "string", "pattern": f'^("{ANY}"|{ANY})?$'},
    "description": "a UUID4: the task's id, or the batch's. Sent twice it is one",
}
PREFER = {"name": "Prefer", "in": "header", "required": False, "schema": {"type": "string"}, "example": "wait=5"}
ONE = {"anyOf": [schema(Measurement), schema(TaskBody)]}
IN_TIME = {"description": "Its result, in time", "content": {"application/json": {"schema": schema(TaskState)}}}
TASK_BODY: dict[str, Any] = {
    "parameters": [KEY, PREFER],
    "responses": {"200": IN_TIME},
    "requestBody": {"required": True, "content": {"application/json": {"schema": ONE}}},
}
MANY = {"type": "array", "items": ONE, "minItems": 1, "maxItems": MAX_BATCH}
CSV = {"type": "string", "description": "CSV in UTF-8, the first line names the columns"}
UPLOAD = {"type": "object", "required": ["file"], "properties": {"file": CSV | {"contentMediaType": "text/csv"}}}
BATCH_BODY: dict[str, Any] = {
    "parameters": [KEY],
    "requestBody": {
        "required": True,
        "content": {
            "application/json": {"schema": MANY},
            "text/csv": {"schema": CSV},
            "multipart/form-data": {"schema": UPLOAD},
        },
    },
}
