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
from fastapi import FastAPI, HTTPException, Request, Response
from fastapi.responses import JSONResponse
from fastapi.staticfiles import StaticFiles
from pydantic import BaseModel
from starlette.datastructures import UploadFile

from common.iris_codec import FastMeasurement, encode, to_fast
from common.iris_dto import FEATURES, IrisType, Measurement

from . import pages
from .codec import read_measurement
from .drift import measure_drift
from .model_client import ModelClient
from .preprocess import UNITS, ProcessRequest, parse_csv, read_process
from .problems import documented, wants_html, wrong_input
from .service import Health, add_prediction, json_body, json_response, make_app, schema
from .settings import ServiceSettings


@asynccontextmanager
async def lifespan(app: FastAPI, settings: ServiceSettings) -> AsyncGenerator[None, None]:
    """Run once when the gateway starts. It starts without the model service, and waits for it."""
    async with ModelClient(settings, app.state.monitor) as app.state.model_client:
        yield


app = make_app(
    "gateway",
    "Iris gateway",
    "Classifies irises: takes measurements in cm, mm or inches, asks the model service, shows the answers.",
    {"/process", "/iris-classifier", "/api/explain", "/classify", "/explain"},
    lifespan,
)
app.include_router(pages.router)
app.mount("/static", StaticFiles(directory=pages.STATIC_DIR), name="static")
app.state.problem_page = pages.problem_page


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


async def process(request: Request) -> Response:
    """Validate, pre-process and predict: one measurement, a list, or an uploaded CSV file; cm, mm or inches."""
    if request.headers.get("content-type", "").startswith("multipart/form-data"):
        measurements, forward = await read_upload(request)
    else:
        measurements, forward = read_process(await request.body())
    request.state.fields["measurements"] = len(measurements)
    answer: dict[str, Any] = {"request_id": request.state.request_id, "status": "pre-processed", "data": measurements}
    answer["predictions"] = []
    if forward:
        client: ModelClient = request.app.state.model_client
        answer["predictions"] = await client.predictions(measurements, request.state.request_id)
        answer["status"] = "predicted"
    return json_response(encode(answer))


async def read_upload(request: Request) -> tuple[list[FastMeasurement], bool]:
    """Return the measurements of an uploaded CSV file, in cm, and whether the model is to see them."""
    try:
        async with request.form(max_files=1, max_fields=10) as form:
            file, unit, forward = form.get("file"), form.get("unit", "cm"), form.get("forward_to_model", "true")
            content = await file.read() if isinstance(file, UploadFile) else (file or "").encode("utf-8", "replace")
    except ValueError:  # a part in an encoding that there is not
        raise HTTPException(400, "The form cannot be read.") from None
    if file is None:
        raise wrong_input("file: missing, expected an uploaded CSV file.", field="file")
    if forward not in ("true", "false"):
        raise wrong_input("forward_to_model: expected true or false.", field="forward_to_model")
    measurements = await run_sync(parse_csv, content, str(unit))  # a thread: it may take a while
    return list(map(to_fast, measurements)), forward == "true"


async def classify(request: Request) -> Response:
    """Predict the iris type of a measurement in cm, as stage 3's plain server does."""
    measurement = read_measurement(await request.body())
    (prediction,) = await request.app.state.model_client.predictions([measurement], request.state.request_id)
    return json_response(encode(prediction))


async def explain(request: Request) -> Response:
    """Split the log-odds of the winner against the runner-up into the shares of the four features, exactly."""
    measurement = read_measurement(await request.body())
    answer = await request.app.state.model_client.explain(measurement, request.state.request_id)
    return json_response(encode({"request_id": request.state.request_id, "data": measurement} | answer))


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
process_body = {
    "requestBody": {
        "required": True,
        "content": {
            "application/json": {"schema": schema(ProcessRequest)},
            "multipart/form-data": {"schema": UPLOAD},
        },
    }
}
add_prediction(app, "/process", process, ProcessResponse, (400, *PROBLEMS), process_body)
add_prediction(app, "/iris-classifier", classify, IrisType, PROBLEMS, json_body(Measurement))
add_prediction(app, "/api/explain", explain, ExplainResponse, PROBLEMS, json_body(Measurement))


@app.get("/", tags=["about"], response_model=dict[str, Any])
async def about(request: Request) -> Response:
    """Tell what this is: JSON for programs, a page for people."""
    if wants_html(request):
        response: Response = await pages.home(request)
    else:
        response = JSONResponse(
            {
                "service": "gateway",
                "what": app.description,
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


@app.get("/health/ready", tags=["health"], responses=documented([503]))
async def ready(request: Request) -> Health:
    """Answer when the model service is ready too."""
    await request.app.state.model_client.ready()
    return Health()


@app.get("/api/monitor", tags=["monitor"])
async def read_monitor(request: Request) -> dict[str, Any]:
    """Tell what the Monitor page shows: requests, latency in seconds, refusals, breaker, and drift of the inputs."""
    snapshot = request.app.state.monitor.snapshot()
    drift = await run_sync(measure_drift, snapshot["inputs"])
    return snapshot | {"drift": asdict(drift)}
