"""A Kafka without the new group protocol (KIP-848): every member of a group joins by the classic one, and says so."""

import re
import sys
import uuid
from collections.abc import Iterator

import pytest
from confluent_kafka import KafkaError, Message

from common.embedded_kafka import EmbeddedKafka
from common.iris_dto import Measurement, Task
from common.kafka.group_protocol import NoSuchProtocolError, raise_if_too_new
from common.kafka.topics import RESULTS, TASKS
from tests.helpers import LINE, X, messages, produce

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="needs the embedded Kafka")

SAID = "This Kafka does not know the new group protocol (KIP-848). Joining by the classic one ...\n"
SETUP, WORKER = "5_task_queue.kafka_setup", "5_task_queue.iris_classifier_task_queue_worker"
CLIENT, PERSISTER = "5_task_queue.iris_classifier_cli_client_task_queue", "4_message_queue.iris_classifier_mq_persister"


@pytest.fixture(scope="module")
def old_kafka() -> Iterator[EmbeddedKafka]:
    with EmbeddedKafka(format_options=["--feature", "group.version=0"]) as kafka:
        yield kafka


@pytest.mark.parametrize("delivery", ["at-least-once", "exactly-once"])
def test_workers_join_by_the_classic_protocol_and_share_the_work(
    delivery: str, program, env: dict[str, str], old_kafka: EmbeddedKafka
):
    env = env | {"KAFKA_BOOTSTRAP_SERVERS": old_kafka.bootstrap_servers}
    program(SETUP, "--partitions", "2", env=env).finish()
    persister = program(PERSISTER, env=env)
    workers = [program(WORKER, "--delivery", delivery, env=env) for _ in range(2)]
    for one in workers:
        one.wait_for("holds partitions")
    client = program(CLIENT, env=env, stdin=f"{LINE}\n" * 3)
    assert [line.split()[0] for line in client.finish()] == ["setosa"] * 3
    persister.wait_for_line(re.compile("[36] in all"))  # those of the other guarantee may be there already
    for one in [*workers, persister]:
        one.terminate()
        assert one.wait() == 0
        assert one.errors == SAID


@pytest.mark.slow
@pytest.mark.parametrize("delivery", ["at-least-once", "exactly-once"])
def test_a_killed_worker_of_the_classic_protocol_loses_nothing(
    delivery: str, program, env: dict[str, str], old_kafka: EmbeddedKafka
):
    servers, count = old_kafka.bootstrap_servers, 3000
    env = env | {"KAFKA_BOOTSTRAP_SERVERS": servers, "IRIS_SIMULATED_CPU_SECONDS": "0.001"}
    program(SETUP, "--partitions", "4", env=env).finish()
    workers = [program(WORKER, "--delivery", delivery, "--max-batch", "20", env=env) for _ in range(2)]
    for one in workers:
        one.wait_for("holds partitions")
    ids = [str(uuid.uuid4()) for _ in range(count)]
    produce(servers, TASKS, [Task(task_id=one, X=Measurement(**X)).model_dump_json() for one in ids], ids)
    workers[0].wait_for_line("in all")  # it is in the middle of its work
    workers[0].kill()

    def answered(found: list[Message]) -> bool:
        return {(message.key() or b"").decode() for message in found} >= set(ids)

    found = [(message.key() or b"").decode() for message in messages(servers, RESULTS, answered, 120.0)]
    if delivery == "exactly-once":
        assert len([one for one in found if one in set(ids)]) == count


def test_only_that_error_asks_for_the_classic_protocol():
    prefix = "Fatal error: Broker: API version not supported: "
    with pytest.raises(NoSuchProtocolError):
        raise_if_too_new(KafkaError(KafkaError._FATAL, prefix + "ConsumerGroupHeartbeat fatal error"))
    raise_if_too_new(KafkaError(KafkaError._FATAL, "ConsumerGroupHeartbeat fatal error: Broker: Group id not found"))
    raise_if_too_new(KafkaError(KafkaError._FATAL, "Fatal error: Broker: API version not supported: Produce"))
