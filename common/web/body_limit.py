"""The largest body that a service reads: it counts what arrives, announced or not, and stops with 413."""

from starlette.types import Message, Receive

from common.web.problems import Problem


async def read_body(receive: Receive, max_bytes: int) -> bytes:
    """Return the whole body of a request.

    Raises:
        Problem: 413, it is too large; 400, the client has gone in the middle of it.
    """
    parts, size, more = [], 0, True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise Problem(400, "The request broke off", "The connection was closed before the whole body had come.")
        part, more = message.get("body", b""), message.get("more_body", False)
        parts.append(part)
        size += len(part)
        if size > max_bytes:
            raise too_large(max_bytes)
    return b"".join(parts)


def limit_body(receive: Receive, max_bytes: int) -> Receive:
    """Return a `receive` that raises the Problem 413 once more than `max_bytes` have come."""
    received = 0

    async def receive_limited() -> Message:
        nonlocal received
        message = await receive()
        received += len(message.get("body", b""))
        if received > max_bytes:
            raise too_large(max_bytes)
        return message

    return receive_limited


def too_large(max_bytes: int) -> Problem:
    """Return the problem of a body that is larger than this."""
    return Problem(413, "The body is too large", f"The body of the request is larger than {max_bytes} bytes.")
