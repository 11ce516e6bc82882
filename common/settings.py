"""Settings of every program, in one place: environment variables with defaults for this machine.

Example: `IRIS_SIMULATED_CPU_SECONDS=2 python -m 1_monolith_cli.iris_classifier_monolith_cli_app 5.1 3.5 1.4 0.2`
"""

from pathlib import Path
from typing import Literal

from pydantic import Field, SecretStr, ValidationError, ValidationInfo, field_validator
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
    kafka_security_protocol: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] | None = Field(
        None, validation_alias="KAFKA_SECURITY_PROTOCOL", description="SASL_SSL for most hosted Kafkas"
    )
    kafka_sasl_mechanism: str | None = Field(
        None, validation_alias="KAFKA_SASL_MECHANISM", description="PLAIN, SCRAM-SHA-256, SCRAM-SHA-512, ..."
    )
    kafka_sasl_username: str | None = Field(
        None, validation_alias="KAFKA_SASL_USERNAME", description="the user, or key"
    )
    kafka_sasl_password: SecretStr | None = Field(
        None, validation_alias="KAFKA_SASL_PASSWORD", description="its password, or secret"
    )
    kafka_sasl_password_file: Path | None = Field(
        None, validation_alias="KAFKA_SASL_PASSWORD_FILE", description="a file that holds it"
    )
    kafka_ssl_ca_location: Path | None = Field(
        None, validation_alias="KAFKA_SSL_CA_LOCATION", description="PEM file of the authority, if the system lacks it"
    )
    kafka_ssl_certificate_location: Path | None = Field(
        None, validation_alias="KAFKA_SSL_CERTIFICATE_LOCATION", description="PEM file of our certificate"
    )
    kafka_ssl_key_location: Path | None = Field(
        None, validation_alias="KAFKA_SSL_KEY_LOCATION", description="PEM file of its key, if it is another"
    )
    kafka_ssl_key_password: SecretStr | None = Field(
        None, validation_alias="KAFKA_SSL_KEY_PASSWORD", description="what opens the key"
    )
    kafka_ssl_key_password_file: Path | None = Field(
        None, validation_alias="KAFKA_SSL_KEY_PASSWORD_FILE", description="a file that holds it"
    )
    kafka_client_properties: Path | None = Field(
        None, validation_alias="KAFKA_CLIENT_PROPERTIES", description="a file with any other client property"
    )
    kafka_prefix: str = Field(
        "", pattern=r"^[a-zA-Z0-9._-]*$", max_length=100, description="in front of the names of topics and groups"
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

    @field_validator("*", mode="before")
    @classmethod
    def _empty_is_unset(cls, value: object, info: ValidationInfo) -> object:
        """A Compose file can pass on a variable only as an empty one where it is not set."""
        return None if value == "" and cls.model_fields[info.field_name or ""].default is None else value


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
        value = "" if "PASSWORD" in name else f"={first['input']}"
        raise ProgramError(f"{name}{value}: {first['msg']}.") from None


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
        told = f" (default: {default})" if default is not None else ""
        lines.append(f"  {name}  {info.description}{told}")
    if "kafka_bootstrap_servers" in fields and "kafka_security_protocol" not in fields:
        lines.append("  KAFKA_SECURITY_PROTOCOL and more, for a Kafka with passwords: see 5_task_queue/HOSTED_KAFKA.md")
    return "\n".join(lines)
