"""The settings that all services have: environment variables, with defaults for this machine.

A service with settings of its own derives a class from this one.
"""

from typing import Literal, TypeVar

from pydantic import Field, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from common.errors import ProgramError


class ServiceSettings(BaseSettings):
    """Read from the environment each time an instance is made."""

    model_config = SettingsConfigDict(env_prefix="IRIS_")

    max_in_flight: int = Field(128, ge=0, description="requests worked on at once, more get 503; 0: no limit")
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field("INFO", description="what is logged")
    log_format: Literal["text", "json"] = Field("text", description="text for people, json for programs")


Settings = TypeVar("Settings", bound=ServiceSettings)


def load_service_settings(kind: type[Settings]) -> Settings:
    """Return the settings of this moment.

    Raises:
        ProgramError: a variable has a value that cannot be used; the message names it.
    """
    try:
        return kind()  # type: ignore[call-arg]
    except ValidationError as error:
        first = error.errors()[0]
        raise ProgramError(f"IRIS_{str(first['loc'][0]).upper()}={first['input']}: {first['msg']}.") from None


def service_settings_help(kind: type[ServiceSettings]) -> str:
    """Return the lines that `--help` prints."""
    lines = ["settings (environment variables):"]
    for name, field in kind.model_fields.items():
        lines.append(f"  IRIS_{name.upper()}  {field.description} (default: {field.default})")
    return "\n".join(lines)
