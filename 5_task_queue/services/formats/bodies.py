"""What the gateway takes: a measurement, or one with an id of its own; a list of them, or a CSV file.

The fast codec of `common/iris_codec.py` accepts; what it refuses is judged by pydantic, which knows what to say.
"""

import json
from typing import Annotated, Any

import msgspec
from pydantic import BaseModel, Field, ValidationError

from common.iris_codec import NOT_FAST, FastMeasurement, encode, json_decoder, to_fast
from common.iris_dto import InvalidMeasurement, Measurement, shorten, validate_object
from common.web.problems import Problem, wrong_input

from .headers import checked_id

MAX_BATCH = 10_000  # tasks
UUID4 = "[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}"


class TaskBody(BaseModel):
    """A measurement with an id of the client's own, a UUID4."""

    task_id: Annotated[str, Field(pattern=f"^{UUID4}$")]
    X: Measurement


class FastTaskBody(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    """`TaskBody` for msgspec."""

    task_id: str
    X: FastMeasurement


class TaskMessage(msgspec.Struct, gc=False):
    """The message of a task, as workers read it."""

    task_id: str
    X: FastMeasurement


Found = tuple[str | None, FastMeasurement]  # the client's own id, if any
_measurement = json_decoder(FastMeasurement)
_task = json_decoder(FastTaskBody)
_batch = json_decoder(list[FastMeasurement])


def message(task_id: str, measurement: FastMeasurement) -> bytes:
    """Return the message of a task."""
    return encode(TaskMessage(task_id, measurement))


def read_task(body: bytes) -> Found:
    """Return the measurement in a body, and the id that it brings.

    Raises:
        Problem: 422, it is neither; the detail names the field.
    """
    try:
        return None, _measurement(body)
    except NOT_FAST:
        pass
    try:
        task = _task(body)
        return checked_id(task.task_id, "task_id"), task.X
    except NOT_FAST:
        return _read(_json(body), "")


def read_batch(body: bytes) -> list[Found]:
    """Return the measurements in a JSON array, each with the id that it brings.

    Raises:
        Problem: 422, with the index of the first that is wrong.
    """
    try:
        found: list[Found] = [(None, measurement) for measurement in _batch(body)]
    except NOT_FAST:
        values = _json(body)
        if not isinstance(values, list):
            raise wrong_input("Expected a JSON array of measurements.") from None
        check_size(len(values))
        found = [_read(value, f"{index}: ", index=index) for index, value in enumerate(values)]
    check_size(len(found))
    ids = [task_id for task_id, _ in found if task_id]
    if len(set(ids)) < len(ids):
        seen = set()
        for index, (task_id, _) in enumerate(found):
            if task_id in seen:
                raise wrong_input(f"{index}: task_id: {task_id} is in the batch already.", index=index)
            seen.add(task_id or index)
    return found


def check_size(count: int) -> None:
    """Raise Problem 422 if a batch is empty or too large."""
    if not 0 < count <= MAX_BATCH:
        raise wrong_input(f"The batch has {count} tasks, expected 1 to {MAX_BATCH}.", limit=MAX_BATCH, count=count)


def _json(body: bytes) -> Any:
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        raise wrong_input("The body is not JSON.") from None


def _read(value: Any, where: str, **extra: Any) -> Found:
    try:
        if isinstance(value, dict) and ("X" in value or "task_id" in value):
            task_id = value.get("task_id")
            if task_id is not None and not isinstance(task_id, str):
                raise wrong_input(f"{where}task_id: {shorten(repr(task_id))} is not a UUID4.", **extra)
            checked = checked_id(task_id, f"{where}task_id") if task_id is not None else None
            return checked, to_fast(_measurement_in(value, "X"))
        return None, to_fast(validate_object(value))
    except Problem as problem:
        problem.extra |= extra
        raise
    except (InvalidMeasurement, ValidationError) as error:
        raise wrong_input(f"{where}{error}", **extra) from None


def _measurement_in(value: dict[str, Any], name: str) -> Measurement:
    if name not in value:
        raise InvalidMeasurement(f"{name}: missing, expected a measurement.")
    try:
        return validate_object(value[name])
    except InvalidMeasurement as error:
        raise InvalidMeasurement(f"{name}.{error}") from None
