"""The gateway as programs meet it, in front of a real model service."""

import importlib
import json
import re
import sys

import pytest

from tests.helpers import LINE, WAIT_SECONDS, Program, X, until

tools = importlib.import_module("tests.3_client_server.services.service_tools")
IN_MM = {name: round(value * 10, 1) for name, value in X.items()}
IN_INCHES = {name: value / 2.54 for name, value in X.items()}
HEADER = "sepal_length,sepal_width,petal_length,petal_width"


def upload(door, text: str | bytes, **fields: str):
    return door.post("/process", files={"file": ("flowers.csv", text)}, data=fields)


def test_a_measurement_is_understood_and_predicted(door, model_service):
    answer = door.post("/process", {"data": X, "forward_to_model": True}).json()
    direct = model_service.post("/predict", {"input": X}).json()["predictions"]
    assert answer == {
        "request_id": answer["request_id"],
        "status": "predicted",
        "data": [X],
        "predictions": direct,
    }


def test_without_the_model_it_stops_after_pre_processing(door):
    answer = door.post("/process", {"data": [X, X], "forward_to_model": False}).json()
    assert (answer["status"], answer["data"], answer["predictions"]) == ("pre-processed", [X, X], [])


@pytest.mark.parametrize(("unit", "data"), [("mm", IN_MM), ("mm", [IN_MM]), ("inches", IN_INCHES), ("cm", [X])])
def test_every_unit_becomes_cm(door, unit: str, data):
    answer = door.post("/process", {"data": data, "unit": unit}).json()
    assert answer["data"] == [pytest.approx(X, abs=1e-11)]
    assert answer["predictions"][0]["species"] == "setosa"


def test_51_mm_are_exactly_5_1_cm(door):
    assert door.post("/process", {"data": IN_MM, "unit": "mm"}).json()["data"] == [X]


@pytest.mark.parametrize(
    ("text", "unit"),
    [
        (f"{HEADER}\n5.1,3.5,1.4,0.2\n", "cm"),
        (f"\ufeff{HEADER.upper()},species\r\n51,35,14,2,setosa\r\n\r\n", "mm"),
        ("id;Petal Width;petal length;sepal_width;sepal_length\n7;0.2;1.4;3.5;5.1", "cm"),
        ("5.1,3.5,1.4,0.2", "cm"),
    ],
)
def test_a_csv_file_is_read(door, text: str, unit: str):
    answer = upload(door, text, unit=unit).json()
    assert answer["data"] == [X]
    assert answer["predictions"][0]["species"] == "setosa"


@pytest.mark.parametrize(
    ("text", "fields", "part"),
    [
        (f"{HEADER}\n5.1,3.5,1.4,0.2\n5.1,x,1.4,0.2\n", {}, "row 3: sepal_width: 'x' is not a number above 0"),
        (f"{HEADER}\n5.1,3.5,1.4\n", {}, "row 2: petal_width: missing"),
        (f"{HEADER}\n5.1,3.5,nan,1\n", {}, "row 2: petal_length: 'nan'"),
        (f"{HEADER}\n5.1,3.5,1e999,1\n", {}, "row 2: petal_length: '1e999'"),
        (f"{HEADER}\n1001,35,14,2\n", {"unit": "mm"}, "row 2: sepal_length: '1001' is not a number above 0 and at m"),
        (f"{HEADER}\n", {}, "no measurement"),
        ("", {}, "no measurement"),
        ("a,b\n1,2\n", {}, "row 1: the columns are 'a, b'"),
        (b"\xff\xfe\x00", {}, "not a CSV file in UTF-8"),
        ("1,2,3,4", {"unit": "ells"}, "unit: 'ells' is not one of cm, mm, inches"),
        ("1,2,3,4", {"forward_to_model": "maybe"}, "forward_to_model: expected true or false"),
        (f"{HEADER}\n" + "5.1,3.5,1.4,0.2\n" * 10_001, {}, "more than 10000"),
    ],
)
def test_a_wrong_csv_file_is_refused_with_row_and_field(door, text, fields: dict[str, str], part: str):
    tools.assert_problem(upload(door, text, **fields), 422, part)


@pytest.mark.parametrize(
    ("body", "part"),
    [
        ({"data": X | {"sepal_width": 0}}, "data.sepal_width: 0 is not a number above 0 and at most 100 (cm)"),
        ({"data": [X, X | {"sepal_width": 1001}], "unit": "mm"}, "data.1.sepal_width: 1001 is not a number"),
        ({"data": X, "unit": "feet"}, "unit: 'feet' is not one of cm, mm, inches"),
        ({"data": X, "unit": ["cm"]}, "unit: ['cm'] is not one of"),
        ({"data": X, "forward_to_model": "yes"}, "forward_to_model: 'yes' is not true or false"),
        ({"data": "5.1 3.5"}, "data: '5.1 3.5' is not a measurement"),
        ({}, "data: missing"),
        ([X], "is not a JSON object"),
    ],
)
def test_wrong_input_is_refused_with_the_field(door, body, part: str):
    tools.assert_problem(door.post("/process", body), 422, part)


