"""Cancelled tasks, and tasks that are seen while they are in work."""

import importlib
import uuid

import httpx2

from common.programs import until
from tests.helpers import WAIT_SECONDS, X

tools = importlib.import_module("tests.3_client_server.services.service_tools")
flow = importlib.import_module("tests.5_task_queue.services.test_gateway")


def test_a_task_with_an_outcome_cannot_be_cancelled(gateway, run_worker):
    worker = run_worker()
    task_id = gateway.post("/tasks", X, headers=flow.WAIT).json()["task_id"]
    problem = tools.assert_problem(gateway.client.delete(f"/tasks/{task_id}"), 409, "is done")
    assert problem["state"] == "done"
    worker.terminate()
    assert worker.wait() == 0


def test_what_is_cancelled_before_a_worker_begins_is_not_done(gateway, run_worker):
    first, second = gateway.post("/tasks/batch", [X, X]).json()["task_ids"]
    answer = gateway.client.delete(f"/tasks/{first}")
    assert (answer.status_code, answer.json()["cancel_requested"]) == (202, True)
    worker = run_worker(IRIS_SIMULATED_CPU_SECONDS="0")  # it starts after that: it reads the topic to its end first
    cancelled = flow.done(gateway, first, "cancelled")
    assert cancelled["error"] == {"code": "cancelled", "message": "Cancelled before a worker began with it."}
    assert flow.done(gateway, second)["result"]["species"] == "setosa"
    assert next(one["task_id"] for one in gateway.get("/tasks?state=cancelled").json()["tasks"]) == first
    tools.assert_problem(gateway.client.delete(f"/tasks/{first}"), 409, "is cancelled")
    assert f"task {first} " in worker.errors
    worker.terminate()
    assert worker.wait() == 0


def test_a_running_task_says_who_works_on_it_and_what_waits_behind_it_can_be_cancelled(gateway, run_worker):
    worker = run_worker(IRIS_SIMULATED_CPU_SECONDS="1.5", IRIS_WORKER_NAME=f"slow-{uuid.uuid4().hex[:6]}")
    tasks = gateway.post("/tasks/batch", [X] * 4).json()["task_ids"]

    def in_state(state: str) -> list[str]:
        return [one for one in tasks if flow.state_of(gateway, one)["state"] == state]

    until(lambda: in_state("running"), WAIT_SECONDS, "a task is running", [worker])
    running = flow.state_of(gateway, in_state("running")[0])
    if running["state"] == "running":
        assert running["worker"].startswith("slow-")
        assert running["attempts"] == 1
        assert running["started_at"]
    last = in_state("waiting")[-1]
    assert gateway.client.delete(f"/tasks/{last}").status_code == 202
    until(lambda: flow.state_of(gateway, last)["state"] in ("cancelled", "done"), WAIT_SECONDS, "it has an outcome")
    for one in tasks:
        assert one == last or flow.done(gateway, one)
    assert flow.state_of(gateway, last)["state"] == "cancelled"


def test_a_task_can_be_followed_while_it_runs(gateway, run_worker):
    task_id = gateway.post("/tasks", X).json()["task_id"]
    events = flow.read_events(f"{gateway.url}/tasks/{task_id}/events", 99)
    states = [data["state"] for _, data in events]
    assert states[-1] == "done"
    assert "running" in states
    again = flow.read_events(f"{gateway.url}/tasks/{task_id}/events", 99, events[0][0])
    assert [event_id for event_id, _ in again] == [events[-1][0]]


def test_a_queue_that_is_too_slow_says_so_and_refuses_where_it_should(start):
    kind, strict = (
        start(IRIS_SLOW_QUEUE_SECONDS="0.2"),
        start(IRIS_SLOW_QUEUE_SECONDS="0.2", IRIS_REFUSE_SLOW_QUEUE="1"),
    )
    for _ in range(3):
        kind.post("/tasks/batch", [X] * 5)  # more than the slow worker does in time
    until(lambda: kind.get("/").json()["slow"], WAIT_SECONDS, "the queue is slow")
    answer = kind.post("/tasks", X)
    assert answer.status_code == 202
    assert answer.json()["oldest_waiting_seconds"] >= 0.2
    until(lambda: strict.get("/").json()["slow"], WAIT_SECONDS, "the other one sees it too")
    for path, body in (("/tasks", X), ("/tasks/batch", [X])):
        refused = strict.post(path, body)
        problem = tools.assert_problem(refused, 503, "the limit is 0.2 s")
        assert problem["limit"] == 0.2
        assert problem["oldest_waiting_seconds"] >= 0.2
        assert int(refused.headers["retry-after"]) >= 1


def test_limits_refuse_with_the_limit_and_the_count(start):
    small = start(IRIS_MAX_STREAMS="1")
    with httpx2.stream("GET", f"{small.url}/results", timeout=WAIT_SECONDS):
        refused = small.get("/results")
        problem = tools.assert_problem(refused, 503, "the limit is 1")
        assert (problem["limit"], problem["in_flight"]) == (1, 1)
        assert refused.headers["retry-after"] == "1"
