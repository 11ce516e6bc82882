"""Stage 5 in containers, run by a real engine: who they are, when they are healthy, and that nothing is lost."""

import re
from collections import Counter

import httpx2
import pytest

from common.iris_model import IrisModel
from common.programs import until
from tests.helpers import LINE, ROW, X, admin_of

from .compose import Compose, call, engine
from .trial import Trial

pytestmark = pytest.mark.slow
GROUP = "iris-task-queue-workers"
CLIENT = "python -m 5_task_queue.iris_classifier_cli_client_task_queue --timeout 60"
ALIVE = ("kafka", "worker", "persister", "postgres", "persister-postgres", "model", "gateway")
LONGER = 12.0  # seconds: than a session of Kafka's group (6), than a transaction (6)


def names_in_group(project: Compose) -> list[str]:
    described = admin_of(project.servers).describe_consumer_groups([GROUP], request_timeout=30)[GROUP].result(30)
    return sorted(member.client_id for member in described.members)


def hostnames(project: Compose) -> list[str]:
    return [project.execute(one, "hostname").stdout.strip() for one in project.containers("worker")]


def test_the_image_has_no_rights_no_leftovers_and_needs_no_disk(image: str):
    name, _ = engine()
    script = "id -u; ls -A /app/.run /data | grep -v :; ls /app; touch /app/new; python -m common.iris_model"
    done = call(name, "run", "--rm", "--read-only", "--cap-drop=ALL", image, "sh", "-c", script)
    lines = done.stdout.splitlines()
    assert lines[0] == "10001"
    assert "Read-only file system" in done.stderr
    files = {line for line in lines[1:] if re.fullmatch(r"[\w.]+", line)}
    rooms = {"common", "3_client_server", "4_message_queue", "5_task_queue"}
    assert files == rooms | {"models", "pyproject.toml", "constraints.txt", "README.md"}
    assert '"accuracy"' in done.stdout and "Training" not in done.stderr


def test_all_are_healthy_and_answer(project: Compose):
    for service in ALIVE:
        project.wait_until_healthy(project.containers(service))
    (topics,) = project.containers("topics")
    until(lambda: project.state(topics)["Status"] == "exited", 60, "the topics are made")
    assert project.state(topics)["ExitCode"] == 0
    worker = project.containers("worker")[0]
    assert project.execute(worker, f"echo {LINE} | {CLIENT}").stdout.startswith("setosa (")
    answer = httpx2.post(f"{project.gateway}/process", json={"data": X}, timeout=60)
    assert answer.json()["predictions"][0]["species"] == "setosa", ROW


def test_each_worker_has_a_name_of_its_own_and_keeps_it_when_it_is_killed_and_started_again(project: Compose):
    names = sorted(f"worker-{host}" for host in hostnames(project))
    assert len(set(names)) == 3
    until(lambda: names_in_group(project) == names, 60, "all are in the group")
    worker = project.containers("worker")[0]
    first = project.state(worker)["StartedAt"]
    project.execute(worker, "kill -9 -1", check=False)
    until(lambda: project.state(worker)["StartedAt"] != first, 60, "it is started again by itself")
    project.wait_until_healthy([worker])
    until(lambda: names_in_group(project) == names, 60, "it is in the group again, under its name")


def test_a_worker_without_kafka_is_unhealthy_and_healthy_again_afterwards(project: Compose):
    worker = project.containers("worker")[1]
    project.cut_off(worker)
    until(lambda: not project.is_healthy(worker), 240, "unhealthy")
    assert project.state(worker)["Status"] == "running"
    project.reconnect(worker)
    project.wait_until_healthy([worker])


def test_nothing_is_lost_while_containers_are_killed_paused_and_cut_off(project: Compose, model: IrisModel):
    one, two, three = project.containers("worker")
    (kafka,), (persister,), (postgres,) = map(project.containers, ("kafka", "persister", "postgres"))
    trial = Trial(project, model)
    project.execute(one, "kill -9 -1", check=False)
    trial.caught_up("a worker's process killed")
    project.restart_after_kill(two)
    trial.caught_up("a worker's container killed and started")
    project.hold(three, LONGER)
    trial.caught_up("a worker paused")
    project.cut_off(one, LONGER)
    trial.caught_up("a worker cut off from the network")
    project.restart_after_kill(persister)
    trial.caught_up("the persister killed and started")
    project.hold(persister, LONGER)
    trial.caught_up("the persister paused")
    project.cut_off(persister, LONGER)
    trial.caught_up("the persister cut off from the network")
    project.restart_after_kill(postgres)
    trial.caught_up("PostgreSQL killed and started")
    project.hold(kafka, LONGER)
    trial.caught_up("Kafka paused")
    project.cut_off(kafka, LONGER)
    trial.caught_up("Kafka cut off from the network")
    project.restart_after_kill(kafka)
    trial.caught_up("Kafka killed and started")
    trial.load.stop()
    trial.caught_up("the end of the load")

    right = Counter(trial.load.taken.items())
    assert not trial.load.refused
    others = {key for key in trial.stored() if key not in right}  # the client's, of the tests before
    assert len(others) <= 1
    assert trial.stored() - Counter(others) == right
    assert trial.stored_in_postgres() - Counter(others) == right
    doubled = trial.doubled()
    print(f"{len(right)} tasks, {doubled} results doubled")
    if project.variables["IRIS_DELIVERY"] == "exactly-once":
        assert doubled == 0
    for service in ALIVE:
        project.wait_until_healthy(project.containers(service))
