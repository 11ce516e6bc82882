"""FastAPI's part of a service: the addresses that every service answers, and documentation that needs no other host."""

from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

import fastapi_offline
from fastapi import FastAPI, Response
from fastapi_offline import FastAPIOffline
from pydantic import BaseModel

from common.web.metrics import Metrics
from common.web.problems import add_problem_handlers, documented

REDOC_LOGO = b"https://cdn.redoc.ly/redoc/logo-mini.svg"
METRICS_MEDIA_TYPE = "text/plain; version=0.0.4; charset=utf-8"


class Health(BaseModel):
    """The answer of the health checks."""

    status: str = "ok"


def make_api(
    title: str,
    description: str,
    lifespan: Callable[[FastAPI], AbstractAsyncContextManager[None]],
    metrics: Metrics,
) -> FastAPI:
    """Return a FastAPI application with health checks, metrics and documentation."""
    api = FastAPIOffline(title=title, description=description, version="1.0.0", lifespan=lifespan)
    keep_redoc_home(api)
    add_problem_handlers(api)

    @api.get("/health", tags=["health"])
    @api.get("/health/live", tags=["health"])
    async def live() -> Health:
        """Answer as long as the process can. It asks nobody else: restarting this one would mend nobody else."""
        return Health()

    @api.get("/metrics", tags=["health"], response_class=Response, responses={200: {"content": {"text/plain": {}}}})
    async def read_metrics() -> Response:
        """Answer in Prometheus' text format."""
        return Response(metrics.text(), media_type=METRICS_MEDIA_TYPE)

    return api


def keep_redoc_home(api: FastAPI) -> None:
    """Serve ReDoc's script without the one thing that it loads from another host: its maker's logo."""

    @api.get("/static-offline-docs/redoc.standalone.js", include_in_schema=False)
    def redoc_script() -> Response:
        script = (Path(fastapi_offline.__file__).parent / "static" / "redoc.standalone.js").read_bytes()
        return Response(script.replace(REDOC_LOGO, b"/static-offline-docs/favicon.png"), media_type="text/javascript")

    api.router.routes.insert(0, api.router.routes.pop())  # before the folder that has the script as it is


def document_post(
    api: FastAPI,
    path: str,
    handler: Callable[..., Any],
    gives: type[BaseModel],
    problems: Sequence[int],
    takes: dict[str, Any] | None,
    status: int = 200,
) -> None:
    """Let FastAPI document an address that is answered before FastAPI, and refuse what is not POST with 405."""

    def documented_only() -> None:
        raise AssertionError(f"POST {path} is answered before FastAPI.")

    documented_only.__name__, documented_only.__doc__ = handler.__name__, handler.__doc__
    api.post(
        path,
        tags=["model"],
        response_model=gives,
        responses=documented(problems),
        openapi_extra=takes,
        status_code=status,
    )(documented_only)


def json_body(model: type[BaseModel]) -> dict[str, Any]:
    """Return the documentation of an input that is this model as JSON."""
    return {"requestBody": {"required": True, "content": {"application/json": {"schema": schema(model)}}}}


def schema(model: type[BaseModel]) -> dict[str, Any]:
    """Return the JSON schema with its parts in place instead of references, which OpenAPI looks for elsewhere."""
    whole = model.model_json_schema()
    parts = whole.pop("$defs", {})

    def resolve(node: Any) -> Any:
        if isinstance(node, dict):
            if "$ref" in node:
                return resolve(parts[node["$ref"].rsplit("/", 1)[-1]])
            return {key: resolve(value) for key, value in node.items()}
        return [resolve(item) for item in node] if isinstance(node, list) else node

    return resolve(whole)
