"""The model service as any HTTP client meets it, in a real uvicorn."""

import importlib
import re

import pytest

from common.iris_dto import FEATURES, Measurement
from common.iris_model import IrisModel, load_data, predict_many
from tests.helpers import X

tools = importlib.import_module("tests.3_client_server.services.service_tools")


def flowers(count: int) -> list[dict[str, float]]:
    rows = load_data()[0].tolist()
    return [dict(zip(FEATURES, rows[i % len(rows)], strict=True)) for i in range(count)]


def predicted(model: IrisModel, several: list[dict[str, float]]) -> list[dict]:
    return [y.model_dump() for y in predict_many(model, [Measurement(**one) for one in several])]


def test_one_measurement_gets_one_prediction_and_the_model_that_it_is_from(model_service, model: IrisModel):
    answer = model_service.post("/predict", {"input": X})
    assert answer.status_code == 200
    assert answer.json()["predictions"] == predicted(model, [X])
    assert answer.json()["model"]["accuracy"] == model.info["accuracy"]


def test_a_list_is_answered_in_its_order_as_the_model_answers_each(model_service, model: IrisModel):
    several = [*flowers(150), X | {"petal_width": 50.0}, X]
    answers = model_service.post("/predict", {"input": several}).json()["predictions"]
    expected = predicted(model, several)
    assert [a | {"probabilities": 0} for a in answers] == [e | {"probabilities": 0} for e in expected]
    for answer, other in zip(answers, expected, strict=True):
        assert answer["probabilities"] == pytest.approx(other["probabilities"], abs=1e-12)
    assert "petal_width 50 cm" in answers[-2]["warnings"][0] and "warnings" not in answers[-1]


def test_ten_thousand_measurements_are_taken_and_one_more_is_refused(model_service):
    assert len(model_service.post("/predict", {"input": flowers(10_000)}).json()["predictions"]) == 10_000
    tools.assert_problem(model_service.post("/predict", {"input": flowers(10_001)}), 422, "input: expected 1 to 10000")


def test_an_explanation_sums_up_to_the_log_odds(model_service, model: IrisModel):
    answer = model_service.post("/explain", X).json()
    assert answer["y"] == predicted(model, [X])[0]
    assert (answer["winner"], answer["runner_up"]) == ("setosa", "versicolor")
    assert sum(answer["contributions"].values()) + answer["intercept"] == pytest.approx(answer["log_odds"])


@pytest.mark.parametrize(
    ("body", "part"),
    [
        (b"", "not JSON"),
        (b"{", "not JSON"),
        (b"\xff", "not JSON"),
        (b"[]", "not a JSON object"),
        (b"{}", "input: missing"),
        (b'{"input": []}', "input: expected 1 to 10000 measurements"),
        (b'{"input": 5}', "input: 5 is not a measurement"),
        (b'{"input": {"sepal_length": 1, "sepal_width": 1, "petal_length": 1}}', "input.petal_width: missing"),
        (
            b'{"input": {"sepal_length": NaN, "sepal_width": 1, "petal_length": 1, "petal_width": 1}}',
            "input.sepal_length: nan is not a number above 0 and at most 100 (cm)",
        ),
        (
            b'{"input": {"sepal_length": 1e999, "sepal_width": 1, "petal_length": 1, "petal_width": 1}}',
            "input.sepal_length: inf is not a number",
        ),
        (
            b'{"input": [{"sepal_length": 1, "sepal_width": "2", "petal_length": 1, "petal_width": 1}]}',
            "input.0.sepal_width: '2' is not a number",
        ),
        (
            b'{"input": {"sepal_length": 1, "sepal_width": true, "petal_length": 1, "petal_width": 1}}',
            "input.sepal_width: True is not a number",
        ),
    ],
)
def test_wrong_input_is_refused_with_the_field(model_service, body: bytes, part: str):
    tools.assert_problem(model_service.post("/predict", content=body), 422, part)


def test_every_other_failure_is_a_problem_too(model_service):
    tools.assert_problem(model_service.get("/nowhere"), 404)
    wrong_method = model_service.get("/predict")
    tools.assert_problem(wrong_method, 405)
    assert wrong_method.headers["allow"] == "POST"
    tools.assert_problem(model_service.post("/predict", content=b" " * (2 * 1024 * 1024 + 1)), 413, "larger than")
    tools.assert_problem(model_service.post("/predict", content=iter([b" " * 65536] * 40)), 413, "larger than")


@pytest.mark.parametrize("path", ["/", "/health", "/health/live", "/health/ready", "/model-info", "/openapi.json"])
def test_what_it_is_and_how_it_is_can_be_asked(model_service, path: str):
    assert model_service.get(path).status_code == 200


@pytest.mark.parametrize("service", ["model_service", "door"])
@pytest.mark.parametrize("path", ["/docs", "/redoc"])
def test_the_documentation_needs_no_other_host(request: pytest.FixtureRequest, service: str, path: str):
    client = request.getfixturevalue(service)
    page = client.get(path).text
    parts = re.findall(r'(?:src|href)="([^"]+)"', page)
    assert parts and not re.search(r'(src|href)="(https?:)?//', page)
    for part in parts:
        answer = client.get(part)
        assert answer.status_code == 200
        assert b"cdn.redoc.ly" not in answer.content


def test_a_request_id_comes_back_and_a_forged_one_does_not(model_service):
    assert model_service.get("/", headers={"x-request-id": "mine-1"}).headers["x-request-id"] == "mine-1"
    forged = model_service.get("/", headers={"x-request-id": "mine one=two"}).headers["x-request-id"]
    assert re.fullmatch("[0-9a-f]{32}", forged)


def test_the_metrics_tell_rate_errors_duration_and_limit(model_service):
    model_service.post("/predict", {"input": X})
    model_service.post("/predict", {"input": 1})
    model_service.get("/a/b/c")
    answer = model_service.get("/metrics")
    assert answer.headers["content-type"].startswith("text/plain; version=")
    for line in (
        r'iris_requests_total\{method="POST",route="/predict",status="200"\} [1-9]',
        r'iris_requests_total\{method="POST",route="/predict",status="422"\} [1-9]',
        r'iris_requests_total\{method="GET",route="other",status="404"\} [1-9]',
        r'iris_request_duration_seconds_bucket\{le="0.001",route="/predict"\}',
        r"iris_predictions_in_flight 0.0",
        r"iris_predictions_limit 128.0",
        r"iris_refusals_total 0.0",
    ):
        assert re.search(rf"^{line}", answer.text, re.MULTILINE), line
