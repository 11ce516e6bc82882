"""Stage 3 as services, the gateway: the public door. It has the phases read input, validate and show.

Unlike stage 3's plain server:
- it has no model: it asks the model service, and answers with a reason when that is down, slow or full;
- it takes cm, mm and inches, one measurement, a list or a CSV file;
- it has pages for people, and tells how it is: health, metrics, logs with a request id.

Run: uvicorn 3_client_server.services.gateway:app --port 8000
"""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import asdict
from typing import Any

from anyio.to_thread import run_sync
from fastapi import FastAPI, Request, Response
from fastapi.responses import JSONResponse
from fastapi.staticfiles import StaticFiles
from pydantic import BaseModel
from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartException

from common.formats.csv_file import parse_csv
from common.formats.units import UNITS
from common.iris_codec import FastMeasurement, encode, to_fast
from common.iris_dto import FEATURES, IrisType, Measurement
from common.web.api import Health, json_body, schema
from common.web.call import Call
from common.web.problems import Problem, documented, wants_html, wrong_input
from common.web.service import Service

from .formats.codec import read_measurement
from .formats.preprocess import ProcessRequest, read_process
from .monitoring.drift import measure_drift
from .monitoring.monitor import BREAKER_STATES, Monitor
from .pages import routes as pages
from .settings import ServiceSettings
from .upstream.model_client import ModelClient


@asynccontextmanager
async def lifespan(api: FastAPI, settings: ServiceSettings) -> AsyncGenerator[None, None]:
    """Run once when the gateway starts. It starts without the model service, and waits for it."""
    async with ModelClient(settings, monitor) as api.state.model_client:
        yield


app = Service(
    "gateway",
    "Iris gateway",
    "Classifies irises: takes measurements in cm, mm or inches, asks the model service, shows the answers.",
    ServiceSettings,
    lifespan,
    noun="prediction",
    limited={"/classify", "/explain"},  # the pages' own
)
monitor = Monitor(app.slots)
app.watchers.append(monitor.answered)
app.metrics.add_state("breaker_state", "1 for the state of the breaker", BREAKER_STATES, lambda: monitor.breaker())
app.api.include_router(pages.router)
app.api.mount("/static", StaticFiles(directory=pages.STATIC_DIR), name="static")
state = app.api.state
state.monitor, state.problem_page = monitor, pages.problem_page


class ProcessResponse(BaseModel):
    """What was understood, in cm, and what the model says to it: nothing where it was not asked."""

    request_id: str
    status: str
    data: list[Measurement]
    predictions: list[IrisType]


class ExplainResponse(BaseModel):
    """Why the winner and not the runner-up: the contributions and the intercept sum up to the log-odds, exactly."""

    request_id: str
    data: Measurement
    y: IrisType
    winner: str
    runner_up: str
    log_odds: float
    intercept: float
    contributions: dict[str, float]


PROBLEMS = (413, 422, 500, 502, 503, 504)
CSV_PATTERN = rf"^{','.join(FEATURES)}(\r?\n([1-9](\.[0-9]{{1,9}})?,){{3}}[1-9](\.[0-9]{{1,9}})?){{1,1000}}$"
UPLOAD = {
    "type": "object",
    "required": ["file"],
    "properties": {
        "file": {
            "type": "string",
            "contentMediaType": "text/csv",
            "pattern": CSV_PATTERN,
            "description": "CSV in UTF-8. Also accepted: other columns and another order of them, ; instead of a comma",
        },
        "unit": {"type": "string", "enum": list(UNITS), "default": "cm"},
        "forward_to_model": {"type": "string", "enum": ["true", "false"], "default": "true"},
    },
}
PROCESS_BODY = {
    "requestBody": {
        "required": True,
        "content": {
            "application/json": {"schema": schema(ProcessRequest)},
            "multipart/form-data": {"schema": UPLOAD},
        },
    }
}


