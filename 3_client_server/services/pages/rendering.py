"""How a page is made: Jinja2 templates that escape whatever they are given, and headers that forbid what is foreign."""

import math
from pathlib import Path
from typing import Any

from fastapi import Request
from fastapi.responses import HTMLResponse
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from starlette.templating import Jinja2Templates

from common.formats.units import UNITS
from common.iris_dto import FEATURES, SPECIES
from common.web.problems import Problem

from . import charts

TEMPLATE_DIR = Path(__file__).parent / "templates"
HEADERS = {
    "Content-Security-Policy": "default-src 'self'; img-src 'self' data:; object-src 'none'; base-uri 'none';"
    " form-action 'self'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Cache-Control": "no-store",
}
templates = Jinja2Templates(
    env=Environment(
        loader=FileSystemLoader(TEMPLATE_DIR),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
)
known: dict[str, Any] = templates.env.globals  # in every template
known |= {
    "charts": charts,
    "label": charts.label,
    "features": FEATURES,
    "species_names": SPECIES,
    "units": UNITS,
}
templates.env.filters["signed"] = lambda value: f"{value:+.2f}".replace("-", "\N{MINUS SIGN}")


def request_id(request: Request) -> str:
    """Return the id under which the logs know this request."""
    return getattr(request.state, "request_id", "")


def page(
    request: Request, name: str, status: int = 200, problem: Problem | None = None, **context: Any
) -> HTMLResponse:
    """Render a page. A problem decides the status, and tells when to try again where it knows."""
    headers = dict(HEADERS)
    if problem is not None:
        status = problem.status
        if problem.retry_after is not None:
            headers["Retry-After"] = str(math.ceil(problem.retry_after))
    context |= {"request_id": request_id(request), "problem": problem, "status": status}
    return templates.TemplateResponse(request, name, context, status_code=status, headers=headers)
