"""Settings come from the environment, at the moment they are asked for."""

from pathlib import Path

import pytest

from common.errors import ProgramError
from common.settings import ROOT, Settings, load_settings, settings_help, variable_name

VARIABLES = {
    "KAFKA_BOOTSTRAP_SERVERS": ("kafka_bootstrap_servers", "localhost:9092", "kafka-1:9092,kafka-2:9092"),
    "IRIS_MODEL_PATH": ("model_path", ROOT / "models" / "iris_classifier.joblib", Path("elsewhere/m.joblib")),
    "IRIS_SIMULATED_CPU_SECONDS": ("simulated_cpu_seconds", 0.0, 1.5),
    "IRIS_REST_URL": ("rest_url", "http://127.0.0.1:8000", "http://server:80"),
    "IRIS_DATABASE": ("database", ROOT / "iris_results.sqlite3", Path("results.sqlite3")),
}


@pytest.fixture(autouse=True)
def _no_settings(monkeypatch: pytest.MonkeyPatch):
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize("name", VARIABLES)
def test_a_variable_is_read_each_time_and_has_a_default_for_this_machine(name: str, monkeypatch: pytest.MonkeyPatch):
    field, default, other = VARIABLES[name]
    assert getattr(load_settings(), field) == default
    monkeypatch.setenv(name, str(other))
    assert getattr(load_settings(), field) == other


@pytest.mark.parametrize("value", ["-1", "nan", "inf", "fast", "", "3601"])
def test_a_value_that_cannot_be_used_is_one_line_with_the_variable(value: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("IRIS_SIMULATED_CPU_SECONDS", value)
    with pytest.raises(ProgramError, match=rf"^IRIS_SIMULATED_CPU_SECONDS={value}: Input should be [^\n]+\.$"):
        load_settings()


def test_help_shows_each_variable_with_its_meaning_and_default():
    text = settings_help(*Settings.model_fields)
    for name in VARIABLES:
        assert f"  {name}  " in text
    assert "(default: models/iris_classifier.joblib)" in text
    assert str(ROOT) not in text
    assert variable_name("rest_url") == "IRIS_REST_URL"
