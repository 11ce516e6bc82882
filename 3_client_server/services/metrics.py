"""What Prometheus reads at /metrics: request rate, errors, duration, in flight, limit, refusals, breaker state.

Only values with few spellings become labels: the route, not the address that was asked for.
"""

from functools import lru_cache

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from .monitor import Monitor

BREAKER_STATES = ("closed", "half-opened", "opened")
BUCKETS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)  # seconds


class Metrics:
    """The metrics of one service, in a registry of its own."""

    def __init__(self, monitor: Monitor) -> None:
        self.registry = CollectorRegistry()
        self._requests = Counter(
            "iris_requests", "Requests answered", ["method", "route", "status"], registry=self.registry
        )
        self._seconds = Histogram(
            "iris_request_duration_seconds", "Time to answer", ["route"], buckets=BUCKETS, registry=self.registry
        )
        self._refusals = Counter("iris_refusals", "Prediction requests refused because full", registry=self.registry)
        slots = monitor.slots
        for name, text, value in (
            ("iris_predictions_in_flight", "Prediction requests being worked on", lambda: slots.in_flight),
            ("iris_predictions_limit", "Prediction requests allowed at once, 0: no limit", lambda: slots.limit),
        ):
            Gauge(name, text, registry=self.registry).set_function(value)
        breaker = Gauge("iris_breaker_state", "1 for the state of the breaker", ["state"], registry=self.registry)
        for state in BREAKER_STATES:
            breaker.labels(state).set_function(lambda state=state: monitor.breaker() == state)
        self._children = lru_cache(maxsize=256)(self._find_children)  # finding them costs more than counting

    def _find_children(self, method: str, route: str, status: int) -> tuple[Counter, Histogram]:
        return self._requests.labels(method, route, str(status)), self._seconds.labels(route)

    def answered(self, method: str, route: str, status: int, seconds: float, *, refused: bool) -> None:
        """Count one request."""
        requests, duration = self._children(method, route, status)
        requests.inc()
        duration.observe(seconds)
        if refused:
            self._refusals.inc()

    def text(self) -> bytes:
        """Return everything in Prometheus' text format."""
        return generate_latest(self.registry)
