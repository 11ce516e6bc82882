"""Stage 3's server as any HTTP client meets it, in a real uvicorn."""

import json
import socket
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest

from common.iris_dto import validate
from common.iris_model import IrisModel, predict
from common.programs import url_of_server
from tests.helpers import LINE, STOP_SECONDS, TRACEBACK, WAIT_SECONDS, Program, X, until

APP = "3_client_server.iris_classifier_rest_server:app"
BODY = json.dumps(X)
JSON = {"content-type": "application/json"}


def serve(model_path: Path, *arguments: str, **variables: str) -> tuple[Program, str]:
    """Start the server on a port that the system chooses; return it and its address."""
    command = [sys.executable, "-m", "uvicorn", APP, "--port", "0", *arguments]
    # PATH and the like are not needed by it: it runs from this very environment.
    server = Program(command, {"IRIS_MODEL_PATH": str(model_path), "PYTHONWARNINGS": "error"} | variables)
    return server, url_of_server(server)


@pytest.fixture(scope="module")
def url(model_path: Path) -> Iterator[str]:
    server, address = serve(model_path)
    try:
        yield address
    finally:
        wrong = server.leave()
    assert not wrong
    assert TRACEBACK not in server.errors and "ERROR" not in server.errors


def post(url: str, body: str | bytes, headers: dict[str, str] = JSON) -> httpx2.Response:
    return httpx2.post(f"{url}/iris-classifier", content=body, headers=headers, timeout=WAIT_SECONDS)


def test_a_measurement_gets_its_iris_type(url: str, model: IrisModel):
    response = post(url, BODY)
    assert response.status_code == 200
    assert response.json() == predict(model, validate(LINE.split())).model_dump()
    assert "warnings" not in response.json()


def test_unknown_fields_are_ignored_and_unheard_of_flowers_are_answered_with_a_warning(url: str, model: IrisModel):
    response = post(url, json.dumps(X | {"petal_width": 50, "colour": [None, "blue"]}))
    assert response.status_code == 200
    assert response.json() == predict(model, validate(["5.1", "3.5", "1.4", "50"])).model_dump()
    assert response.json()["warnings"] == ["petal_width 50 cm is far outside the training data (0.1 to 2.5 cm)"]


@pytest.mark.parametrize(
    ("written", "message", "shown"),
    [
        ("NaN", "Input should be a finite number", "nan"),
        ("1e999", "Input should be a finite number", "inf"),
        ("-Infinity", "Input should be a finite number", "-inf"),
        ("-0.2", "Input should be greater than 0", "-0.2"),
        ("0", "Input should be greater than 0", "0"),
        ("100.1", "Input should be less than or equal to 100", "100.1"),
        ("9" * 60, "Input should be less than or equal to 100", "9" * 40 + "..."),
        ('"0.2"', "Input should be a valid number", "'0.2'"),
        ("true", "Input should be a valid number", "True"),
        ("null", "Input should be a valid number", "None"),
        ("[]", "Input should be a valid number", "[]"),
        ('"\\ud800"', "Input should be a valid number", "'\\ud800'"),
    ],
)
def test_a_value_that_is_no_length_gets_422_with_the_field(url: str, written: str, message: str, shown: str):
    response = post(url, BODY.replace("0.2", written))
    assert response.status_code == 422
    assert response.json() == {"detail": [{"loc": ["body", "petal_width"], "msg": message, "input": shown}]}


@pytest.mark.parametrize(
    ("body", "finding"),
    [
        ("hi", {"loc": ["body", 0], "msg": "JSON decode error", "input": "{}"}),
        (BODY[:-1], {"loc": ["body", len(BODY) - 1], "msg": "JSON decode error", "input": "{}"}),
        ("", {"loc": ["body"], "msg": "Field required", "input": "None"}),
        (
            "[5.1, 3.5, 1.4, 0.2]",
            {
                "loc": ["body"],
                "msg": "Input should be a valid dictionary or object to extract fields from",
                "input": "[5.1, 3.5, 1.4, 0.2]",
            },
        ),
        (
            json.dumps({name: X[name] for name in list(X)[:3]}),
            {
                "loc": ["body", "petal_width"],
                "msg": "Field required",
                "input": "{'sepal_length': 5.1, 'sepal_width': 3.5...",
            },
        ),
    ],
)
def test_a_body_of_another_shape_gets_422(url: str, body: str, finding: dict[str, object]):
    response = post(url, body)
    assert response.status_code == 422
    assert response.json() == {"detail": [finding]}


