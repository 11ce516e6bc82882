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
from fastapi import FastAPI, Request, Response
from msgspec import Raw, structs
from pydantic import BaseModel

from common.iris_codec import FastIrisType, FastMeasurement, encode, predict_fast
from common.iris_dto import IrisType, Measurement
from common.iris_model import IrisModel, load_model

from .codec import PredictAnswer, PredictRequest, read_measurement, read_measurements
from .service import Health, add_prediction, json_body, json_response, make_app
from .settings import ServiceSettings

IDENTITY = ("kind", "accuracy", "trained_at", "scikit_learn")  # of the model, in every answer


@asynccontextmanager
async def lifespan(app: FastAPI, settings: ServiceSettings) -> AsyncGenerator[None, None]:
    """Run once when the service starts, not once per request."""
    model = load_model()  # 1. load the model
    app.state.model = model
    app.state.identity = Raw(encode({key: model.info[key] for key in IDENTITY}))
    yield


app = make_app(
    "model",
    "Iris model service",
    "Predicts and explains the species of an iris from four measurements in cm. Stands behind the gateway.",
    {"/predict", "/explain"},
    lifespan,
)


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


async def predict(request: Request) -> Response:
    """Predict one measurement, or a list of them in one call of the model."""
    measurements = read_measurements(await request.body())  # 3. validate
    request.state.fields["measurements"] = len(measurements)
    answer = PredictAnswer(await predictions(app.state.model, measurements), app.state.identity)  # 4. predict
    return json_response(encode(answer))


async def explain(request: Request) -> Response:
    """Split the log-odds of the winner against the runner-up into the shares of the four features, exactly."""
    measurement = read_measurement(await request.body())
    (prediction,) = await predictions(app.state.model, [measurement])
    explanation = app.state.model.explain(Measurement.model_validate(structs.asdict(measurement)))
    return json_response(encode({"y": prediction} | asdict(explanation)))


async def predictions(model: IrisModel, measurements: Sequence[FastMeasurement]) -> list[FastIrisType]:
    """Predict here where it takes microseconds, less than a thread would cost; in a thread where it is slow."""
    if model.simulated_cpu_seconds:
        return await run_sync(predict_fast, model, measurements)
    return predict_fast(model, measurements)


PROBLEMS = (413, 422, 500, 503)
add_prediction(app, "/predict", predict, PredictResponse, PROBLEMS, json_body(PredictRequest))
add_prediction(app, "/explain", explain, Explanation, PROBLEMS, json_body(Measurement))


@app.get("/", tags=["about"])
async def about() -> dict[str, Any]:
    """Tell what this is."""
    return {
        "service": "model",
        "what": app.description,
        "predict": "POST /predict",
        "explain": "POST /explain",
        "model": "GET /model-info",
        "health": ["/health", "/health/live", "/health/ready"],
        "metrics": "/metrics",
        "documentation": ["/docs", "/redoc", "/openapi.json"],
    }


@app.get("/health/ready", tags=["health"])
async def ready() -> Health:
    """Answer when the model is loaded; before that this service takes no connections at all."""
    return Health()


@app.get("/model-info", tags=["model"])
async def model_info(request: Request) -> dict[str, Any]:
    """Describe the model: kind, features, classes, accuracy, when and with what it was trained."""
    return request.app.state.model.describe()