@app.post("/process", gives=ProcessResponse, problems=(400, *PROBLEMS), takes=PROCESS_BODY)
async def process(call: Call) -> bytes:
    """Validate, pre-process and predict: one measurement, a list, or an uploaded CSV file; cm, mm or inches."""
    if call.header(b"content-type").startswith("multipart/form-data"):
        measurements, forward = await read_upload(call.request())
    else:
        measurements, forward = read_process(call.body)
    call.fields["measurements"] = len(measurements)
    answer: dict[str, Any] = {"request_id": call.request_id, "status": "pre-processed", "data": measurements}
    answer["predictions"] = []
    if forward:
        answer["predictions"] = await state.model_client.predictions(measurements, call.request_id)
        answer["status"] = "predicted"
    return encode(answer)


async def read_upload(request: Request) -> tuple[list[FastMeasurement], bool]:
    """Return the measurements of an uploaded CSV file, in cm, and whether the model is to see them."""
    try:
        async with request.form(max_files=1, max_fields=10) as form:
            file, unit, forward = form.get("file"), form.get("unit", "cm"), form.get("forward_to_model", "true")
            content = await file.read() if isinstance(file, UploadFile) else (file or "").encode("utf-8", "replace")
    except MultiPartException as error:
        raise Problem(400, "Bad Request", error.message) from None
    except ValueError:  # a part in an encoding that does not exist
        raise Problem(400, "Bad Request", "The form cannot be read.") from None
    if file is None:
        raise wrong_input("file: missing, expected an uploaded CSV file.", field="file")
    if forward not in ("true", "false"):
        raise wrong_input("forward_to_model: expected true or false.", field="forward_to_model")
    measurements = await run_sync(parse_csv, content, str(unit))  # a thread: it may take a while
    return list(map(to_fast, measurements)), forward == "true"


@app.post("/iris-classifier", takes=json_body(Measurement), gives=IrisType, problems=PROBLEMS)
async def classify(call: Call) -> bytes:
    """Predict the iris type of a measurement in cm, as stage 3's plain server does."""
    (prediction,) = await state.model_client.predictions([read_measurement(call.body)], call.request_id)
    return encode(prediction)


@app.post("/api/explain", takes=json_body(Measurement), gives=ExplainResponse, problems=PROBLEMS)
async def explain(call: Call) -> bytes:
    """Split the log-odds of the winner against the runner-up into the shares of the four features, exactly."""
    measurement = read_measurement(call.body)
    answer = await state.model_client.explain(measurement, call.request_id)
    return encode({"request_id": call.request_id, "data": measurement} | answer)


@app.api.get("/", tags=["about"], response_model=dict[str, Any])
async def about(request: Request) -> Response:
    """Say what this service is: JSON for programs, a page for people."""
    if wants_html(request):
        response: Response = await pages.home(request)
    else:
        response = JSONResponse(
            {
                "service": "gateway",
                "what": app.api.description,
                "predict": ["POST /process", "POST /iris-classifier"],
                "explain": "POST /api/explain",
                "monitor": "GET /api/monitor",
                "pages": ["/", "/classify", "/explain", "/monitor"],
                "health": ["/health", "/health/live", "/health/ready"],
                "metrics": "/metrics",
                "documentation": ["/docs", "/redoc", "/openapi.json"],
            }
        )
    response.headers["Vary"] = "Accept"
    return response


@app.api.get("/health/ready", tags=["health"], responses=documented([503]))
async def ready() -> Health:
    """Answer when the model service is ready too."""
    await state.model_client.ready()
    return Health()


@app.api.get("/api/monitor", tags=["monitor"])
async def read_monitor() -> dict[str, Any]:
    """Return what the Monitor page shows: requests, latency in seconds, refusals, breaker, and drift of the inputs."""
    snapshot = monitor.snapshot()
    drift = await run_sync(measure_drift, snapshot["inputs"])
    return snapshot | {"drift": asdict(drift)}
