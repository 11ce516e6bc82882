"""The gateway through a real uvicorn, with the real Kafka and a real worker behind it."""

import importlib
import json
import re
import threading
import time
import uuid
from concurrent.futures import ThreadPoolExecutor

import httpx2
import pytest

from common.embedded_kafka import EmbeddedKafka
from common.kafka.topics import TASKS
from common.programs import until
from tests.helpers import WAIT_SECONDS, X, messages

tools = importlib.import_module("tests.3_client_server.services.service_tools")
OTHER = {**X, "petal_length": 6.0, "petal_width": 2.5}
WAIT = {"Prefer": "wait=30"}
TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}\+00:00")


def state_of(gateway, task_id: str) -> dict:
    answer = gateway.get(f"/tasks/{task_id}")
    assert answer.status_code == 200, answer.text
    return answer.json()


def done(gateway, task_id: str, state: str = "done") -> dict:
    until(lambda: state_of(gateway, task_id)["state"] == state, WAIT_SECONDS, f"{task_id} is {state}")
    return state_of(gateway, task_id)


def times_in_kafka(kafka: EmbeddedKafka, task_id: str) -> int:
    found = messages(kafka.bootstrap_servers, TASKS, lambda found: any(m.key() == task_id.encode() for m in found))
    return sum(m.key() == task_id.encode() for m in found)


# --- one task ---


def test_a_task_is_accepted_and_its_result_is_there_a_moment_later(gateway, worker, kafka):
    answer = gateway.post("/tasks", X)
    task_id = answer.json()["task_id"]
    assert answer.status_code == 202
    assert uuid.UUID(task_id).version == 4
    assert answer.headers["location"] == f"/tasks/{task_id}"
    assert answer.headers["retry-after"] == "1"
    links = {"self": f"/tasks/{task_id}", "events": f"/tasks/{task_id}/events"}
    state = answer.json()["state"]  # the result can be as quick as the answer
    assert state in ("waiting", "running", "done")
    assert answer.json() == {"task_id": task_id, "state": state, "links": links}
    found = done(gateway, task_id)
    assert found["result"]["species"] == "setosa"
    assert found["X"] == X
    assert found["error"] is None
    assert TIME.fullmatch(found["accepted_at"])
    assert TIME.fullmatch(found["finished_at"])
    assert found["partition"] >= 0
    assert found["offset"] >= 0
    assert times_in_kafka(kafka, task_id) == 1


def test_who_prefers_to_wait_gets_the_result_in_the_same_answer(gateway, worker):
    answer = gateway.post("/tasks", {"task_id": str(uuid.uuid4()), "X": X}, headers=WAIT)
    assert answer.status_code == 200
    assert answer.headers["preference-applied"] == "wait=30"
    assert (answer.json()["state"], answer.json()["result"]["species"]) == ("done", "setosa")


@pytest.mark.parametrize("prefer", ["wait=x", "wait", "wait=-1", "wait=", "=5", "respond-async", ";;,,", "wait=1e9"])
def test_a_malformed_preference_is_ignored(gateway, prefer):
    answer = gateway.post("/tasks", X, headers={"Prefer": prefer})
    assert answer.status_code == 202
    assert "preference-applied" not in answer.headers


@pytest.mark.parametrize("prefer", ["wait=0", 'respond-async, WAIT="0"', "handling=lenient,wait = 0; x=1"])
def test_a_wait_of_no_time_is_understood(gateway, prefer):
    answer = gateway.post("/tasks", X, headers={"Prefer": prefer})
    assert answer.status_code in (200, 202)  # the result can be as quick as the answer
    assert answer.headers["preference-applied"] == "wait=0"


def test_a_wait_is_cut_down_to_the_limit(start):
    small = start(IRIS_MAX_WAIT_SECONDS="0.05")
    began = time.monotonic()
    answer = small.post("/tasks", X, headers={"Prefer": "wait=600"})
    assert answer.headers["preference-applied"] == "wait=0.05"
    assert time.monotonic() - began < 20


@pytest.mark.parametrize("quoted", ['"{}"', "{}"])
def test_a_task_that_is_sent_twice_is_one(gateway, worker, kafka, quoted):
    task_id = str(uuid.uuid4())
    headers = {"Idempotency-Key": quoted.format(task_id)}
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: httpx2.post(f"{gateway.url}/tasks", json=X, headers=headers), range(8)))
    assert {(one.status_code, one.json()["task_id"]) for one in answers} == {(202, task_id)}
    done(gateway, task_id)
    assert gateway.post("/tasks", {"task_id": task_id, "X": X}, headers=WAIT).status_code == 200
    assert times_in_kafka(kafka, task_id) == 1
    tools.assert_problem(gateway.post("/tasks", OTHER, headers=headers), 422, "another measurement")


