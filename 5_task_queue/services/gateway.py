"""Stage 5 as services, the gateway: the queue behind HTTP. It has the phases read input, validate and show.

Unlike stage 3's gateway:
- it answers as soon as the task is safe in Kafka (202), and whoever wants the result asks for it, waits, or follows it;
- it holds no state of its own: several stand side by side, and one that starts anew reads from Kafka what there is.

Run: uvicorn 5_task_queue.services.gateway:app --port 8000
"""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Annotated, Any, Literal

from anyio.to_thread import run_sync
from fastapi import FastAPI, Header, Query, Request, Response
from fastapi.responses import JSONResponse
from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartException

from common.formats.csv_file import parse_csv
from common.iris_codec import encode, to_fast
from common.web.api import Health
from common.web.call import Call
from common.web.problems import Problem, documented, wrong_input
from common.web.service import Service

from .formats.answers import BATCH_BODY, TASK_BODY, Accepted, BatchAccepted, TaskList, TaskState
from .formats.bodies import Found, read_batch, read_task
from .formats.headers import idempotency_key, same_id, wait_seconds
from .formats.task_ids import new_id
from .queue.door import FINAL, Door
from .queue.known import Known
from .settings import ServiceSettings
from .streams import event_id, read_vector, results, stream, task_events

PROBLEMS = (400, 409, 413, 422, 500, 503)
RETRY_AFTER = {"Retry-After": "1"}
LISTED = 100  # tasks


@asynccontextmanager
async def lifespan(api: FastAPI, settings: ServiceSettings) -> AsyncGenerator[None, None]:
    """Run once when the gateway starts. It starts without Kafka, and waits for it."""
    api.state.door = Door(settings)
    try:
        yield
    finally:
        await run_sync(api.state.door.close)


app = Service(
    "gateway",
    "Iris task gateway",
    "Takes measurements as tasks, answers as soon as they are safe, and tells what becomes of them.",
    ServiceSettings,
    lifespan,
    noun="task",
)
state = app.api.state


def door() -> Door:
    """Return the queue."""
    return state.door


app.metrics.add_state(
    "kafka_state", "1 for whether Kafka answers", ("up", "down"), lambda: "down" if door().connection.down else "up"
)


@app.post("/tasks", gives=Accepted, problems=PROBLEMS, takes=TASK_BODY, status=202)
async def post_task(call: Call) -> bytes:
    """Accept a task: 202 as soon as Kafka has it. With `Prefer: wait=5` 200 and its result, if that comes in time."""
    task_id, measurement = read_task(call.body)
    task_id = same_id(idempotency_key(call.header(b"idempotency-key")), task_id)
    seconds = wait_seconds(call.header(b"prefer"), door().settings.max_wait_seconds)
    task = await door().submit(task_id, measurement, call.request_id)
    call.fields["task_id"] = task.task_id
    address = f"/tasks/{task.task_id}"
    call.headers.append((b"location", address.encode("ascii")))
    if seconds is not None:
        call.headers.append((b"preference-applied", f"wait={seconds:g}".encode("ascii")))
        if await in_time(task, seconds):
            return encode(door().describe(task))
    call.answers = 202
    call.headers.append((b"retry-after", b"1"))
    late = door().late_seconds()
    slow = f',"oldest_waiting_seconds":{late:.1f}' if late else ""
    links = f'{{"self":"{address}","events":"{address}/events"}}'
    text = f'{{"task_id":"{task.task_id}","state":"{door().known.state_of(task)}","links":{links}{slow}}}'
    return text.encode("ascii")


async def in_time(task: Known, seconds: float) -> bool:
    """Wait for the outcome. A gateway that is to end waits no longer: the task is accepted, and that is the answer."""
    try:
        return await door().wait(task, seconds)
    except asyncio.CancelledError:
        return False


@app.post("/tasks/batch", gives=BatchAccepted, problems=PROBLEMS, takes=BATCH_BODY, status=202)
async def post_batch(call: Call) -> bytes:
    """Accept up to 10 000 tasks, as a JSON array or a CSV file. All are looked at before the first one is sent."""
    key = idempotency_key(call.header(b"idempotency-key"))
    kind = call.header(b"content-type").partition(";")[0].strip().lower()
    if kind == "text/csv":
        found = await run_sync(from_csv, call.body)
    elif kind == "multipart/form-data":
        found = await run_sync(from_csv, await uploaded(call.request()))
    else:
        found = await run_sync(read_batch, call.body)
    call.fields["tasks"] = len(found)
    batch_id = key or new_id()
    ids = await door().submit_batch(found, batch_id, call.request_id)
    call.answers = 202
    return encode({"batch_id": batch_id, "task_ids": ids})


