"""The largest body that a service reads. Pure ASGI: it counts what arrives, announced or not, and stops with 413."""

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from .problems import Problem


class BodyLimit:
    """ASGI middleware. The problem is raised where the endpoint reads, and answered like any other problem."""

    def __init__(self, app: ASGIApp, max_bytes: int) -> None:
        self.app, self.max_bytes = app, max_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        received = 0

        async def receive_limited() -> Message:
            nonlocal received
            message = await receive()
            received += len(message.get("body", b""))
            if received > self.max_bytes:
                detail = f"The body of the request is larger than {self.max_bytes} bytes."
                raise Problem(413, "The body is too large", detail)
            return message

        await self.app(scope, receive_limited, send)
