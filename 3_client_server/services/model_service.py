"""Stage 3 as services, the model service: the model behind HTTP, and nothing else. Has load the model and predict.

Unlike stage 3's plain server:
- a request may hold a list of measurements, and the model predicts them in one call;
- it explains its answers, says when it is ready, and refuses with a reason what it has no room for;
- it stands in a private network: people and programs talk to the gateway.

Run: uvicorn 3_client_server.services.model_service:app --port 8001 --loop asyncio
"""

from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from dataclasses import asdict
from typing import Any

from anyio.to_thread import run_sync
from fastapi import FastAPI
from msgspec import Raw, structs
from pydantic import BaseModel

from common.iris_codec import FastIrisType, FastMeasurement, encode, predict_fast
from common.iris_dto import IrisType, Measurement
from common.iris_model import IrisModel, load_model
from common.web.api import Health, json_body
from common.web.call import Call
from common.web.service import Service

from .formats.codec import PredictAnswer, PredictRequest, read_measurement, read_measurements
from .monitoring.monitor import BREAKER_STATES
from .settings import ServiceSettings

IDENTITY = ("kind", "accuracy", "trained_at", "scikit_learn")  # of the model, in every answer


@asynccontextmanager
async def lifespan(api: FastAPI, settings: ServiceSettings) -> AsyncGenerator[None, None]:
    """Run once when the service starts, not once per request."""
    api.state.model = load_model()  # 1. load the model
    api.state.identity = Raw(encode({key: api.state.model.info[key] for key in IDENTITY}))
    yield


app = Service(
    "model",
    "Iris model service",
    "Predicts and explains the species of an iris from four measurements in cm. Stands behind the gateway.",
    ServiceSettings,
    lifespan,
    noun="prediction",
)
app.metrics.add_state("breaker_state", "1 for the state of the breaker", BREAKER_STATES, lambda: "closed")
state = app.api.state
PROBLEMS = (413, 422, 500, 503)


class PredictResponse(BaseModel):
    """Iris types in the order of the measurements, and the model that they are from."""

    predictions: list[IrisType]
    model: dict[str, Any]


class Explanation(BaseModel):
    """Why the winner and not the runner-up: the contributions and the intercept sum up to the log-odds, exactly."""

    y: IrisType
    winner: str
    runner_up: str
    log_odds: float
    intercept: float
    contributions: dict[str, float]


@app.post("/predict", takes=json_body(PredictRequest), gives=PredictResponse, problems=PROBLEMS)
async def predict(call: Call) -> bytes:
    """Predict one measurement, or a list of them in one call of the model."""
    measurements = read_measurements(call.body)  # 3. validate
    call.fields["measurements"] = len(measurements)
    return encode(PredictAnswer(await predictions(state.model, measurements), state.identity))  # 4. predict


@app.post("/explain", takes=json_body(Measurement), gives=Explanation, problems=PROBLEMS)
async def explain(call: Call) -> bytes:
    """Split the log-odds of the winner against the runner-up into the shares of the four features, exactly."""
    measurement = read_measurement(call.body)
    (prediction,) = await predictions(state.model, [measurement])
    explanation = state.model.explain(Measurement.model_validate(structs.asdict(measurement)))
    return encode({"y": prediction} | asdict(explanation))


async def predictions(model: IrisModel, measurements: Sequence[FastMeasurement]) -> list[FastIrisType]:
    """Predict here where it takes microseconds, less than a thread would cost; in a thread where it is slow."""
    if model.simulated_cpu_seconds:
        return await run_sync(predict_fast, model, measurements)
    return predict_fast(model, measurements)


@app.api.get("/", tags=["about"])
async def about() -> dict[str, Any]:
    """Say what this service is."""
    return {
        "service": "model",
        "what": app.api.description,
        "predict": "POST /predict",
        "explain": "POST /explain",
        "model": "GET /model-info",
        "health": ["/health", "/health/live", "/health/ready"],
        "metrics": "/metrics",
        "documentation": ["/docs", "/redoc", "/openapi.json"],
    }


@app.api.get("/health/ready", tags=["health"])
async def ready() -> Health:
    """Answer when the model is loaded; before that this service takes no connections at all."""
    return Health()


@app.api.get("/model-info", tags=["model"])
async def model_info() -> dict[str, Any]:
    """Describe the model: kind, features, classes, accuracy, when and with what it was trained."""
    return state.model.describe()
