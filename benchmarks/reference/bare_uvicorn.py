"""The upper bound of stage 3: uvicorn with a fixed JSON body and nothing in between. It never changes."""

BODY = b'{"iris_type":0,"species":"setosa"}'
START = {
    "type": "http.response.start",
    "status": 200,
    "headers": [(b"content-type", b"application/json"), (b"content-length", str(len(BODY)).encode("ascii"))],
}


async def app(scope, receive, send) -> None:
    """Answer every request alike."""
    if scope["type"] == "http":
        await send(START)
        await send({"type": "http.response.body", "body": BODY})
