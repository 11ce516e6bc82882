"""Beyond partitions: stage 5's worker in a share group. As many workers as you like share one partition. A preview.

Unlike the worker of the consumer group:
- Kafka hands out tasks, not partitions: each worker gets some, answers for each one (accepted, released, rejected),
  and there can be more workers than partitions. Nobody holds a partition, and there is no order;
- a task that is not answered for within 30 s, or whose worker is gone, is handed out again: at least once, never
  exactly once. Kafka cannot put results and these answers into one transaction;
- Kafka hands out a task 5 times, then drops it without a word. So a worker that gets one for the fifth time writes the
  dead letter itself and does not try. Kafka's own dead letters for share groups come with 4.4.

The client library calls its share consumer a preview, not for production.

Run: python -m 5_task_queue.beyond.share_group_worker
"""

import sys
from contextlib import suppress
from threading import Thread

from confluent_kafka import AcknowledgeType, KafkaException, Message, Producer, ShareConsumer
from confluent_kafka.admin import (
    AdminClient,
    AlterConfigOpType,  # pyright: ignore[reportPrivateImportUsage]
    ConfigEntry,  # pyright: ignore[reportPrivateImportUsage]
    ConfigResource,  # pyright: ignore[reportPrivateImportUsage]
    ResourceType,  # pyright: ignore[reportPrivateImportUsage]
)

from common.errors import ProgramError
from common.iris_model import IrisModel, load_model
from common.kafka.connection import Connection, base_config, connect, producer_config, run_with_kafka
from common.kafka.delivery import raise_undelivered, wait_until_delivered
from common.kafka.names import named
from common.kafka.refusals import raise_if_forbidden
from common.kafka.stopping import Stop
from common.kafka.topics import ADMIN_SECONDS, TASKS, create_topics
from common.terminal import ArgumentParser, say_ready

from ..iris_classifier_task_queue_worker import handle
from ..worker.codec import task_id_of
from ..worker.delivery import TakeAgainError, produce
from ..worker.replies import Replies
from ..worker.time_limit import TimeLimit, TooSlowError

GROUP = named("iris-share-workers")
POLL_SECONDS = 0.5
COMMIT_SECONDS = 10.0
LEAVE_SECONDS = 1.5
WORK_SECONDS = 20.0  # less than Kafka's lock, 30 s by default, after which it hands a task to another worker
MAX_DELIVERIES = 5  # Kafka's default: it drops a task that was handed out so often


def start_at_earliest(admin: AdminClient, group: str) -> None:
    """Let the group begin with the oldest task. The default, latest, loses what was sent before its first worker came.

    Raises:
        ProgramError: Kafka refuses.
    """
    entry = ConfigEntry("share.auto.offset.reset", "earliest", incremental_operation=AlterConfigOpType.SET)
    resource = ConfigResource(ResourceType.GROUP, group, incremental_configs=[entry])
    try:
        admin.incremental_alter_configs([resource])[resource].result(timeout=ADMIN_SECONDS)
    except KafkaException as error:
        raise_if_forbidden(error.args[0], f"to set what the share group {group} starts with")
        raise ProgramError(f"Kafka has no share groups, or not for us: {error.args[0].str()}.") from None


def share_consumer(group: str, max_tasks: int, connection: Connection | None = None) -> ShareConsumer:
    """Return a member of a share group that answers for each task by itself."""
    return ShareConsumer(
        base_config(connection)
        | {
            "group.id": group,
            "share.acknowledgement.mode": "explicit",
            "max.poll.records": max_tasks,
            "connections.max.idle.ms": 0,  # never: with its connection a worker loses the tasks that it has in hand
        }
    )


def answer(message: Message, model: IrisModel) -> tuple[Replies, AcknowledgeType]:
    """Return the replies to one task, and what to tell Kafka about it once they are delivered."""
    if (message.delivery_count() or 1) >= MAX_DELIVERIES:
        replies, tries = Replies(), MAX_DELIVERIES - 1
        text = f"It was handed out {tries} times, and no worker has finished it."
        replies.refuse(message, task_id_of(message), "never-finished", text, tries)
    else:
        replies = handle([message], model)
    return replies, AcknowledgeType.REJECT if replies.dead_letters else AcknowledgeType.ACCEPT


