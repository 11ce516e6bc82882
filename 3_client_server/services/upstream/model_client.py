"""The gateway's way to the model service, and everything that keeps the service's failures from becoming ours.

- Every request has one deadline, and nothing outlives it: 504.
- A prediction changes nothing, so asking again is safe. It is done where it can help: the connection failed, or the
  service was full and said when to come again. Never after a timeout: a slow service has enough to do.
- After some failures in a row the circuit breaker opens: requests are refused at once instead of waiting in vain.
  After a while one request may try; if it succeeds the breaker closes.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from types import TracebackType
from typing import Any, Self, TypeVar

import msgspec
import stamina
from purgatory import AsyncCircuitBreakerFactory
from purgatory.domain.model import OpenedState

from common.iris_codec import FastIrisType, FastMeasurement, encode, json_decoder, to_fast, to_iris_type
from common.iris_dto import IrisType, Measurement
from common.web.problems import Problem

from ..formats.codec import PredictAnswer
from ..monitoring.monitor import Monitor
from ..settings import ServiceSettings
from .connections import BadAnswer, Connections

ATTEMPTS = 3
FIRST_WAIT_SECONDS = 0.05  # before the second attempt; it doubles, and up to as much again is added at random
READY_SECONDS = 1.0  # longest wait of a readiness check
logger = logging.getLogger("iris")
Result = TypeVar("Result")


class ExplainAnswer(msgspec.Struct):
    """What `POST /explain` of the model service answers."""

    y: FastIrisType
    winner: str
    runner_up: str
    log_odds: float
    intercept: float
    contributions: dict[str, float]


class Unreachable(Problem):
    """No connection, or it broke."""


class Full(Problem):
    """The service has refused, and tells when to come again."""


class ModelClient:
    """The way to the model service, an async context manager. Every method raises Problem."""

    def __init__(self, settings: ServiceSettings, monitor: Monitor) -> None:
        self._settings, self._monitor = settings, monitor
        self._connections = Connections(settings.model_url, settings.model_connect_seconds)

    async def __aenter__(self) -> Self:
        settings = self._settings
        breakers = AsyncCircuitBreakerFactory(settings.breaker_failures, settings.breaker_seconds)
        breakers.add_listener(_log_breaker)
        self._breaker = await breakers.get_breaker("model")
        self._monitor.breaker = lambda: self._breaker.context.state
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._connections.close()

    async def predict(self, measurements: Sequence[Measurement], request_id: str) -> list[IrisType]:
        """Return the iris types of the measurements, in their order."""
        return [to_iris_type(one) for one in await self.predictions(list(map(to_fast, measurements)), request_id)]

    async def predictions(self, measurements: Sequence[FastMeasurement], request_id: str) -> list[FastIrisType]:
        """Return the predictions for the measurements, in their order."""

        def decode(content: bytes | bytearray) -> list[FastIrisType]:
            predictions = _decode_predict(content).predictions
            if len(predictions) != len(measurements):
                raise ValueError("another number of predictions than of measurements")
            return predictions

        self._monitor.saw(measurement.row() for measurement in measurements)
        return await self._ask(b"/predict", encode({"input": measurements}), request_id, decode)

    async def explain(self, measurement: Measurement | FastMeasurement, request_id: str) -> dict[str, Any]:
        """Return y (the iris type), winner, runner_up, log_odds, intercept and contributions."""
        self._monitor.saw([measurement.row()])
        body = encode(FastMeasurement(*measurement.row()))
        return msgspec.to_builtins(await self._ask(b"/explain", body, request_id, _decode_explain))

    async def ready(self) -> None:
        """Return where the model service is ready. Asked past the breaker: this is how one sees it recover."""
        try:
            async with asyncio.timeout(READY_SECONDS):
                if (await self._connections.request(b"GET", b"/health/ready")).status == 200:
                    return
        except (OSError, BadAnswer):  # TimeoutError is an OSError
            pass
        raise Problem(503, "Not ready", "The model service is not ready.", 1.0)

    async def _ask(
        self, path: bytes, body: bytes, request_id: str, decode: Callable[[bytes | bytearray], Result]
    ) -> Result:
        """Post until there is an answer, a reason to give up, or no time left."""
        end = asyncio.get_running_loop().time() + self._settings.model_deadline_seconds

        async def attempt() -> Result:
            return await self._attempt(path, body, request_id, decode)

        try:
            async with asyncio.timeout_at(end):
                try:
                    return await attempt()
                except (Unreachable, Full) as failure:
                    return await _again(attempt, failure, end)
        except TimeoutError:
            detail = f"The model service has not answered within {self._settings.model_deadline_seconds:g} s."
            raise Problem(504, "The model service is too slow", detail) from None

    async def _attempt(
        self, path: bytes, body: bytes, request_id: str, decode: Callable[[bytes | bytearray], Result]
    ) -> Result:
        """Post once, through the breaker. It counts everything as a failure but an answer and a refusal."""
        if self._breaker.context.state == "half-opened":  # one request is trying, the others wait for what it finds
            raise _breaker_open(1.0)
        try:
            async with self._breaker:
                answer = await self._connections.request(b"POST", path, request_id, body)
                if answer.status == 200:
                    return decode(answer.body)
                if answer.status != 503:
                    raise BadAnswer(f"status {answer.status}")
        except OpenedState as state:
            state.__traceback__ = None  # purgatory raises one and the same exception: its traceback would only grow
            raise _breaker_open(max(0.0, state.opened_at + self._settings.breaker_seconds - time.time())) from None
        except OSError:
            detail = "The gateway cannot reach the model service."
            raise Unreachable(503, "The model service is down", detail, 1.0) from None
        except (BadAnswer, msgspec.MsgspecError, ValueError) as error:
            logger.warning("The model service answers nonsense: %s", error)
            raise Problem(502, "The model service answers nonsense", "Its answer cannot be understood.") from None
        raise Full(
            503, "The model service is full", "It has no room for this prediction now.", _seconds(answer.retry_after)
        )


async def _again(attempt: Callable[[], Awaitable[Result]], failure: Problem, end: float) -> Result:
    """Attempt again after a failure, as long as it makes sense before the end (the loop's time, in seconds).

    stamina takes longer than the request itself, so it comes in only here, and is told of the first failure.
    """

    def worth_another(error: Exception) -> bool | float:
        if isinstance(error, Full) and error.retry_after is not None:
            return error.retry_after if asyncio.get_running_loop().time() + error.retry_after < end else False
        return isinstance(error, Unreachable)

    async for number in stamina.retry_context(
        worth_another, ATTEMPTS, None, FIRST_WAIT_SECONDS, wait_jitter=FIRST_WAIT_SECONDS
    ):
        with number:
            if number.num == 1:
                raise failure
            return await attempt()
    raise AssertionError("stamina ends with an answer or an error")


_decode_predict = json_decoder(PredictAnswer)
_decode_explain = json_decoder(ExplainAnswer)


def _breaker_open(seconds: float) -> Problem:
    detail = "It has failed several times in a row. The circuit breaker is open until it has recovered."
    return Problem(503, "The model service is not available", detail, max(1.0, seconds))


def _seconds(retry_after: str | None) -> float | None:
    """Return Retry-After where it is a number of seconds; a date, which it may be as well, is ignored."""
    with suppress(TypeError, ValueError):
        if 0 <= (seconds := float(retry_after or "")) < 3600:
            return seconds
    return None


def _log_breaker(name: str, kind: str, event: Any) -> None:
    if kind == "state_changed":
        logger.warning("The circuit breaker to the %s service is %s", name, event.state)
