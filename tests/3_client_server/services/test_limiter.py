"""The limiter: full is refused with a reason, and whoever watches gets through."""

import importlib
import threading

import httpx2

from tests.helpers import WAIT_SECONDS, X, until

tools = importlib.import_module("tests.3_client_server.services.service_tools")


def in_flight(service) -> bool:
    return "iris_predictions_in_flight 1.0" in service.get("/metrics").text


def test_a_full_service_refuses_predictions_and_answers_whoever_watches(start):
    service = start("model_service", IRIS_MAX_IN_FLIGHT="1", IRIS_SIMULATED_CPU_SECONDS="1.5")
    first: list[httpx2.Response] = []
    thread = threading.Thread(
        target=lambda: first.append(httpx2.post(f"{service.url}/predict", json={"input": X}, timeout=WAIT_SECONDS))
    )
    thread.start()
    until(lambda: in_flight(service))
    refused = service.post("/predict", {"input": X})
    problem = tools.assert_problem(refused, 503, "1 predictions are in flight, the limit is 1")
    assert (problem["limit"], problem["in_flight"], refused.headers["retry-after"]) == (1, 1, "1")
    tools.assert_problem(service.post("/explain", X), 503, "the limit is 1")
    for path in ("/", "/health", "/health/live", "/health/ready", "/metrics", "/model-info"):
        assert service.get(path).status_code == 200
    assert not first, "the prediction was to be in flight all the time"
    thread.join(WAIT_SECONDS)
    assert first[0].status_code == 200
    assert service.post("/predict", {"input": X}).status_code == 200
    metrics = service.get("/metrics").text
    assert "iris_refusals_total 2.0" in metrics and "iris_predictions_in_flight 0.0" in metrics


def test_idle_connections_take_no_room(start):
    service = start("model_service", IRIS_MAX_IN_FLIGHT="1")
    idle = [httpx2.Client(base_url=service.url) for _ in range(8)]
    try:
        assert {client.get("/health").status_code for client in idle} == {200}
        assert service.post("/predict", {"input": X}).status_code == 200
    finally:
        for client in idle:
            client.close()


def ask_in_the_background(url: str, body: dict) -> threading.Thread:
    thread = threading.Thread(target=lambda: httpx2.post(url, json=body, timeout=WAIT_SECONDS))
    thread.start()
    return thread


def test_the_gateway_tells_of_a_full_model_service_and_counts_what_it_refuses_itself(start):
    model = start("model_service", IRIS_MAX_IN_FLIGHT="1", IRIS_SIMULATED_CPU_SECONDS="1.5")
    door = start("gateway", IRIS_MODEL_URL=model.url, IRIS_MAX_IN_FLIGHT="1", IRIS_MODEL_DEADLINE_SECONDS="0.9")
    thread = ask_in_the_background(f"{model.url}/predict", {"input": X})
    until(lambda: in_flight(model))
    refused = door.post("/process", {"data": X})
    thread.join(WAIT_SECONDS)
    tools.assert_problem(refused, 503, "It has no room")
    assert refused.headers["retry-after"] == "1"
    assert door.get("/api/monitor").json()["refusals"] == 0

    thread = ask_in_the_background(f"{door.url}/process", {"data": X})
    until(lambda: in_flight(door))
    tools.assert_problem(door.post("/process", {"data": X}), 503, "the limit is 1")
    thread.join(WAIT_SECONDS)
    assert door.get("/api/monitor").json()["refusals"] == 1
