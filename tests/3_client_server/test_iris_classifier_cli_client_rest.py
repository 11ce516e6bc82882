"""Stage 3's client: whatever the server does, one line says it, and the prompt goes on."""

import signal
import socket
import sys
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from importlib import import_module
from io import StringIO
from pathlib import Path
from threading import Thread

import pytest

from common.iris_dto import EXPECTED, validate
from common.iris_model import IrisModel, predict
from common.programs import free_ports, url_of_server
from common.terminal import PROMPT, show
from tests.helpers import CTRL_C, LINE, STOP_SECONDS, VIRGINICA, Program

MODULE = "3_client_server.iris_classifier_cli_client_rest"
APP = "3_client_server.iris_classifier_rest_server:app"
MEGABYTE = b"x" * 1_000_000
Start = Callable[..., Program]
Answer = tuple[int, dict[str, str], bytes]


@pytest.fixture(scope="module")
def url(model_path: Path) -> Iterator[str]:
    command = [sys.executable, "-m", "uvicorn", APP, "--port", "0"]
    server = Program(command, {"IRIS_MODEL_PATH": str(model_path)})
    try:
        yield url_of_server(server)
    finally:
        wrong = server.leave()
    assert not wrong


class StrangeServer(HTTPServer):
    """Answers whatever it was told to, one answer per request."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), StrangeHandler)
        self.answers: list[Answer] = []
        self.url = f"http://127.0.0.1:{self.server_address[1]}"


class StrangeHandler(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["content-length"]))
        assert isinstance(self.server, StrangeServer)
        status, headers, body = self.server.answers.pop(0)
        if status == 0:  # a server that dies in the middle
            self.connection.shutdown(socket.SHUT_RDWR)
            return
        self.send_response(status)
        for name, value in {"content-length": str(len(body)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def strange() -> Iterator[StrangeServer]:
    with StrangeServer() as server:
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield server
        server.shutdown()
        thread.join(STOP_SECONDS)


def test_it_shows_the_servers_answer_and_explains_wrong_input_by_itself(url: str, program: Start, model: IrisModel):
    lines = [LINE, "5.1, 3.5, -1.4, 0.2", "5.1 3.5", "5.1 3.5 nan 0.2", "5.1 3.5 1.4 50", VIRGINICA]
    one = program(MODULE, "--url", url + "/", stdin="\n".join(lines))
    assert one.wait() == 0
    assert one.output.splitlines() == [
        show(predict(model, validate(LINE.split()))),
        f"petal_length: -1.4 is not {EXPECTED}.",
        "Expected 4 numbers (sepal_length, sepal_width, petal_length, petal_width in cm), got 2.",
        f"petal_length: 'nan' is not {EXPECTED}.",
        *show(predict(model, validate(["5.1", "3.5", "1.4", "50"]))).splitlines(),
        show(predict(model, validate(VIRGINICA.split()))),
    ]
    assert one.errors == ""


def test_bytes_that_are_no_text_and_a_megabyte_reach_no_server(program: Start):
    one = program(MODULE, "--url", "http://127.0.0.1:1", stdin=b"\xff\xfe 1 1 1\n" + MEGABYTE + b"\n\xc3 1 2\n")
    assert one.wait() == 0
    explained = one.output.splitlines()
    assert [line[:12] for line in explained] == ["sepal_length", "Expected 4 n", "Expected 4 n"]
    assert all(len(line) < 200 for line in explained)


def test_a_server_that_is_down_is_one_line_and_the_prompt_goes_on(program: Start, env: dict[str, str]):
    url = f"http://127.0.0.1:{free_ports(1)[0]}"
    one = program(MODULE, env=env | {"IRIS_REST_URL": url}, stdin=f"{LINE}\n{LINE}\n")
    assert one.wait() == 0
    first, second = one.output.splitlines()
    assert first == second
    assert first.startswith(f"No server answers at {url} (") and first.endswith(". Is it running?")
    assert one.errors == ""


@pytest.mark.parametrize("url", ["nonsense", "http://", "ftp://127.0.0.1", "http://127.0.0.1:99999", "http://[", ""])
def test_an_address_that_is_none_is_one_line(url: str, monkeypatch: pytest.MonkeyPatch, capsys):
    monkeypatch.setattr("sys.stdin", StringIO(f"{LINE}\n"))
    assert import_module(MODULE).main(["--url", url]) == 0
    out, errors = capsys.readouterr()
    assert out.startswith("No server answers at ") and out.count("\n") == 1
    assert errors == ""


def test_whatever_a_server_answers_is_one_line_and_the_prompt_goes_on(strange: StrangeServer, program: Start):
    json_type = {"content-type": "application/json"}
    good = b'{"iris_type": 1, "more": [1, 2]}'  # of an iris type only this is required
    no_iris_type = f"The server at {strange.url} answered {{}}, but not with an iris type."
    unknown = f"The request reached {strange.url}, but no answer came back ("
    cases: list[tuple[Answer, str]] = [
        ((503, {}, b"Service Unavailable"), "503 Service Unavailable: the server is full. Try again in a moment."),
        (
            (422, json_type, b'{"detail": [\n{"loc": ["body", "petal_width"]}\n]}'),
            "422: the server does not accept this measurement: ",
        ),
        ((422, {}, MEGABYTE), "422: the server does not accept this measurement: "),
        ((200, json_type, b"hi"), no_iris_type.format(200)),
        ((200, json_type, b""), no_iris_type.format(200)),
        ((200, json_type, b"\xff\xfe"), no_iris_type.format(200)),
        ((200, json_type, MEGABYTE), no_iris_type.format(200)),
        ((200, json_type, b'{"iris_type": 3}'), no_iris_type.format(200)),
        ((200, json_type, b'{"iris_type": "1"}'), no_iris_type.format(200)),
        ((200, json_type, b'{"species": "setosa"}'), no_iris_type.format(200)),
        ((200, json_type | {"content-encoding": "gzip"}, b"no gzip"), unknown),
        ((404, {}, b"<html>"), no_iris_type.format(404)),
        ((500, {}, b"Internal Server Error"), no_iris_type.format(500)),
        ((302, {"location": strange.url}, b""), no_iris_type.format(302)),
        ((204, {}, b""), no_iris_type.format(204)),
        ((200, {"content-length": "1000"}, b"half"), unknown),
        ((0, {}, b""), unknown),
        ((200, json_type, good), "versicolor"),
    ]
    strange.answers = [answer for answer, _ in cases]
    one = program(MODULE, "--url", strange.url, stdin=f"{LINE}\n" * len(cases))
    assert one.wait() == 0
    shown = one.output.splitlines()
    assert len(shown) == len(cases), one.output[:3000]
    for (answer, expected), line in zip(cases, shown, strict=True):
        assert line.startswith(expected), answer[:2]
        assert len(line) < 300, answer[:2]
    assert one.errors == ""


def test_a_server_that_is_killed_while_it_predicts_leaves_the_requests_fate_unknown(program: Start, model_path: Path):
    command = [sys.executable, "-m", "uvicorn", APP, "--port", "0", "--log-level", "debug"]
    server = Program(command, {"IRIS_MODEL_PATH": str(model_path), "IRIS_SIMULATED_CPU_SECONDS": "30"})
    try:
        url = server.wait_for_line("running on ").split("running on ")[1].split()[0]
        one = program(MODULE, "--url", url, stdin=f"{LINE}\n{LINE}\n")
        server.wait_for("Predicting")
        server.kill()
        assert one.wait() == 0
    finally:
        server.leave()
    in_flight, refused = one.output.splitlines()
    assert in_flight.startswith(f"The request reached {url}, but no answer came back (")
    assert in_flight.endswith("Did it predict? Nobody knows.")
    assert refused.startswith(f"No server answers at {url} (") and refused.endswith("Is it running?")
    assert one.errors == ""


@pytest.mark.parametrize("key", [CTRL_C, b"q\n"])
def test_a_person_can_leave(key: bytes, program: Start):
    one = program(MODULE, terminal=True)
    one.wait_for(PROMPT)
    one.send(key)
    assert one.wait(STOP_SECONDS) == 0


def test_control_c_ends_the_wait_for_a_server_that_does_not_answer(program: Start):
    with socket.create_server(("127.0.0.1", 0)) as deaf:
        one = program(MODULE, "--url", f"http://127.0.0.1:{deaf.getsockname()[1]}")
        one.send_line(LINE)
        deaf.settimeout(30)
        connection, _ = deaf.accept()
        with connection:
            assert connection.recv(10) == b"POST /iris"
            one.signal(signal.SIGINT)
            assert one.wait(STOP_SECONDS) == 130
    assert (one.output, one.errors) == ("", "")
