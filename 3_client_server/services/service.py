"""What both services are made of: the app, its layers, and the addresses that every service answers."""

import gc
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence, Set
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

import fastapi_offline
from fastapi import FastAPI, Request, Response
from fastapi.routing import APIRoute
from fastapi_offline import FastAPIOffline
from pydantic import BaseModel

from .body_limit import BodyLimit
from .codec import MAX_BODY_BYTES
from .limiter import Limiter, Slots
from .logs import configure_logs
from .metrics import Metrics
from .monitor import Monitor
from .problems import add_problem_handlers, documented
from .settings import ServiceSettings, load_service_settings
from .telemetry import Telemetry

REDOC_LOGO = b"https://cdn.redoc.ly/redoc/logo-mini.svg"
METRICS_MEDIA_TYPE = "text/plain; version=0.0.4; charset=utf-8"


class Health(BaseModel):
    """The answer of the health checks."""

    status: str = "ok"


class DirectRoute(APIRoute):
    """An endpoint that takes the request and returns the response itself.

    FastAPI documents it like any other, but its own handling of signature, body and answer, a quarter of the
    time that a request takes, is left out.
    """

    def get_route_handler(self) -> Callable[..., Any]:
        """Return the endpoint as it is."""
        return self.endpoint


def make_app(
    name: str,
    title: str,
    description: str,
    predictions: Set[str],
    lifespan: Callable[[FastAPI, ServiceSettings], AbstractAsyncContextManager[None]],
) -> FastAPI:
    """Return a service; `predictions` are the addresses that the limiter counts."""

    @asynccontextmanager
    async def whole_life(app: FastAPI) -> AsyncGenerator[None, None]:
        settings = load_service_settings()
        configure_logs(name, settings)
        slots.limit = settings.max_in_flight
        async with lifespan(app, settings):
            gc.freeze()  # what is here now stays: no garbage collection, in the middle of a request, looks at it again
            yield

    slots = Slots()
    monitor = Monitor(slots)
    metrics = Metrics(monitor)
    app = FastAPIOffline(title=title, description=description, version="1.0.0", lifespan=whole_life)
    keep_redoc_home(app)
    app.state.monitor = monitor
    add_problem_handlers(app)
    app.add_middleware(BodyLimit, max_bytes=MAX_BODY_BYTES)
    app.add_middleware(Limiter, slots=slots, paths=predictions)
    app.add_middleware(Telemetry, monitor=monitor, metrics=metrics, predictions=predictions)

    @app.get("/health", tags=["health"])
    @app.get("/health/live", tags=["health"])
    async def live() -> Health:
        """Answer as long as the process can. It asks nobody else: restarting this one would mend nobody else."""
        return Health()

    @app.get("/metrics", tags=["health"], response_class=Response, responses={200: {"content": {"text/plain": {}}}})
    async def read_metrics() -> Response:
        """Answer in Prometheus' text format."""
        return Response(metrics.text(), media_type=METRICS_MEDIA_TYPE)

    return app


def keep_redoc_home(app: FastAPI) -> None:
    """Serve ReDoc's script without the one thing that it loads from another host: its maker's logo."""

    @app.get("/static-offline-docs/redoc.standalone.js", include_in_schema=False)
    def redoc_script() -> Response:
        script = (Path(fastapi_offline.__file__).parent / "static" / "redoc.standalone.js").read_bytes()
        return Response(script.replace(REDOC_LOGO, b"/static-offline-docs/favicon.png"), media_type="text/javascript")

    app.router.routes.insert(0, app.router.routes.pop())  # before the folder that has the script as it is


def add_prediction(
    app: FastAPI,
    path: str,
    endpoint: Callable[[Request], Awaitable[Response]],
    gives: type[BaseModel],
    problems: Sequence[int],
    body: dict[str, Any],
) -> None:
    """Add a POST endpoint that predicts. It goes before the other routes: they are tried in their order."""
    app.router.add_api_route(
        path,
        endpoint,
        methods=["POST"],
        tags=["model"],
        response_model=gives,
        responses=documented(problems),
        openapi_extra=body,
        route_class_override=DirectRoute,
    )
    app.router.routes.insert(0, app.router.routes.pop())


def json_body(model: type[BaseModel]) -> dict[str, Any]:
    """Return the `openapi_extra=` of a DirectRoute that takes this as JSON."""
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


def json_response(body: bytes) -> Response:
    """Return bytes that are JSON already."""
    return Response(body, media_type="application/json")
