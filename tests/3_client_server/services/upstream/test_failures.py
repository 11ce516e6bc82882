"""The model service down, frozen, slow, full, mad, killed and back: what the gateway's clients see of it."""

import importlib
import os
import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import httpx2
import pytest

from tests.helpers import WAIT_SECONDS, X, until

tools = importlib.import_module("tests.3_client_server.services.service_tools")
DEADLINE = 1.5  # seconds, of the gateway for the model service
SLACK = 2.0  # seconds, for a machine that has other things to do
SETTINGS = {"IRIS_MODEL_DEADLINE_SECONDS": str(DEADLINE), "IRIS_BREAKER_SECONDS": "0.3"}
PATIENT = SETTINGS | {"IRIS_BREAKER_FAILURES": "1000"}  # a breaker that stays closed
ASK = {"data": X}


def breaker(gateway) -> str:
    return gateway.get("/api/monitor").json()["breaker"]


@pytest.mark.parametrize(("path", "body"), [("/process", ASK), ("/iris-classifier", X), ("/api/explain", X)])
def test_a_model_service_that_is_down_is_a_503(start, path: str, body):
    gateway = start("gateway", IRIS_MODEL_URL=tools.GONE, **PATIENT)
    problem = gateway.post(path, body)
    tools.assert_problem(problem, 503, "cannot reach the model service")
    assert problem.headers["retry-after"] == "1"


def test_liveness_never_asks_the_model_service_and_readiness_does(start):
    gateway = start("gateway", IRIS_MODEL_URL=tools.GONE)
    assert gateway.get("/health").status_code == gateway.get("/health/live").status_code == 200
    tools.assert_problem(gateway.get("/health/ready"), 503, "not ready")
    assert gateway.post("/process", ASK | {"forward_to_model": False}).status_code == 200


def test_a_slow_model_service_is_a_504_within_the_deadline(start):
    slow = start("model_service", IRIS_SIMULATED_CPU_SECONDS="3")
    gateway = start("gateway", IRIS_MODEL_URL=slow.url, **PATIENT)
    started = time.monotonic()
    tools.assert_problem(gateway.post("/process", ASK), 504, "not answered within 1.5 s")
    assert DEADLINE - 0.1 < time.monotonic() - started < DEADLINE + SLACK


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>",
        b"{}",
        b'{"predictions": []}',
        b'{"predictions": [{}]}',
        b'{"predictions": [{"iris_type": 3, "species": "rose", "probabilities": {}}]}',
        b'{"predictions": [{"iris_type": 0, "species": "setosa", "probabilities": {"setosa": NaN}}]}',
    ],
)
def test_nonsense_is_a_502(start, trick, body: bytes):
    mad = trick(lambda handler: tools.reply(handler, 200, body))
    tools.assert_problem(start("gateway", IRIS_MODEL_URL=mad.url, **PATIENT).post("/process", ASK), 502)


def test_a_fault_of_the_service_itself_is_a_500_whose_reason_is_in_the_log_alone(start):
    broken = start("tests.3_client_server.services.broken_service")
    broken.program.may_show_traceback = True  # in its log
    problem = tools.assert_problem(broken.post("/predict", {"input": X}), 500, "log has the reason")
    line = broken.program.wait_for_line("Unexpected failure")
    assert problem["request_id"] in line
    broken.program.wait_for("RuntimeError: the secret of the model")
    assert 'status="500"' in broken.get("/metrics").text
    gateway = start("gateway", IRIS_MODEL_URL=broken.url, **PATIENT)
    tools.assert_problem(gateway.post("/process", ASK), 502)


def test_who_is_still_waiting_when_the_service_ends_is_told_so(start, trick):
    asked, stop = threading.Event(), threading.Event()

    def sleep(handler) -> None:
        asked.set()
        stop.wait(WAIT_SECONDS)
        handler.close_connection = True

    gateway = start("gateway", IRIS_MODEL_URL=trick(sleep).url, IRIS_MODEL_DEADLINE_SECONDS="30")
    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(gateway.post, "/process", ASK)
        assert asked.wait(WAIT_SECONDS)
        gateway.program.terminate()
        problem = answer.result(WAIT_SECONDS)
        stop.set()
    tools.assert_problem(problem, 503, "was not finished")
    assert problem.headers["retry-after"] == "1"


@pytest.mark.parametrize("status", [404, 418, 422, 500, 302])
def test_a_status_that_makes_no_sense_is_a_502(start, trick, status: int):
    mad = trick(lambda handler: tools.reply(handler, status, b"secret", location="http://127.0.0.1:1/"))
    answer = start("gateway", IRIS_MODEL_URL=mad.url, **PATIENT).post("/process", ASK)
    tools.assert_problem(answer, 502)
    assert "secret" not in answer.text


def test_what_is_no_http_is_a_502(start, trick):
    def talk(handler) -> None:
        handler.wfile.write(b"SSH-2.0-OpenSSH\r\n")
        handler.close_connection = True

    tools.assert_problem(start("gateway", IRIS_MODEL_URL=trick(talk).url, **PATIENT).post("/process", ASK), 502)


