"""The frame of a service, whichever half answers: the small application in front, or FastAPI behind it."""

import importlib
import json
import re
import signal
import socket
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.helpers import WAIT_SECONDS, until

tools = importlib.import_module("tests.3_client_server.services.service_tools")
BOTH = pytest.mark.parametrize("path", ["/count", "/slow"])


def lines(service) -> list[dict]:
    return [json.loads(line) for line in service.log.splitlines() if line.startswith("{")]


@BOTH
def test_an_answer_has_the_id_that_was_given_or_one_of_its_own(tiny, path: str):
    answer = tiny.post(path, content=b"four", headers={"x-request-id": "mine-1"})
    assert (answer.status_code, answer.json(), answer.headers["x-request-id"]) == (200, {"letters": 4}, "mine-1")
    assert answer.headers["content-type"] == "application/json"
    ids = [tiny.post(path, content=b"x", headers={"x-request-id": "a b"}).headers["x-request-id"] for _ in range(3)]
    assert len(set(ids)) == 3 and all(re.fullmatch("[0-9a-f]{32}", one) for one in ids)


@BOTH
def test_a_body_that_is_too_large_is_refused_announced_or_not(tiny, path: str):
    tools.assert_problem(tiny.post(path, content=b"x" * (2 * 1024 * 1024 + 1)), 413, "larger than 2097152 bytes")
    tools.assert_problem(tiny.post(path, content=iter([b"x" * 65536] * 40)), 413, "larger than")
    assert tiny.post(path, content=iter([b"x" * 1000] * 10)).json() == {"letters": 10_000}


def test_a_problem_is_json_for_programs_and_a_page_for_people(tiny):
    assert tools.assert_problem(tiny.post("/count", content=b"wrong"), 422, "text is wrong")["word"] == "wrong"
    page = tiny.post("/count", content=b"wrong", headers={"accept": "text/html"})
    assert (page.status_code, page.text) == (422, "page: The text is wrong.")


def test_a_fault_is_a_500_whose_reason_is_in_the_log_alone(tiny):
    for answer in (tiny.post("/count", content=b"fault"), tiny.get("/fault")):
        problem = tools.assert_problem(answer, 500, "log has the reason")
        until(lambda one=problem["request_id"]: any(line.get("request_id") == one for line in lines(tiny)))
        (line,) = [
            one for one in lines(tiny) if one.get("request_id") == problem["request_id"] and one["level"] == "ERROR"
        ]
        assert line["message"] == "Unexpected failure" and "RuntimeError: the secret" in line["traceback"]


def test_what_is_not_there_or_not_allowed_is_said(tiny):
    tools.assert_problem(tiny.get("/nowhere"), 404)
    refused = tiny.get("/count")
    tools.assert_problem(refused, 405)
    assert refused.headers["allow"] == "POST"


def test_every_request_is_one_line_with_its_fields(tiny):
    tiny.post("/count", content=b"abc", headers={"x-request-id": "log-1"})
    tiny.post("/slow", content=b"abc", headers={"x-request-id": "log-2"})
    tiny.get("/health", headers={"x-request-id": "log-3"})
    tiny.get("/%0Aforged", headers={"x-request-id": "log-4"})
    until(lambda: "log-4" in tiny.log)
    by_id = {line["request_id"]: line for line in lines(tiny) if line.get("request_id", "").startswith("log-")}
    first = by_id["log-1"]
    assert list(first) == ["time", "level", "service", "message", "duration_ms", "letters", "request_id"]
    assert (first["level"], first["service"], first["message"]) == ("INFO", "letters", "POST /count 200")
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}\+00:00", first["time"])
    assert [by_id[f"log-{n}"]["level"] for n in (2, 3, 4)] == ["INFO", "DEBUG", "INFO"]
    assert by_id["log-4"]["message"] == "GET /\nforged 404"


