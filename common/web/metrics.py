"""What Prometheus reads at /metrics: request rate, errors, duration, in flight, limit, refusals, and what is added.

Only values with few spellings become labels: the route, not the address that was asked for.

The figures are plain numbers, counted in the event loop's thread, and become prometheus-client's objects when somebody
reads them. Its own counters take a lock each time, which costs more than the counting.
"""

import time
from bisect import bisect_left
from collections.abc import Callable, Iterable, Sequence
from itertools import accumulate

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from common.web.call import Call
from common.web.limiter import Slots

PREFIX = "iris"
BUCKETS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)  # seconds
METHODS = frozenset({"GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"})


class Series:
    """The counts of one label set: by bucket for the durations, of which a plain counter uses the first."""

    __slots__ = ("counts", "created", "total")

    def __init__(self, buckets: int = 1) -> None:
        self.counts, self.total, self.created = [0] * buckets, 0.0, time.time()


class Metrics(Collector):
    """The metrics of one service, in a registry of its own."""

    def __init__(self, slots: Slots) -> None:
        self.slots = slots
        self._requests: dict[tuple[str, str, int], Series] = {}
        self._durations: dict[str, Series] = {}
        self._states: list[tuple[str, str, Sequence[str], Callable[[], str]]] = []
        self._created = time.time()
        self._registry = CollectorRegistry()
        self._registry.register(self)

    def add_state(self, name: str, text: str, states: Sequence[str], read: Callable[[], str]) -> None:
        """Add a gauge that is 1 for the state that `read` returns, and 0 for the others."""
        self._states.append((f"{PREFIX}_{name}", text, states, read))

    def answered(self, call: Call) -> None:
        """Count one request."""
        method = call.scope["method"]
        key = (method if method in METHODS else "other", call.route, call.status)
        requests = self._requests.get(key) or self._requests.setdefault(key, Series())
        requests.counts[0] += 1
        route = call.route
        durations = self._durations.get(route) or self._durations.setdefault(route, Series(len(BUCKETS) + 1))
        durations.counts[bisect_left(BUCKETS, call.seconds)] += 1
        durations.total += call.seconds

    def text(self) -> bytes:
        """Return everything in Prometheus' text format."""
        return generate_latest(self._registry)

    def collect(self) -> Iterable[Metric]:
        """Return everything as prometheus-client's objects, which calls this."""
        requests = CounterMetricFamily(f"{PREFIX}_requests", "Requests answered", labels=["method", "route", "status"])
        for (method, route, status), series in self._requests.items():
            requests.add_metric([method, route, str(status)], series.counts[0], created=series.created)
        yield requests
        name = f"{PREFIX}_request_duration_seconds"
        durations = HistogramMetricFamily(name, "Time to answer", labels=["route"])
        bounds = [str(float(bound)) for bound in BUCKETS] + ["+Inf"]
        for route, series in self._durations.items():
            buckets = list(zip(bounds, accumulate(series.counts), strict=True))
            durations.add_metric([route], buckets, series.total)
            durations.add_sample(f"{name}_created", {"route": route}, series.created)
        yield durations
        noun, slots = self.slots.noun, self.slots
        refusals = CounterMetricFamily(f"{PREFIX}_refusals", f"{noun.capitalize()} requests refused because full")
        refusals.add_metric([], slots.refusals, created=self._created)
        yield refusals
        for name, text, value in (
            (f"{PREFIX}_{noun}s_in_flight", f"{noun.capitalize()} requests being worked on", slots.in_flight),
            (f"{PREFIX}_{noun}s_limit", f"{noun.capitalize()} requests allowed at once, 0: no limit", slots.limit),
        ):
            yield GaugeMetricFamily(name, text, value=value)
        for name, text, states, read in self._states:
            gauge, current = GaugeMetricFamily(name, text, labels=["state"]), read()
            for state in states:
                gauge.add_metric([state], float(state == current))
            yield gauge
