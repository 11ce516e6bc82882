"""What a client can ask for in headers: to wait a moment for the result, and that a task sent twice is one task.

- `Prefer: wait=5` (RFC 7240): what is malformed is ignored, as the RFC wants it;
- `Idempotency-Key: "5f0c..."` (an IETF draft): a quoted string, or bare. Here it is the task's id, a UUID4.
"""

import re

from common.iris_dto import shorten
from common.web.problems import Problem, wrong_input

from .task_ids import is_uuid4

_wait = re.compile(r'\s*wait\s*=\s*(?:"([0-9]{1,9})"|([0-9]{1,9}))\s*(?:;.*)?', re.IGNORECASE).fullmatch


def wait_seconds(prefer: str, most: float) -> float | None:
    """Return how long the client wants to wait, at most `most` seconds; None if it does not say so.

    >>> wait_seconds("respond-async, wait=5", 30)
    5.0
    """
    for part in prefer.split(","):
        if found := _wait(part):
            return min(float(found[1] or found[2]), most)
    return None


def idempotency_key(value: str) -> str | None:
    """Return the key in a header's value, None if there is none.

    Raises:
        Problem: 422, it is not a UUID4.
    """
    if not value:
        return None
    key = value[1:-1] if len(value) > 1 and value[0] == value[-1] == '"' else value
    return checked_id(key, "Idempotency-Key")


def checked_id(task_id: str, where: str) -> str:
    """Return an id in lower case. Raises Problem 422 if it is not a UUID4."""
    lower = task_id.lower()
    if not is_uuid4(lower):
        raise wrong_input(f"{where}: {shorten(task_id)!r} is not a UUID4.", field=where)
    return lower


def same_id(key: str | None, task_id: str | None) -> str | None:
    """Return the id that a task has, in its header or its body. Raises Problem 409 if they disagree."""
    if key and task_id and key != task_id:
        raise Problem(409, "Two ids", f"task_id: it is {task_id}, and Idempotency-Key says {key}.")
    return key or task_id