def test_another_gateway_knows_the_task_and_its_measurement_too(gateway, worker, start, kafka):
    task_id = gateway.post("/tasks", X, headers=WAIT).json()["task_id"]
    second = start()  # it reads what there is before it is ready
    assert state_of(second, task_id)["result"]["species"] == "setosa"
    key = {"Idempotency-Key": task_id}
    assert second.post("/tasks", X, headers=key).status_code == 202
    tools.assert_problem(second.post("/tasks", OTHER, headers=key), 422, "another measurement")
    assert times_in_kafka(kafka, task_id) == 1


@pytest.mark.parametrize(
    ("body", "part"),
    [
        ({"task_id": "moo", "X": X}, "task_id: 'moo' is not a UUID4."),
        ({"task_id": str(uuid.uuid1()), "X": X}, "is not a UUID4."),
        ({"task_id": str(uuid.uuid4()), "X": {**X, "sepal_width": -1}}, "X.sepal_width: -1 is not a number above 0"),
        ({"task_id": str(uuid.uuid4())}, "X: missing"),
        ({"task_id": 5, "X": X}, "task_id: 5 is not a UUID4."),
        ({"sepal_length": 5.1}, "sepal_width: missing"),
        ([X], "Expected a JSON object"),
    ],
)
def test_what_is_wrong_is_named(gateway, body, part):
    tools.assert_problem(gateway.post("/tasks", body), 422, part)


def test_a_wrong_key_is_refused(gateway):
    tools.assert_problem(gateway.post("/tasks", X, headers={"Idempotency-Key": "5"}), 422, "Idempotency-Key: '5'")
    body = {"task_id": str(uuid.uuid4()), "X": X}
    answer = gateway.post("/tasks", body, headers={"Idempotency-Key": str(uuid.uuid4())})
    tools.assert_problem(answer, 409, "Idempotency-Key says")


def test_what_nobody_knows_is_404(gateway):
    for method, path in (("GET", ""), ("DELETE", ""), ("GET", "/events")):
        answer = gateway.client.request(method, f"/tasks/{uuid.uuid4()}{path}")
        tools.assert_problem(answer, 404)


def test_what_is_forgotten_is_410(start):
    small = start(IRIS_MAX_KNOWN="100")
    first = small.post("/tasks", X).json()["task_id"]
    assert small.post("/tasks/batch", [X] * 110).status_code == 202
    tools.assert_problem(small.get(f"/tasks/{first}"), 410, "older than what this gateway remembers")


def test_the_request_id_reaches_the_workers_log(gateway, worker):
    name = f"request-{uuid.uuid4()}"
    task_id = gateway.post("/tasks", X, headers={"X-Request-ID": name} | WAIT).json()["task_id"]
    until(lambda: f"request_id={name}" in worker.errors, WAIT_SECONDS, "the worker's line", [worker])
    assert re.search(rf"worker \S+ task {task_id} partition \d+ offset \d+ done request_id={name}", worker.errors)


# --- many tasks ---


def test_a_batch_is_accepted_in_order(gateway, worker):
    own = str(uuid.uuid4())
    answer = gateway.post("/tasks/batch", [X, {"task_id": own, "X": OTHER}, X])
    assert answer.status_code == 202
    first, second, third = answer.json()["task_ids"]
    assert second == own
    species = [done(gateway, one)["result"]["species"] for one in (first, second, third)]
    assert species == ["setosa", "virginica", "setosa"]


def test_ten_thousand_at_once(gateway, worker):
    answer = gateway.post("/tasks/batch", [X] * 10_000)
    ids = answer.json()["task_ids"]
    assert len(set(ids)) == 10_000
    done(gateway, ids[0])
    done(gateway, ids[-1])
    tools.assert_problem(gateway.post("/tasks/batch", [X] * 10_001), 422, "10001 tasks, expected 1 to 10000")


def test_a_batch_that_is_sent_twice_is_one(gateway, worker, kafka):
    key = {"Idempotency-Key": str(uuid.uuid4())}
    answers = [gateway.post("/tasks/batch", [X, OTHER], headers=key).json() for _ in range(2)]
    assert answers[0] == answers[1]
    for task_id in answers[0]["task_ids"]:
        done(gateway, task_id)
        assert times_in_kafka(kafka, task_id) == 1
    problem = tools.assert_problem(gateway.post("/tasks/batch", [X, X], headers=key), 422, "1: the key")
    assert problem["index"] == 1


CSV = "sepal_length,sepal_width,petal_length,petal_width\n5.1,3.5,1.4,0.2\n6.3,3.3,6.0,2.5\n"


def test_a_csv_file_is_a_batch(gateway, worker):
    sent = gateway.client.post("/tasks/batch", content=CSV, headers={"Content-Type": "text/csv"})
    uploaded = gateway.client.post("/tasks/batch", files={"file": ("flowers.csv", CSV, "text/csv")})
    for answer in (sent, uploaded):
        assert answer.status_code == 202, answer.text
        species = [done(gateway, one)["result"]["species"] for one in answer.json()["task_ids"]]
        assert species == ["setosa", "virginica"]


