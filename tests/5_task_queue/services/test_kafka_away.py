"""What the gateway does while Kafka is away, and what is lost when gateways are killed: nothing that was accepted."""

import importlib
import os
import signal
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
FATE = "Fate unknown"


@pytest.fixture
def own_kafka():
    """A Kafka that a test may stop."""
    with EmbeddedKafka() as kafka:
        yield kafka


def test_in_flight_at_the_cut_is_an_unknown_fate_then_503_at_once_then_all_is_well_again(own_kafka, start):
    gateway = start(KAFKA_BOOTSTRAP_SERVERS=own_kafka.bootstrap_servers)
    assert gateway.post("/tasks", X).status_code == 202
    key, pid = str(uuid.uuid4()), own_kafka.pid(own_kafka.ids[0])
    os.kill(pid, signal.SIGSTOP)  # it answers nothing, and no connection is closed
    try:
        began = time.monotonic()
        with ThreadPoolExecutor(2) as pool:
            batch = pool.submit(httpx2.post, f"{gateway.url}/tasks/batch", json=[X, X], timeout=WAIT_SECONDS)
            answer = gateway.post("/tasks", X, headers={"Idempotency-Key": key})
            many = batch.result()
        assert time.monotonic() - began < 15  # 5 s, where nothing else uses the machine
        problem = tools.assert_problem(answer, 503, "fate is unknown")
        assert (problem["title"], problem["task_id"]) == (FATE, key)
        problem = tools.assert_problem(many, 503)
        assert problem["title"] != FATE or len(problem["task_ids"]) == 2
        began = time.monotonic()
        tools.assert_problem(gateway.post("/tasks", X), 503, "Kafka does not answer")
        assert time.monotonic() - began < 2
        tools.assert_problem(gateway.get("/health/ready"), 503)
    finally:
        os.kill(pid, signal.SIGCONT)
    until(lambda: gateway.get("/health/ready").status_code == 200, WAIT_SECONDS, "it has recovered", [gateway.program])
    assert gateway.post("/tasks", X, headers={"Idempotency-Key": key}).status_code == 202
    assert gateway.get(f"/tasks/{key}").json()["state"] == "waiting"


class Load:
    """Sends tasks to whichever gateway answers, and notes which were accepted."""

    def __init__(self, urls: list[str]) -> None:
        self.urls, self.accepted, self.stopped = urls, list[str](), threading.Event()
        self._threads = [threading.Thread(target=self._send, args=(number,)) for number in range(4)]
        for one in self._threads:
            one.start()

    def _send(self, number: int) -> None:
        task_id = str(uuid.uuid4())
        while not self.stopped.is_set():
            url = self.urls[number % len(self.urls)]
            number += 1
            try:
                answer = httpx2.post(f"{url}/tasks", json=X, headers={"Idempotency-Key": task_id}, timeout=WAIT_SECONDS)
            except httpx2.TransportError:  # killed, or not there yet: the same task, to the other one
                time.sleep(0.02)
                continue
            if answer.status_code == 202:
                self.accepted.append(task_id)
                task_id = str(uuid.uuid4())

    def stop(self) -> None:
        self.stopped.set()
        for one in self._threads:
            one.join()


def test_gateways_that_are_killed_one_after_the_other_lose_nothing_that_was_accepted(start, kafka, worker):
    pair = [start(), start()]
    load = Load([one.url for one in pair])
    try:
        for turn in range(2):
            before = len(load.accepted)
            until(lambda: len(load.accepted) > before + 30, WAIT_SECONDS, "a load")  # noqa: B023
            pair[turn].program.kill()
            pair[turn] = start(port=pair[turn].port)
        before = len(load.accepted)
        until(lambda: len(load.accepted) > before + 30, WAIT_SECONDS, "a load")
    finally:
        load.stop()
    accepted = set(load.accepted)

    def outcomes(one) -> set[str]:
        path, found = "/tasks?state=done&limit=1000", set[str]()
        while path:
            page = one.get(path).json()
            found |= {task["task_id"] for task in page["tasks"]}
            path = page["next"]
        return found

    for one in pair:  # both know all of them, whoever accepted them
        until(lambda: not accepted - outcomes(one), WAIT_SECONDS, "every accepted task is answered")  # noqa: B023
    found = messages(
        kafka.bootstrap_servers, TASKS, lambda found: accepted <= {(m.key() or b"").decode() for m in found}
    )
    assert accepted <= {(m.key() or b"").decode() for m in found}
