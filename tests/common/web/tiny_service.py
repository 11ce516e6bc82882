"""A service on the frame of `common/web` that is not about irises: it counts the letters of a text."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import anyio
from fastapi import FastAPI, Request
from fastapi.responses import PlainTextResponse
from msgspec.json import encode
from pydantic import BaseModel

from common.web.call import Call
from common.web.problems import Problem
from common.web.service import Service
from common.web.settings import ServiceSettings


class Letters(BaseModel):
    """The answer."""

    letters: int


@asynccontextmanager
async def lifespan(api: FastAPI, settings: ServiceSettings) -> AsyncGenerator[None, None]:
    yield


app = Service("letters", "Letters", "Counts letters.", ServiceSettings, lifespan, noun="text", limited={"/slow"})
app.metrics.add_state("mood", "1 for the mood", ("good", "bad"), lambda: "good")
app.api.state.problem_page = lambda request, problem: PlainTextResponse(f"page: {problem.detail}", problem.status)


@app.post("/count", gives=Letters, problems=(413, 422))
async def count(call: Call) -> bytes:
    """Count the letters of a text."""
    if call.body == b"wrong":
        raise Problem(422, "Wrong", "The text is wrong.", word="wrong")
    if call.body == b"fault":
        raise RuntimeError("the secret")
    if call.body == b"slow":
        await anyio.sleep(30)
    call.fields["letters"] = len(call.body)
    return encode({"letters": len(call.body)})


@app.api.post("/slow")
async def slow(request: Request) -> Letters:
    """The same through FastAPI."""
    return Letters(letters=len(await request.body()))


@app.api.get("/fault")
async def fault() -> None:
    """Fail."""
    raise RuntimeError("the secret")