def test_metrics_count_each_route_and_status_by_its_duration(start_tiny):
    service = start_tiny()
    for body in (b"a", b"b", b"wrong"):
        service.post("/count", content=body)
    service.post("/slow", content=b"x")
    service.client.request("PROPFIND", "/pot")
    text = service.get("/metrics").text
    for line in (
        'iris_requests_total{method="POST",route="/count",status="200"} 2.0',
        'iris_requests_total{method="POST",route="/count",status="422"} 1.0',
        'iris_requests_total{method="POST",route="/slow",status="200"} 1.0',
        'iris_requests_total{method="other",route="other",status="404"} 1.0',
        'iris_request_duration_seconds_bucket{le="+Inf",route="/count"} 3.0',
        'iris_request_duration_seconds_count{route="/count"} 3.0',
        "iris_texts_in_flight 0.0",
        "iris_texts_limit 128.0",
        "iris_refusals_total 0.0",
        'iris_mood{state="good"} 1.0',
        'iris_mood{state="bad"} 0.0',
    ):
        assert line in text.splitlines(), text
    counts = [float(n) for n in re.findall(r'_bucket\{le="[^"]+",route="/count"\} (\S+)', text)]
    assert counts == sorted(counts) and len(counts) == 15
    assert float(re.findall(r'_sum\{route="/count"\} (\S+)', text)[0]) > 0


def test_a_full_service_refuses_and_says_so_and_whoever_ends_it_is_told_too(start_tiny):
    service = start_tiny(IRIS_MAX_IN_FLIGHT="1")
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(service.post, "/count", content=b"slow")
        until(lambda: "iris_texts_in_flight 1.0" in service.get("/metrics").text)
        for path in ("/count", "/slow"):
            refused = service.post(path, content=b"x")
            problem = tools.assert_problem(refused, 503, "1 texts are in flight, the limit is 1")
            assert (problem["limit"], problem["in_flight"], refused.headers["retry-after"]) == (1, 1, "1")
        assert "iris_refusals_total 2.0" in service.get("/metrics").text
        service.program.signal(signal.SIGTERM)
        tools.assert_problem(waiting.result(WAIT_SECONDS), 503, "The text was not finished")


def test_a_client_that_goes_in_the_middle_of_its_body_is_no_fault_of_the_service(start_tiny):
    service = start_tiny()
    with socket.create_connection(("127.0.0.1", service.port)) as connection:
        connection.sendall(b"POST /count HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\nX-Request-ID: gone\r\n\r\nhalf")
        until(lambda: "iris_texts_in_flight 1.0" in service.get("/metrics").text)
    until(lambda: "POST /count 400" in service.log)
    assert "iris_texts_in_flight 0.0" in service.get("/metrics").text


def test_every_address_is_documented_and_the_documentation_needs_no_other_host(tiny):
    document = tiny.get("/openapi.json").json()
    assert document["paths"]["/count"]["post"]["description"] == "Count the letters of a text."
    assert set(document["paths"]["/count"]["post"]["responses"]) == {"200", "413", "422"}
    for path in ("/docs", "/redoc"):
        assert not re.search(r'(src|href)="(https?:)?//', tiny.get(path).text)
    assert b"cdn.redoc.ly" not in tiny.get("/static-offline-docs/redoc.standalone.js").content


def test_behind_a_proxy_that_cuts_a_prefix_off_the_same_addresses_answer():
    service = importlib.import_module("tests.common.web.tiny_service").app
    sent: list[dict] = []

    async def receive() -> dict:
        return {"type": "http.request", "body": b"four"}

    async def send(message: dict) -> None:
        sent.append(message)

    async def ask() -> None:
        scope = {"type": "http", "method": "POST", "path": "/prefix/count", "root_path": "/prefix", "headers": []}
        service._record = lambda: None  # nothing has configured its log
        await service(scope, receive, send)

    importlib.import_module("asyncio").run(ask())
    assert sent[0]["status"] == 200 and sent[1]["body"] == b'{"letters":4}'