def work(messages: list[Message], model: IrisModel, producer: Producer, stop: Stop) -> list[AcknowledgeType]:
    """Do tasks one after the other, wait until the replies are delivered, and return what to tell Kafka about each one.

    What is not done when WORK_SECONDS are over, or the program is to end, is released for others.
    """
    answers = []
    with suppress(TooSlowError, TakeAgainError), TimeLimit(WORK_SECONDS, stop):
        for message in messages:
            if stop.requested:
                break
            replies, kind = answer(message, model)
            produce(producer, replies)
            answers.append(kind)
    if not wait_until_delivered(stop, producer):  # asked to end while Kafka is away
        answers = []
    return answers + [AcknowledgeType.RELEASE] * (len(messages) - len(answers))


def take(consumer: ShareConsumer) -> list[Message]:
    """Return the tasks that Kafka hands out now, or wait for some."""
    messages = []
    for message in consumer.poll(POLL_SECONDS):
        error = message.error()
        if error is None:
            messages.append(message)
        elif error.fatal():
            raise ProgramError(f"The share consumer cannot go on: {error.str()}.")
    return messages


def tell(consumer: ShareConsumer) -> None:
    """Tell Kafka. If it does not hear the answers, it will hand out these tasks again."""
    try:
        failed = [error for error in consumer.commit_sync(COMMIT_SECONDS).values() if error]
    except KafkaException as error:
        failed = [error]
    for error in failed:
        print(f"Not acknowledged, so these tasks may be done twice: {error.args[0].str()}.", file=sys.stderr)


def leave(consumer: ShareConsumer) -> None:
    """Leave the group. While Kafka is away, that would take a minute: do not wait, the session ends by itself."""
    closing = Thread(target=consumer.close, daemon=True)
    closing.start()
    closing.join(LEAVE_SECONDS)


def main(argv: list[str] | None = None) -> int:
    """Take, handle, deliver, acknowledge, until Ctrl-C or SIGTERM."""
    parser = ArgumentParser(__doc__, "kafka_bootstrap_servers", "model_path", "simulated_cpu_seconds")
    parser.add_argument("--topic", default=TASKS, metavar="T", help="where the tasks are (default: tasks)")
    parser.add_argument("--group", default=GROUP, metavar="G", help=f"the share group (default: {GROUP})")
    parser.add_argument(
        "--max-tasks", type=int, default=1, metavar="N", help="tasks to take at once, if Kafka keeps to it"
    )
    args = parser.parse_args(argv)
    if not 1 <= args.max_tasks <= 1000:
        parser.error(f"--max-tasks: {args.max_tasks} is not a number from 1 to 1000")

    model = load_model()  # 1. load the model
    stop, connection = Stop(), Connection()
    admin = connect()
    create_topics(admin)
    start_at_earliest(admin, args.group)
    never_give_up = {"message.timeout.ms": 0, "on_delivery": raise_undelivered}
    producer = Producer(producer_config(connection) | never_give_up)
    consumer = share_consumer(args.group, args.max_tasks, connection)
    consumer.subscribe([args.topic])
    say_ready("Worker is ready (share group)")
    done = most = printed = 0
    try:
        while not stop.requested:
            messages = take(consumer)  # 2. read input: take
            answers = work(messages, model, producer, stop)  # handle, deliver
            for message, kind in zip(messages, answers, strict=True):
                consumer.acknowledge(message, kind)  # only now: nothing can be lost any more
            tell(consumer)
            done += sum(kind != AcknowledgeType.RELEASE for kind in answers)
            most = max(most, len(messages))
            if not messages:
                connection.check(producer)
                if done > printed:
                    print(f"did {done} tasks, at most {most} at once", flush=True)
                    printed = done
    finally:
        leave(consumer)
        print(f"did {done} tasks, at most {most} at once", flush=True)
    return 0


if __name__ == "__main__":
    run_with_kafka(main)
