"""Stage 4, the worker: takes measurements from a queue. It has the phases load the model, validate and predict.

Unlike stage 3, the server:
- it is not called: it takes the next task from the topic `tasks` when it has time, and nobody gets a 503;
- it sends the answer to the topic `results`, for whoever subscribes;
- a task is committed after its result is delivered: what a stopped worker has not finished is still in the queue.

Run: python -m 4_message_queue.iris_classifier_mq_worker
"""

import sys

from confluent_kafka import Consumer, KafkaException, Message, Producer

from common.iris_dto import InvalidMeasurement, Result, is_task, validate_json
from common.iris_model import IrisModel, load_model, predict
from common.kafka.connection import Connection, connect, consumer_config, producer_config, run_with_kafka
from common.kafka.delivery import Reply, dead_letter, produce_reply, wait_until_delivered
from common.kafka.names import named
from common.kafka.stopping import Stop
from common.kafka.topics import RESULTS, TASKS, create_topics, partition_count
from common.terminal import ArgumentParser, say_ready

GROUP = named("iris-mq-workers")
POLL_SECONDS = 0.5


def handle(messages: list[Message], model: IrisModel) -> list[Reply]:
    """Return the replies to raw messages: a result each, or a dead letter for an invalid message."""
    replies = []
    for message in messages:
        try:
            measurement = validate_json(message.value())  # 3. validate
        except InvalidMeasurement as error:
            if not is_task(message.value()):  # a task of stage 5 on a shared broker: its own workers answer it
                replies.append(dead_letter(message, str(error)))
            continue
        iris_type = predict(model, measurement)  # 4. predict
        replies.append(Reply(RESULTS, Result(X=measurement, y=iris_type).to_json()))
    return replies


def main(argv: list[str] | None = None) -> int:
    """Take, handle, deliver, commit, until Ctrl-C or SIGTERM."""
    ArgumentParser(__doc__, "kafka_bootstrap_servers", "model_path", "simulated_cpu_seconds").parse_args(argv)

    model = load_model()  # 1. load the model
    stop, connection = Stop(), Connection()
    create_topics(connect())
    producer = Producer(producer_config(connection) | {"message.timeout.ms": 0})  # 0: keep trying for ever
    consumer = Consumer(consumer_config(GROUP, connection))
    consumer.subscribe([TASKS])
    if partition_count(consumer, TASKS) > 1:
        print("The topic tasks has several partitions: there seem to be workers of stage 5 as well.", flush=True)
    say_ready("Worker is ready")
    try:
        while not stop.requested:
            message = consumer.poll(POLL_SECONDS)  # 2. read input: take
            if message is None or message.error():
                connection.check(consumer, message)
                continue
            replies = handle([message], model)
            for reply in replies:
                produce_reply(producer, reply)
            if not wait_until_delivered(stop, producer):  # 5. show: the result is in the topic
                break  # not delivered, so not committed: the next worker does it again
            try:
                consumer.commit(message=message, asynchronous=False)  # only now: nothing can be lost any more
            except KafkaException as error:
                print(f"Not committed, so this task may be done twice: {error.args[0].str()}.", file=sys.stderr)
            for reply in replies:
                print(f"task {message.offset()}: {'done' if reply.topic == RESULTS else 'dead letter'}", flush=True)
    finally:
        consumer.close()
    return 0


if __name__ == "__main__":
    run_with_kafka(main)