@pytest.mark.parametrize(
    ("body", "part", "index"),
    [
        ([X, {**X, "sepal_width": 0}], "1: sepal_width: 0 is not a number above 0", 1),
        ([X, X, "moo"], "2: Expected a JSON object", 2),
        ([{"task_id": "moo", "X": X}], "0: task_id: 'moo' is not a UUID4.", 0),
        ([{"task_id": str(uuid.UUID(int=4 << 76 | 8 << 60)), "X": X}] * 2, "is in the batch already", 1),
        ([], "The batch has 0 tasks", None),
        ({"moo": 1}, "Expected a JSON array", None),
    ],
)
def test_a_wrong_batch_names_the_index_and_sends_nothing(gateway, kafka, body, part, index):
    before = gateway.get("/").json()["tasks"]
    problem = tools.assert_problem(gateway.post("/tasks/batch", body), 422, part)
    assert problem.get("index") == index
    assert sum(gateway.get("/").json()["tasks"].values()) == sum(before.values())


def test_a_wrong_row_is_named(gateway):
    answer = gateway.client.post("/tasks/batch", content=CSV + "1,2,3\n", headers={"Content-Type": "text/csv"})
    tools.assert_problem(answer, 422, "row 4: petal_width: missing")


# --- lists and events ---


def test_tasks_are_listed_newest_first_page_by_page(gateway, worker):
    ids = [gateway.post("/tasks", X, headers=WAIT).json()["task_id"] for _ in range(5)]
    path, found = "/tasks?state=done&limit=2", []
    while len(found) < 5:
        page = gateway.get(path).json()
        assert len(page["tasks"]) == 2
        found += [task["task_id"] for task in page["tasks"]]
        path = page["next"]
    assert found[:5] == ids[::-1]
    assert gateway.get("/tasks?state=failed").json() == {"tasks": [], "next": None}
    tools.assert_problem(gateway.get("/tasks?after=moo"), 404, "after")
    for wrong in ("state=moo", "limit=0", "limit=1001"):
        tools.assert_problem(gateway.get(f"/tasks?{wrong}"), 422, wrong.partition("=")[0])


def read_events(url: str, enough: int, last: str = "") -> list[tuple[str, dict]]:
    """Return events as (id, data), as soon as there are enough."""
    found, event_id = [], ""
    headers = {"Last-Event-ID": last} if last else {}
    with httpx2.stream("GET", url, headers=headers, timeout=WAIT_SECONDS) as answer:
        assert answer.status_code == 200
        assert answer.headers["content-type"].startswith("text/event-stream")
        for line in answer.iter_lines():
            if line.startswith("id: "):
                event_id = line[4:]
            elif line.startswith("data: "):
                found.append((event_id, json.loads(line[6:])))
                if len(found) == enough:
                    break
    return found


def test_a_task_can_be_followed_to_its_end(gateway, worker):
    task_id = gateway.post("/tasks", X).json()["task_id"]
    events = read_events(f"{gateway.url}/tasks/{task_id}/events", 99)  # the stream ends by itself
    assert events[-1][1]["state"] == "done"
    assert events[-1][1]["result"]["species"] == "setosa"
    headers = {"Last-Event-ID": events[-1][0]}
    assert gateway.get(f"/tasks/{task_id}/events", headers=headers).status_code == 204


def test_results_go_on_where_they_were_cut_off(gateway, worker, start):
    read: list = []
    reader = threading.Thread(target=lambda: read.extend(read_events(f"{gateway.url}/results", 1)))
    reader.start()
    sent = []
    while reader.is_alive():
        sent.append(gateway.post("/tasks", X, headers=WAIT).json()["task_id"])
    reader.join()
    ((last, first),) = read
    after = sent[sent.index(first["task_id"]) + 1 :]
    after += [gateway.post("/tasks", X, headers=WAIT).json()["task_id"] for _ in range(3)]
    for one in (gateway, start()):  # one that has started since knows the places too
        events = read_events(f"{one.url}/results", len(after), last)
        assert {data["task_id"] for _, data in events} == set(after)
    tools.assert_problem(gateway.get("/results", headers={"Last-Event-ID": "moo"}), 422, "Last-Event-ID")


# --- documentation and health ---


def test_it_says_what_it_is_and_how_it_is(gateway):
    assert gateway.get("/").json()["service"] == "gateway"
    assert gateway.get("/health/live").json() == gateway.get("/health/ready").json() == {"status": "ok"}
    assert 'iris_kafka_state{state="up"} 1.0' in gateway.get("/metrics").text
    assert gateway.get("/docs").status_code == 200
    paths = gateway.get("/openapi.json").json()["paths"]
    assert "202" in paths["/tasks"]["post"]["responses"]


def test_a_gateway_without_kafka_refuses_at_once(start):
    lonely = start(ready=False, KAFKA_BOOTSTRAP_SERVERS="localhost:1")
    began = time.monotonic()
    tools.assert_problem(lonely.post("/tasks", X), 503, "Kafka does not answer")
    tools.assert_problem(lonely.post("/tasks/batch", [X]), 503, "Kafka does not answer")
    tools.assert_problem(lonely.get("/health/ready"), 503)
    assert lonely.get("/health/live").status_code == 200
    assert time.monotonic() - began < 5
