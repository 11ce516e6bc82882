"""The monitor: what the service did since it started, in memory and bounded, for a page and for JSON.

It forgets on restart and knows one process. Prometheus, which reads /metrics, is there for the rest.
"""

from collections import deque
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from common.web.call import Call
from common.web.limiter import Slots

BREAKER_STATES = ("closed", "half-opened", "opened")
LATENCIES_KEPT = 1000
INPUTS_KEPT = 1000


class Monitor:
    """Counts predictions, their latency and the measurements that went to the model."""

    def __init__(self, slots: Slots) -> None:
        self.slots = slots
        self.requests = self.errors = self.invalid = 0
        self.breaker: Callable[[], str] = lambda: "closed"  # or another of BREAKER_STATES: the model client tells
        self._latencies: deque[float] = deque(maxlen=LATENCIES_KEPT)
        self._inputs: deque[list[float]] = deque(maxlen=INPUTS_KEPT)

    def answered(self, call: Call) -> None:
        """Count one request for predictions. A refusal is not an error, and not counted in the latency."""
        self.requests += 1
        if call.refused:
            return
        self.errors += call.status >= 500
        self.invalid += 400 <= call.status < 500
        self._latencies.append(call.seconds)

    def saw(self, rows: Iterable[list[float]]) -> None:
        """Remember measurements, four values in cm each."""
        self._inputs.extend(rows)

    def snapshot(self) -> dict[str, Any]:
        """Return everything, ready for JSON: latencies in seconds (None before the first), inputs in cm."""
        p50, p99 = np.percentile(self._latencies, [50, 99]).tolist() if self._latencies else (None, None)
        return {
            "requests": self.requests,
            "errors": self.errors,
            "invalid": self.invalid,
            "refusals": self.slots.refusals,
            "in_flight": self.slots.in_flight,
            "limit": self.slots.limit,
            "latency_p50": p50,
            "latency_p99": p99,
            "breaker": self.breaker(),
            "inputs": list(self._inputs),
        }
