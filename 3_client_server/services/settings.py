"""Settings of the gateway and the model service, beside those that every service has.

Both also read what every program reads: `IRIS_MODEL_PATH` and `IRIS_SIMULATED_CPU_SECONDS`.
"""

from pydantic import Field

from common.web import settings


class ServiceSettings(settings.ServiceSettings):
    """Read from the environment each time an instance is made."""

    max_in_flight: int = Field(128, ge=0, description="predictions at once, more are refused with 503; 0: no limit")
    model_url: str = Field(
        "http://127.0.0.1:8001", pattern=r"^http://[^/\s]+", description="where the gateway finds the model service"
    )
    model_connect_seconds: float = Field(1.0, gt=0, le=60, description="longest wait for a connection to it")
    model_deadline_seconds: float = Field(
        5.0, gt=0, le=600, description="longest wait for its answer, retries included"
    )
    breaker_failures: int = Field(5, ge=1, description="failures in a row that open the circuit breaker")
    breaker_seconds: float = Field(2.0, gt=0, le=600, description="how long it stays open before one request may try")
