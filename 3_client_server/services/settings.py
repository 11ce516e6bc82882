"""Settings of the gateway and the model service: environment variables, with defaults for this machine.

Beside them both read what every program reads: `IRIS_MODEL_PATH` and `IRIS_SIMULATED_CPU_SECONDS`.
"""

from typing import Literal

from pydantic import Field, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from common.errors import ProgramError


class ServiceSettings(BaseSettings):
    """Read from the environment each time an instance is made."""

    model_config = SettingsConfigDict(env_prefix="IRIS_")

    max_in_flight: int = Field(128, ge=0, description="predictions at once, more are refused with 503; 0: no limit")
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field("INFO", description="what is logged")
    log_format: Literal["text", "json"] = Field("text", description="text for people, json for programs")
    model_url: str = Field(
        "http://127.0.0.1:8001", pattern=r"^http://[^/\s]+", description="where the gateway finds the model service"
    )
    model_connect_seconds: float = Field(1.0, gt=0, le=60, description="longest wait for a connection to it")
    model_deadline_seconds: float = Field(
        5.0, gt=0, le=600, description="longest wait for its answer, retries included"
    )
    breaker_failures: int = Field(5, ge=1, description="failures in a row that open the circuit breaker")
    breaker_seconds: float = Field(2.0, gt=0, le=600, description="how long it stays open before one request may try")


def load_service_settings() -> ServiceSettings:
    """Return the settings of this moment.

    Raises:
        ProgramError: a variable has a value that cannot be used; the message names it.
    """
    try:
        return ServiceSettings()  # type: ignore[call-arg]
    except ValidationError as error:
        first = error.errors()[0]
        raise ProgramError(f"IRIS_{str(first['loc'][0]).upper()}={first['input']}: {first['msg']}.") from None


def service_settings_help() -> str:
    """Return the lines that `--help` prints."""
    lines = ["settings (environment variables):"]
    for name, field in ServiceSettings.model_fields.items():
        lines.append(f"  IRIS_{name.upper()}  {field.description} (default: {field.default})")
    return "\n".join(lines)
