"""The web pages: home, Classify, Explain and Monitor. Rendered here, usable without JavaScript, nothing from elsewhere.

The pages ask the same model client and the same monitor as the APIs do; they only show the answers to people.
"""

import asyncio
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fastapi import APIRouter, HTTPException, Request
from fastapi.responses import HTMLResponse
from markupsafe import Markup
from starlette.datastructures import UploadFile

from common.formats.csv_file import parse_csv
from common.formats.units import UNITS
from common.iris_dto import FEATURES, SPECIES, IrisType, Measurement
from common.web.problems import Problem

from ..monitoring.drift import DriftReport, measure_drift, training_flowers
from . import charts
from .forms import MeasurementForm, read_form
from .rendering import page, request_id

STATIC_DIR = Path(__file__).parent / "static"  # served by the gateway at /static
MAX_ROWS_SHOWN = 200  # of an uploaded file; all of them are predicted and counted

router = APIRouter(include_in_schema=False)  # for people; programs use the APIs


async def home(request: Request) -> HTMLResponse:
    """Show one card per service. The gateway calls it where the client of `GET /` accepts HTML."""
    return page(request, "home.html")


@router.get("/classify")
async def classify_form(request: Request) -> HTMLResponse:
    """Show the form, filled with an example."""
    return page(request, "classify.html", form=MeasurementForm())


@router.post("/classify")
async def classify(request: Request) -> HTMLResponse:
    """Show the species of the measurement typed, or of every measurement in the uploaded file."""
    data = await _form_data(request)
    if isinstance(data.get("file"), UploadFile):
        return await _classify_file(request, data["file"], str(data.get("unit") or "cm"))
    form = read_form(data)
    if form.measurement is None:
        return page(request, "classify.html", 422, form=form)
    try:
        (iris_type,) = await request.app.state.model_client.predict([form.measurement], request_id(request))
    except Problem as problem:
        return page(request, "classify.html", form=form, problem=problem)
    return page(request, "classify.html", form=form, result=iris_type)


async def _classify_file(request: Request, file: UploadFile, unit: str) -> HTMLResponse:
    form = MeasurementForm(file_unit=unit if unit in UNITS else "cm")
    try:
        if not file.filename:
            raise Problem(422, "No file", "Choose a CSV file first.")
        measurements = await asyncio.to_thread(parse_csv, await file.read(), unit)
        iris_types = await request.app.state.model_client.predict(measurements, request_id(request))
    except Problem as problem:
        if problem.status == 422:
            form.errors["file"] = problem.detail
            return page(request, "classify.html", 422, form=form)
        return page(request, "classify.html", form=form, problem=problem, upload=True)
    rows = list(zip(measurements, iris_types, strict=True))
    counts = {name: sum(iris_type.species == name for iris_type in iris_types) for name in SPECIES}
    table = {"name": file.filename or "the file", "rows": rows[:MAX_ROWS_SHOWN], "total": len(rows), "counts": counts}
    return page(request, "classify.html", form=form, table=table)


@router.get("/explain")
async def explain_form(request: Request) -> HTMLResponse:
    """Show the form; with a measurement in the address, as the Classify page links it, the explanation as well."""
    if not request.query_params.keys() & set(FEATURES):
        return page(request, "explain.html", form=MeasurementForm())
    return await _explain(request, request.query_params)


@router.post("/explain")
async def explain(request: Request) -> HTMLResponse:
    """Show why the model prefers its species to the runner-up, exactly, and where the flower lies among the others."""
    return await _explain(request, await _form_data(request))


async def _explain(request: Request, data: Mapping[str, Any]) -> HTMLResponse:
    form = read_form(data)
    if form.measurement is None:
        return page(request, "explain.html", 422, form=form)
    try:
        answer = await request.app.state.model_client.explain(form.measurement, request_id(request))
        why = _explanation(form.measurement, answer)
    except Problem as problem:
        return page(request, "explain.html", form=form, problem=problem)
    plots = await asyncio.to_thread(_among_the_flowers, form.measurement.row())  # slow the first time
    return page(request, "explain.html", form=form, why=why, plots=plots)


def _among_the_flowers(row: list[float]) -> list[Markup]:
    flowers, iris_types = training_flowers()
    return [charts.scatter(flowers, iris_types, row, 2, 3), charts.scatter(flowers, iris_types, row, 0, 1)]


def _explanation(measurement: Measurement, answer: Mapping[str, Any]) -> dict[str, Any]:
    """Return the explanation as the rows of a waterfall: intercept, four features, and their sum."""
    contributions = answer["contributions"]
    if not set(FEATURES) <= contributions.keys():
        raise Problem(502, "The model service answers nonsense", "Its explanation leaves out a measurement.")
    parts = [("intercept", answer["intercept"])] + [(name, contributions[name]) for name in FEATURES]
    steps, total = [], 0.0
    for _, value in parts:
        steps.append((total, total + value))
        total += value
    bars = charts.contribution_bars([*steps, (0.0, answer["log_odds"])])
    rows = [
        {"name": name, "cm": getattr(measurement, name, None), "value": value, "bar": bar}
        for (name, value), bar in zip(parts, bars, strict=False)
    ]
    strongest = max(FEATURES, key=lambda name: abs(contributions[name]))
    return {
        "y": IrisType.model_validate(answer["y"]),
        "winner": answer["winner"],
        "runner_up": answer["runner_up"],
        "log_odds": answer["log_odds"],
        "odds": math.exp(min(answer["log_odds"], 700)),  # beyond it a float overflows
        "rows": rows,
        "total_bar": bars[-1],
        "strongest": strongest,
        "speaks_for": answer["winner"] if contributions[strongest] > 0 else answer["runner_up"],
    }


@router.get("/monitor")
async def monitor(request: Request) -> HTMLResponse:
    """Show what the gateway has counted, and whether recent inputs look like the training data."""
    snapshot = request.app.state.monitor.snapshot()
    drift, plots = await asyncio.to_thread(_drift, snapshot["inputs"])  # slow the first time
    tests = list(zip(drift.features, plots, strict=True))
    return page(request, "monitor.html", counts=snapshot, drift=drift, tests=tests)


def _drift(inputs: list[list[float]]) -> tuple[DriftReport, list[Markup]]:
    report = measure_drift(inputs)
    if not report.enough:
        return report, []
    flowers = training_flowers()[0]
    return report, [
        charts.distributions(test.feature, flowers[:, i], [row[i] for row in inputs], test.location)
        for i, test in enumerate(report.features)
    ]


def problem_page(request: Request, problem: Problem) -> HTMLResponse:
    """Return a whole page that says what went wrong, for the gateway to answer people with."""
    return page(request, "problem.html", problem=problem)


async def _form_data(request: Request) -> Mapping[str, Any]:
    try:
        return await request.form(max_files=1, max_fields=20)
    except ValueError:  # a part that claims to be in an encoding which it is not in
        raise HTTPException(400, "The form could not be read.") from None