def test_a_form_without_a_file_or_without_sense_is_refused(door):
    tools.assert_problem(door.post("/process", files={"other": ("a", "b")}), 422, "file: missing")
    headers = {"content-type": "multipart/form-data; boundary=x"}
    tools.assert_problem(door.post("/process", content=b"--y\r\n", headers=headers), 400)
    headers = {"content-type": "multipart/form-data"}
    tools.assert_problem(door.post("/process", content=b"--y\r\n", headers=headers), 400)


def test_too_large_an_upload_is_refused(door):
    tools.assert_problem(upload(door, "1,2,3,4\n" * 300_000), 413, "larger than")


def test_it_answers_as_the_plain_server_does(door, model_service):
    answer = door.post("/iris-classifier", X)
    assert answer.json() == model_service.post("/predict", {"input": X}).json()["predictions"][0]
    tools.assert_problem(door.post("/iris-classifier", X | {"petal_width": "a"}), 422, "petal_width: 'a'")


def test_the_plain_prompt_client_works_against_it(door, environment: dict[str, str]):
    command = [sys.executable, "-m", "3_client_server.iris_classifier_cli_client_rest", "--url", door.url]
    client = Program(command, environment, stdin=f"{LINE}\nq\n")
    assert client.wait() == 0
    assert client.output.startswith("setosa (setosa 98.1 %")
    assert not client.leave()


def test_an_explanation_comes_with_what_was_understood(door, model_service):
    answer = door.post("/api/explain", X).json()
    assert answer.pop("data") == X
    assert re.fullmatch("[0-9a-f]{32}", answer.pop("request_id"))
    assert answer == model_service.post("/explain", X).json()
    tools.assert_problem(door.post("/api/explain", {}), 422, "sepal_length: missing")


def test_programs_and_people_get_an_answer_each_at_the_root(door):
    assert door.get("/").json()["service"] == "gateway"
    page = door.get("/", headers={"accept": "text/html,application/xhtml+xml"})
    assert page.headers["content-type"].startswith("text/html")
    assert page.headers["vary"] == door.get("/").headers["vary"] == "Accept"
    assert door.get("/nowhere", headers={"accept": "text/html"}).headers["content-type"].startswith("text/html")


@pytest.mark.parametrize("path", ["/health", "/health/live", "/health/ready"])
def test_it_is_well(door, path: str):
    assert door.get(path).json() == {"status": "ok"}


def test_the_request_id_is_in_both_logs(door, model_service):
    door.post("/process", {"data": [X, X]}, headers={"x-request-id": "follow-me"})
    for service, line in (
        (door, r" INFO gateway POST /process 200 duration_ms=[\d.]+ measurements=2 request_id=follow-me\n"),
        (model_service, r" INFO model POST /predict 200 duration_ms=[\d.]+ measurements=2 request_id=follow-me\n"),
    ):
        until(lambda service=service, line=line: re.search(line, service.log), what=line)


def test_a_log_for_programs_is_one_json_object_per_line(start, model_service):
    gateway = start("gateway", IRIS_MODEL_URL=model_service.url, IRIS_LOG_FORMAT="json", IRIS_LOG_LEVEL="DEBUG")
    gateway.post("/process", {"data": X}, headers={"x-request-id": "a"})
    gateway.get("/health", headers={"x-request-id": "b"})
    gateway.get("/%0Aforged", headers={"x-request-id": "c"})
    until(lambda: '"c"' in gateway.log)
    entries = [json.loads(line) for line in gateway.log.splitlines() if line.startswith("{")]
    by_id = {entry["request_id"]: entry for entry in entries if "request_id" in entry}
    assert by_id["a"]["message"] == "POST /process 200"
    assert (by_id["a"]["level"], by_id["a"]["service"], by_id["a"]["measurements"]) == ("INFO", "gateway", 1)
    assert by_id["b"]["level"] == "DEBUG"
    assert by_id["c"]["message"] == "GET /\nforged 404"


def test_a_line_break_in_an_address_forges_no_log_line(door):
    door.get("/%0A12:00:00.000 ERROR forged", headers={"x-request-id": "broken"})
    until(lambda: "request_id=broken" in door.log)
    assert not re.search(r"^12:00:00.000 ERROR forged", door.log, re.MULTILINE)


def test_the_monitor_tells_what_happened(start, model_service):
    gateway = start("gateway", IRIS_MODEL_URL=model_service.url)
    assert gateway.get("/api/monitor").json()["latency_p50"] is None
    for _ in range(20):
        gateway.post("/process", {"data": X | {"petal_width": 9.0}})
    gateway.post("/process", {"data": 1})
    gateway.get("/health")
    seen = gateway.get("/api/monitor", timeout=WAIT_SECONDS).json()
    assert (seen["requests"], seen["errors"], seen["invalid"], seen["refusals"]) == (21, 0, 1, 0)
    assert 0 < seen["latency_p50"] <= seen["latency_p99"] < WAIT_SECONDS
    assert (seen["breaker"], seen["in_flight"], seen["limit"]) == ("closed", 0, 128)
    assert seen["inputs"] == [[5.1, 3.5, 1.4, 9.0]] * 20
    assert [test["feature"] for test in seen["drift"]["features"] if test["drifted"]].count("petal_width") == 1
    assert 'iris_breaker_state{state="closed"} 1.0' in gateway.get("/metrics").text
