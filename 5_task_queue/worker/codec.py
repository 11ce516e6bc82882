"""Task messages to numbers and back, with the fast codec of `common/iris_codec.py`.

`Task` alone decides: what the fast way refuses is judged by `Task` once more, and the fast way accepts nothing that
`Task` refuses.
"""

from typing import Annotated

import msgspec
import numpy as np
from confluent_kafka import Message
from numpy.typing import NDArray
from pydantic import ValidationError

from common import iris_codec
from common.iris_codec import NOT_FAST, FastIrisType, FastMeasurement, encode, json_decoder, to_fast, to_iris_types
from common.iris_dto import TASK_ID_MAX_CHARACTERS, InvalidMeasurement, Task, first_finding, validate_json
from common.iris_model import IrisModel

from .replies import Replies

TaskId = Annotated[str, msgspec.Meta(min_length=1, max_length=TASK_ID_MAX_CHARACTERS)]


class FastTask(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    """`Task`, without the fields that `Task` would ignore."""

    task_id: TaskId
    X: FastMeasurement


class FastResult(msgspec.Struct, gc=False):
    """`Result` with an answer."""

    task_id: str
    X: FastMeasurement
    y: FastIrisType


class Refused(Exception):
    """A message is not a task; the text says why, in one line."""


class OfStage4(Exception):
    """A message is a measurement without a task id: stage 4's, whose own worker answers it."""


_fast = json_decoder(FastTask)


def decode_one(value: bytes | None) -> FastTask:
    """Return the task in one message.

    Raises:
        OfStage4: it is a valid measurement without a task id.
        Refused: it is anything else.
    """
    try:
        return _fast(value or b"")
    except NOT_FAST:
        pass
    try:
        task = Task.model_validate_json(value or b"")
    except ValidationError as error:
        reason = first_finding(error)
    else:
        return FastTask(task.task_id, to_fast(task.X))
    try:
        validate_json(value)
    except InvalidMeasurement:
        raise Refused(reason) from None
    raise OfStage4


def to_array(tasks: list[FastTask]) -> NDArray[np.float64]:
    """Return the measurements in cm, shape (n, 4)."""
    return iris_codec.to_array([task.X for task in tasks])


def encode_batch(
    tasks: list[FastTask], X: NDArray[np.float64], probabilities: NDArray[np.float64], model: IrisModel
) -> list[bytes]:
    """Return the result message of each task, from probabilities of shape (n, 3)."""
    iris_types = to_iris_types(X, probabilities, model)
    results = map(FastResult, [task.task_id for task in tasks], [task.X for task in tasks], iris_types)
    return [encode(result) for result in results]


def decode(messages: list[Message]) -> tuple[list[FastTask], Replies]:
    """Return the tasks among the messages, and the replies to messages that are not tasks."""
    replies = Replies()
    try:
        return [_fast(message.value() or b"") for message in messages], replies  # nearly always
    except NOT_FAST:
        pass
    tasks = []
    for message in messages:
        try:
            tasks.append(decode_one(message.value()))
        except OfStage4:
            replies.skipped.append(message)
        except Refused as refused:
            replies.refuse(message, task_id_of(message), "invalid", str(refused))
    return tasks, replies


def task_id_of(message: Message) -> str | None:
    """Return the id under which somebody may wait for an answer to a message that is not a task: its key."""
    try:
        task_id = (message.key() or b"").decode("utf-8")
    except UnicodeDecodeError:
        return None
    return task_id if 0 < len(task_id) <= TASK_ID_MAX_CHARACTERS else None