def from_csv(content: bytes) -> list[Found]:
    """Return the measurements of a CSV file. Raises Problem 422 with the row."""
    return [(None, to_fast(measurement)) for measurement in parse_csv(content)]


async def uploaded(request: Request) -> bytes:
    """Return the file of a form."""
    try:
        async with request.form(max_files=1, max_fields=10) as form:
            file = form.get("file")
            content = await file.read() if isinstance(file, UploadFile) else (file or "").encode("utf-8", "replace")
    except MultiPartException as error:
        raise Problem(400, "Bad Request", error.message) from None
    except ValueError:  # a part in an encoding that does not exist
        raise Problem(400, "Bad Request", "The form cannot be read.") from None
    if file is None:
        raise wrong_input("file: missing, expected an uploaded CSV file.", field="file")
    return content


@app.api.get("/tasks", tags=["tasks"], response_model=TaskList, responses=documented([404, 422]))
async def list_tasks(
    state: Literal["waiting", "running", "done", "failed", "cancelled"] | None = None,
    limit: Annotated[int, Query(ge=1, le=1000)] = LISTED,
    after: Annotated[str | None, Query(max_length=128)] = None,
) -> Response:
    """List the tasks, the newest first; `after` is the last id of the page before."""
    known, last = door().known, None
    if after is not None and (last := known.by_id.get(after)) is None:
        raise Problem(404, "No such task", "after: this gateway does not know this task.")
    found: list[dict[str, Any]] = []
    more = False
    for task in known.newest(state, last):
        if more := len(found) == limit:
            break
        found.append(door().describe(task))
    chosen = f"&state={state}" if state else ""
    next_ = f"/tasks?limit={limit}&after={found[-1]['task_id']}{chosen}" if more else None
    return Response(encode({"tasks": found, "next": next_}), media_type="application/json")


@app.api.get("/tasks/{task_id}", tags=["tasks"], response_model=TaskState, responses=documented([404, 410]))
async def read_task_state(task_id: str) -> Response:
    """Tell the state of a task; `Retry-After` while it is not done."""
    task = door().find(task_id)
    headers = {} if task.state in FINAL else RETRY_AFTER
    return Response(encode(door().describe(task)), media_type="application/json", headers=headers)


@app.api.delete(
    "/tasks/{task_id}", tags=["tasks"], status_code=202, response_model=TaskState,
    responses=documented([404, 409, 410, 503]),
)  # fmt: skip
async def cancel_task(task_id: str, request: Request) -> Response:
    """Cancel a task. A worker that has not begun with it answers it with an error; one that has, with its result."""
    task = door().find(task_id)
    await door().cancel(task, request.state.request_id)
    return Response(encode(door().describe(task)), 202, media_type="application/json")


LastId = Annotated[str, Header(alias="Last-Event-ID", max_length=20_000)]
STREAM = {200: {"content": {"text/event-stream": {}}}, 204: {"description": "There is nothing to come"}}


@app.api.get(
    "/tasks/{task_id}/events",
    tags=["tasks"],
    response_class=Response,
    responses=STREAM | documented([404, 410, 422, 503]),
)
async def follow_task(task_id: str, last: LastId = "") -> Response:
    """Follow a task until it has an outcome, as server-sent events."""
    task = door().find(task_id)
    if task.state in FINAL and event_id(door(), task) == last:
        return Response(status_code=204)  # a browser then stops asking
    with door().streams:  # full: refused before the answer begins
        return stream(task_events(door(), task, last))


@app.api.get("/results", tags=["tasks"], response_class=Response, responses=STREAM | documented([422, 503]))
async def follow_results(last: LastId = "") -> Response:
    """Follow all results from now on, or from where `Last-Event-ID` says, as server-sent events."""
    if last:
        read_vector(last)
    with door().streams:
        return stream(results(door(), last))


@app.api.get("/", tags=["about"])
async def about() -> JSONResponse:
    """Say what this service is, and how the queue is."""
    oldest = door().late_seconds()
    return JSONResponse(
        {
            "service": "gateway",
            "what": app.api.description,
            "submit": ["POST /tasks", "POST /tasks/batch"],
            "ask": ["GET /tasks/{task_id}", "GET /tasks/{task_id}/events", "GET /tasks", "GET /results"],
            "cancel": "DELETE /tasks/{task_id}",
            "tasks": door().known.counts(),
            "slow": bool(oldest),
            "health": ["/health", "/health/live", "/health/ready"],
            "metrics": "/metrics",
            "documentation": ["/docs", "/redoc", "/openapi.json"],
        }
    )


@app.api.get("/health/ready", tags=["health"], responses=documented([503]))
async def ready() -> Health:
    """Answer when Kafka answers, and what stood there has been read."""
    if not door().ready:
        raise Problem(503, "Not ready", "Kafka does not answer, or has not been read to its end yet.", 1.0)
    return Health()