def test_a_full_model_service_is_asked_again_when_it_said(start, trick, model_service):
    asked: list[float] = []
    good = model_service.post("/predict", {"input": X}).content

    def full_once(handler) -> None:
        asked.append(time.monotonic())
        if len(asked) == 1:
            tools.reply(handler, 503, b"", retry_after="1")
        else:
            tools.reply(handler, 200, good)

    gateway = start("gateway", IRIS_MODEL_URL=trick(full_once).url)
    assert gateway.post("/process", ASK).status_code == 200
    assert len(asked) == 2 and asked[1] - asked[0] >= 1.0
    assert breaker(gateway) == "closed"  # full is not broken


def test_a_full_model_service_that_asks_for_more_time_than_there_is_is_a_503_at_once(start, trick):
    asked: list[float] = []

    def full(handler) -> None:
        asked.append(time.monotonic())
        tools.reply(handler, 503, b"", retry_after="30")

    gateway = start("gateway", IRIS_MODEL_URL=trick(full).url, **SETTINGS)
    started = time.monotonic()
    answer = gateway.post("/process", ASK)
    assert time.monotonic() - started < DEADLINE
    tools.assert_problem(answer, 503)
    assert answer.headers["retry-after"] == "30" and len(asked) == 1


def test_a_timeout_is_not_tried_again(start, trick):
    asked: list[float] = []
    stop = threading.Event()

    def sleep(handler) -> None:
        asked.append(time.monotonic())
        stop.wait(WAIT_SECONDS)
        handler.close_connection = True

    gateway = start("gateway", IRIS_MODEL_URL=trick(sleep).url, **PATIENT)
    tools.assert_problem(gateway.post("/process", ASK), 504)
    stop.set()
    assert len(asked) == 1


def test_a_frozen_model_service_opens_the_breaker_which_closes_when_it_thaws(start):
    model = start("model_service")
    settings = SETTINGS | {"IRIS_BREAKER_SECONDS": "4", "IRIS_BREAKER_FAILURES": "2"}  # open while we look at it
    gateway = start("gateway", IRIS_MODEL_URL=model.url, **settings)
    assert gateway.post("/process", ASK).status_code == 200
    os.kill(model.program.pid, signal.SIGSTOP)
    try:
        for _ in range(2):
            tools.assert_problem(gateway.post("/process", ASK), 504)
        assert breaker(gateway) == "opened"
        assert 'iris_breaker_state{state="opened"} 1.0' in gateway.get("/metrics").text
        started = time.monotonic()
        refused = gateway.post("/process", ASK)
        tools.assert_problem(refused, 503, "circuit breaker is open")
        assert 1 <= int(refused.headers["retry-after"]) <= 4
        assert time.monotonic() - started < DEADLINE
    finally:
        os.kill(model.program.pid, signal.SIGCONT)
    until(lambda: gateway.post("/process", ASK).status_code == 200, what="recovery")
    assert breaker(gateway) == "closed"


def test_a_half_open_breaker_lets_one_request_try(start, trick):
    asked: list[float] = []
    stop = threading.Event()

    def sleep(handler) -> None:
        asked.append(time.monotonic())
        stop.wait(WAIT_SECONDS)
        handler.close_connection = True

    gateway = start("gateway", IRIS_MODEL_URL=trick(sleep).url, **SETTINGS, IRIS_BREAKER_FAILURES="1")
    tools.assert_problem(gateway.post("/process", ASK), 504)
    time.sleep(0.5)  # longer than IRIS_BREAKER_SECONDS
    answers: list[httpx2.Response] = []
    threads = [threading.Thread(target=lambda: answers.append(gateway.post("/process", ASK))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(WAIT_SECONDS)
    stop.set()
    assert sorted(answer.status_code for answer in answers) == [503] * 7 + [504]
    assert len(asked) == 2


def test_killed_frozen_and_restarted_under_load_every_request_is_answered_in_time(start):
    model = start("model_service")
    gateway = start("gateway", IRIS_MODEL_URL=model.url, **SETTINGS)
    port, stop = model.port, threading.Event()
    seen: list[tuple[float, int]] = []
    broken: list[Exception] = []

    def ask() -> None:
        with httpx2.Client(base_url=gateway.url, timeout=WAIT_SECONDS) as client:
            while not stop.is_set():
                started = time.monotonic()
                try:
                    status = client.post("/process", json=ASK).status_code
                except httpx2.HTTPError as error:
                    broken.append(error)
                    return
                seen.append((time.monotonic() - started, status))
                if status != 200:
                    time.sleep(0.02)

    def recovers() -> None:
        done = len(seen)
        until(lambda: [status for _, status in seen[done:]].count(200) > 20, what="recovery under load")

    threads = [threading.Thread(target=ask, daemon=True) for _ in range(8)]
    for thread in threads:
        thread.start()
    try:
        recovers()
        model.program.kill()
        until(lambda: seen[-1][1] == 503)
        model = start("model_service", port=port)
        recovers()
        os.kill(model.program.pid, signal.SIGSTOP)
        until(lambda: seen[-1][1] in (503, 504))
        time.sleep(2 * DEADLINE)
        os.kill(model.program.pid, signal.SIGCONT)
        recovers()
        model.program.terminate()
        assert model.program.wait() in (0, -signal.SIGTERM)
        until(lambda: seen[-1][1] == 503)
        model = start("model_service", port=port)
        recovers()
    finally:
        stop.set()
        for thread in threads:
            thread.join(WAIT_SECONDS)
    assert not broken
    assert {status for _, status in seen} <= {200, 503, 504}
    assert max(seconds for seconds, _ in seen) < DEADLINE + SLACK
    until(lambda: breaker(gateway) == "closed")
