"""Settings of every program, in one place: environment variables with defaults for this machine.

Example: `IRIS_SIMULATED_CPU_SECONDS=2 python -m 1_monolith_cli.iris_classifier_monolith_cli_app 5.1 3.5 1.4 0.2`
"""

from pathlib import Path

from pydantic import Field, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from common.errors import ProgramError

ROOT = Path(__file__).resolve().parents[1]
RUN_DIR = (
    ROOT / ".run"
)  # what running programs leave: Kafka's data, logs, locks. Safe to delete while nothing is running.


class Settings(BaseSettings):
    """Read from the environment each time an instance is made."""

    model_config = SettingsConfigDict(env_prefix="IRIS_", populate_by_name=True)

    kafka_bootstrap_servers: str = Field(
        "localhost:9092",
        validation_alias="KAFKA_BOOTSTRAP_SERVERS",
        description="Kafka's address, host:port[,host:port...]",
    )
    model_path: Path = Field(ROOT / "models" / "iris_classifier.joblib", description="the trained model")
    simulated_cpu_seconds: float = Field(
        0.0, ge=0, le=3600, allow_inf_nan=False, description="CPU time burnt per prediction, to try a slow model"
    )
    rest_url: str = Field("http://127.0.0.1:8000", description="where stage 3's client finds the server")
    worker_name: str | None = Field(
        None, pattern=r"^[A-Za-z0-9._-]{1,100}$", description="a worker's name, which no other worker has on any host"
    )
    database: Path = Field(ROOT / "iris_results.sqlite3", description="where the persister stores results")


def load_settings() -> Settings:
    """Return the settings, read from the environment now.

    Raises:
        ProgramError: a variable has an invalid value; the message names it.
    """
    try:
        return Settings()  # type: ignore[call-arg]
    except ValidationError as error:
        first = error.errors()[0]
        name = variable_name(str(first["loc"][0]))
        raise ProgramError(f"{name}={first['input']}: {first['msg']}.") from None


def variable_name(field: str) -> str:
    """Return the environment variable behind a field: `rest_url` is `IRIS_REST_URL`."""
    return field if field.isupper() else "IRIS_" + field.upper()


def settings_help(*fields: str) -> str:
    """Return the lines that `--help` prints about the settings which a program reads."""
    lines = ["settings (environment variables):"]
    for field in fields:
        info = Settings.model_fields[field]
        name = str(info.validation_alias or variable_name(field))
        default = info.default.relative_to(ROOT) if isinstance(info.default, Path) else info.default
        lines.append(f"  {name}  {info.description} (default: {default})")
    return "\n".join(lines)
