"""A prefix of choice for the names of topics and groups, on a Kafka that others use as well."""

import re

from common.kafka.progress import look
from tests.helpers import LINE, WAIT_SECONDS, admin_of

SETUP, WORKER = "5_task_queue.kafka_setup", "5_task_queue.iris_classifier_task_queue_worker"
CLIENT, STATUS = "5_task_queue.iris_classifier_cli_client_task_queue", "5_task_queue.queue_status"
PERSISTER = "4_message_queue.iris_classifier_mq_persister"
PREFIX = "team-a."
NAMES = [PREFIX + name for name in ("tasks", "results", "tasks.dead-letter", "tasks.cancelled", "tasks.events")]


def test_all_programs_use_the_topics_and_groups_of_their_prefix(program, topics, kafka_env: dict[str, str]):
    servers = topics()
    admin = admin_of(servers)
    env = kafka_env | {"IRIS_KAFKA_PREFIX": PREFIX}
    try:
        said = program(SETUP, "--partitions", "2", env=env).finish()
        assert [line.split(":")[0] for line in said] == NAMES
        persister = program(PERSISTER, env=env)
        worker = program(WORKER, "--delivery", "exactly-once", env=env)
        worker.wait_for("holds partitions 0, 1")
        assert program(CLIENT, env=env, stdin=LINE).finish()[-1].startswith("setosa")
        persister.wait_for_line(re.compile("1 in all"))
        assert program(STATUS, "--check", env=env).finish()[-1] == "healthy: none waits"
        groups = {group.group_id for group in admin.list_consumer_groups().result(WAIT_SECONDS).valid}
        assert f"{PREFIX}iris-task-queue-workers" in groups
        assert any(group.startswith(f"{PREFIX}iris-persisters-") for group in groups)
        assert [p.end for p in look(admin, "iris-task-queue-workers", "tasks")] == [0]  # nothing came to the others
    finally:
        for future in admin.delete_topics(NAMES).values():
            future.result(WAIT_SECONDS)
