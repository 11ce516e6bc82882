"""Stage 3, the server: the model behind HTTP. It has the phases load the model, validate and predict.

Unlike stage 2, the prompt loop:
- the model runs in a process of its own, and many clients share it;
- a measurement travels as JSON in a request, the iris type comes back in the response;
- a full server can say no: 503 Service Unavailable.

Run: uvicorn 3_client_server.iris_classifier_rest_server:app --port 8000
"""

import logging
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse

from common.errors import ProgramError
from common.iris_dto import IrisType, Measurement, shorten
from common.iris_model import load_model, predict

MAX_BODY_BYTES = 64 * 1024  # a measurement has about 80
logger = logging.getLogger("uvicorn.error")


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    """Run once when the server starts, not once per request."""
    try:
        app.state.model = load_model()  # 1. load the model
    except ProgramError as error:
        logger.error("%s", error)
        os._exit(1)  # an exception would be shown with its traceback
    yield


# FastAPI's own /docs page loads its scripts from another host, and so has no place here.
app = FastAPI(title="Iris classifier", lifespan=lifespan, docs_url=None, redoc_url=None, max_body_size=MAX_BODY_BYTES)


@app.post("/iris-classifier")
def classify(measurement: Measurement, request: Request) -> IrisType:  # 3. validate: FastAPI has done it
    """Predict the iris type of a measurement in cm.

    A plain `def`: FastAPI runs it in a thread, so that a slow prediction does not hold up the others.
    """
    logger.debug("Predicting %s", measurement)
    return predict(request.app.state.model, measurement)  # 4. predict


@app.get("/model-info")
def model_info(request: Request) -> dict[str, Any]:
    """Describe the model: kind, features, classes, accuracy, when and with what it was trained."""
    return request.app.state.model.describe()


@app.get("/health")
def health() -> dict[str, str]:
    """Answer as long as the server can serve."""
    return {"status": "ok"}


@app.exception_handler(RequestValidationError)
async def invalid_input(request: Request, error: RequestValidationError) -> JSONResponse:
    """Answer 422 with field, value and reason. The value goes back as text: JSON has no way to write NaN."""
    findings = [
        {"loc": list(e["loc"]), "msg": e["msg"], "input": shorten(repr(e.get("input")))} for e in error.errors()
    ]
    return JSONResponse({"detail": findings}, status_code=422)
