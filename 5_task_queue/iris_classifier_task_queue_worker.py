"""Stage 5, the worker: as many as you like, side by side. It has the phases load the model, validate and predict.

Unlike stage 4, the worker:
- `tasks` has several partitions, and the workers of the consumer group share them: more workers, more work done;
- a result carries its task's id, so that each client finds its own;
- what is waiting is taken as one batch: the model, the delivery and the commit cost once per batch, not once per task.

Run: python -m 5_task_queue.iris_classifier_task_queue_worker
"""

import gc

from confluent_kafka import Consumer, Message, TopicPartition

from common.iris_model import IrisModel, load_model
from common.kafka.connection import Connection, connect, consumer_config, run_with_kafka
from common.kafka.stopping import Stop
from common.kafka.topics import TASKS, create_topics
from common.terminal import ArgumentParser

from .worker.codec import decode, encode_batch, to_array
from .worker.delivery import AtLeastOnce, ExactlyOnce, TakeAgainError
from .worker.intake import Intake
from .worker.protection import HandBack, Protection
from .worker.replies import Replies
from .worker.slot import take_slot
from .worker.tally import Tally

GROUP = "iris-task-queue-workers"
POLL_SECONDS = 0.5


def handle(messages: list[Message], model: IrisModel) -> Replies:
    """Return the replies to raw messages: a result each, or an error and a dead letter for what is no task."""
    tasks, replies = decode(messages)  # 3. validate
    if tasks:
        X = to_array(tasks)
        probabilities = model.predict_proba(X)  # 4. predict: the whole batch in one call
        values = encode_batch(tasks, X, probabilities, model)
        replies.results += zip([task.task_id for task in tasks], values, strict=True)
    return replies


def main(argv: list[str] | None = None) -> int:
    """Take, handle, deliver, commit, until Ctrl-C or SIGTERM."""
    parser = ArgumentParser(__doc__, "kafka_bootstrap_servers", "model_path", "simulated_cpu_seconds")
    parser.add_argument("--delivery", choices=["at-least-once", "exactly-once"], default="at-least-once")
    parser.add_argument("--max-batch", type=int, default=10_000, metavar="N", help="most tasks to take at once")
    parser.add_argument("--task-seconds", type=float, default=60.0, metavar="S", help="longest time for one task")
    parser.add_argument("--slot", type=int, metavar="N", help="this worker's number (default: the first free one)")
    args = parser.parse_args(argv)

    model = load_model()  # 1. load the model
    stop, connection = Stop(), Connection()
    admin = connect()
    create_topics(admin)
    slot, _lock = take_slot(args.slot)
    consumer = Consumer(consumer_config(GROUP, connection) | {"client.id": f"worker-{slot}"})
    intake, tally = Intake(consumer, admin, args.max_batch, stop), Tally(slot)
    if args.delivery == "exactly-once":
        delivery = ExactlyOnce(consumer, stop, connection, f"{GROUP}-{slot}")
    else:
        delivery = AtLeastOnce(consumer, stop, connection, args.max_batch)
    protection = Protection(handle, model, intake, stop, args.task_seconds)
    gc.freeze()  # what has been imported stays: the garbage collector need not look through it after every batch

    def assigned(consumer: Consumer, partitions: list[TopicPartition]) -> None:
        intake.assigned(partitions)
        tally.partitions(intake.partitions)

    def revoked(consumer: Consumer, partitions: list[TopicPartition]) -> None:
        try:
            intake.done(delivery.finish())
            intake.revoked(partitions, in_order=True)
        except TakeAgainError:
            intake.revoked(partitions, in_order=False)
            intake.rewind()  # of the partitions that stay, what was in hand is not committed either
        tally.partitions(intake.partitions)

    def lost(consumer: Consumer, partitions: list[TopicPartition]) -> None:
        intake.revoked(partitions, in_order=False)
        tally.partitions(intake.partitions)

    consumer.subscribe([TASKS], on_assign=assigned, on_revoke=revoked, on_lost=lost)
    print(f"Worker {slot} is ready ({args.delivery}). Ctrl-C ends it.", flush=True)
    try:
        while not stop.requested:
            messages = intake.take(delivery.patience if delivery.pending else POLL_SECONDS)  # 2. read input: take
            after_a_crash = bool(intake.suspicions)
            try:
                replies = protection.handle(messages)  # handle
                if not (messages and delivery.patience):
                    intake.done(delivery.finish())  # what came before: wait for its delivery, only then commit it
                if messages:
                    delivery.deliver(replies)  # deliver
                    delivery.then_commit(intake.offsets(messages), len(messages))  # at a later finish()
                    tally.count(messages)
                else:
                    tally.show_in_time()
                    connection.check(consumer)
                if after_a_crash:  # nothing new before this is done and committed
                    intake.done(delivery.finish(sure=True))
            except TakeAgainError:
                intake.rewind()
        intake.done(delivery.finish(sure=True))
    except (HandBack, TakeAgainError):
        pass  # not committed: another worker does it again
    finally:
        consumer.close()
        tally.show()
    return 0


if __name__ == "__main__":
    run_with_kafka(main)