@pytest.mark.parametrize("body", [b"\xff\xfe\x00", b'{"sepal_length":' + b"[" * 60_000])
def test_bytes_that_cannot_be_parsed_get_400(url: str, body: bytes):
    response = post(url, body)
    assert response.status_code == 400
    assert response.json() == {"detail": "There was an error parsing the body"}


def test_a_megabyte_gets_413_and_the_server_goes_on(url: str):
    response = post(url, b"x" * 1_000_000)
    assert (response.status_code, response.text) == (413, "Content Too Large")
    assert post(url, BODY).status_code == 200


def test_the_model_describes_itself(url: str, model: IrisModel):
    response = httpx2.get(f"{url}/model-info")
    assert response.status_code == 200
    assert response.json() == model.describe()
    assert set(response.json()) >= {"kind", "features", "classes", "accuracy", "trained_at", "scikit_learn", "unit"}


def test_the_server_tells_that_it_is_well(url: str):
    response = httpx2.get(f"{url}/health")
    assert (response.status_code, response.json()) == (200, {"status": "ok"})


def test_other_paths_and_methods_are_refused(url: str):
    assert httpx2.get(f"{url}/iris-classifier").status_code == 405
    for path in ("/", "/docs", "/redoc"):  # the latter would load scripts from another host
        assert httpx2.get(url + path).status_code == 404


def test_a_server_with_a_limit_says_503_while_another_connection_is_open(model_path: Path):
    server, url = serve(model_path, "--limit-concurrency", "2")
    try:
        address = httpx2.URL(url)
        with socket.create_connection((address.host, address.port or 80), WAIT_SECONDS) as idle:
            idle.sendall(b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n")
            assert idle.recv(100).startswith(b"HTTP/1.1 200 OK")  # and the connection stays open
            response = post(url, BODY)
            assert (response.status_code, response.text) == (503, "Service Unavailable")
            assert httpx2.get(f"{url}/health").status_code == 503
        until(lambda: post(url, BODY).status_code == 200, what="free again")
        server.terminate()
        server.wait(STOP_SECONDS)
    finally:
        wrong = server.leave()
    assert not wrong


def test_a_slow_prediction_does_not_hold_up_the_others(model_path: Path):
    server, url = serve(model_path, IRIS_SIMULATED_CPU_SECONDS="0.5")
    try:
        assert httpx2.get(f"{url}/model-info").json()["simulated_cpu_seconds"] == 0.5
        address = httpx2.URL(url)
        request = "POST /iris-classifier HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        with socket.create_connection((address.host, address.port or 80), WAIT_SECONDS) as slow:
            slow.settimeout(WAIT_SECONDS)
            slow.sendall(f"{request}Content-Length: {len(BODY)}\r\n\r\n{BODY}".encode())
            assert httpx2.get(f"{url}/health").status_code == 200
            slow.setblocking(False)
            with pytest.raises(BlockingIOError):  # still at work
                slow.recv(1)
            slow.settimeout(WAIT_SECONDS)
            assert slow.recv(100).startswith(b"HTTP/1.1 200 OK")
    finally:
        wrong = server.leave()
    assert not wrong


def test_a_damaged_model_ends_the_start_with_a_line_that_repairs_it(tmp_path: Path):
    path = tmp_path / "iris_classifier.joblib"
    path.write_bytes(b"")
    path.with_suffix(".json").write_text("{", encoding="utf-8")
    server = Program([sys.executable, "-m", "uvicorn", APP, "--port", "0"], {"IRIS_MODEL_PATH": str(path)})
    assert server.wait() != 0
    assert "is damaged. Make a new one with: python -m common.iris_model --train" in server.errors
    assert server.leave() == ""
