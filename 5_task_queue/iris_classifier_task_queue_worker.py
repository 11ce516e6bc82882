"""Stage 5, the worker: as many as you like, side by side. It has the phases load the model, validate and predict.

Unlike stage 4, the worker:
- `tasks` has several partitions, and the workers of the consumer group share them: more workers, more work done;
- a result carries its task's id, so that each client finds its own;
- what is waiting is taken as one batch: the model, the delivery and the commit cost once per batch, not once per task;
- taking, delivering and committing keep more promises, each in a file of its own: see `worker/README.md`.

Run: python -m 5_task_queue.iris_classifier_task_queue_worker
"""

from confluent_kafka import Message

from common.iris_model import IrisModel, load_model
from common.kafka.connection import run_with_kafka

from .worker.codec import decode, encode_batch, to_array
from .worker.options import parse_options
from .worker.protection import Protection
from .worker.replies import Replies
from .worker.task_queue import TaskQueue


def handle(messages: list[Message], model: IrisModel) -> Replies:
    """Return the replies to raw messages: a result each, or an error and a dead letter for an invalid message."""
    tasks, replies = decode(messages)  # 3. validate
    if tasks:
        X = to_array(tasks)
        probabilities = model.predict_proba(X)  # 4. predict: the whole batch in one call
        values = encode_batch(tasks, X, probabilities, model)
        replies.results += zip([task.task_id for task in tasks], values, strict=True)
    return replies


def main(argv: list[str] | None = None, queue: type[TaskQueue] = TaskQueue) -> int:
    """Take, handle, deliver, commit, until Ctrl-C or SIGTERM."""
    options = parse_options(__doc__, argv)

    model = load_model()  # 1. load the model
    with queue(options) as tasks:
        protection = Protection(handle, model, tasks)
        while not tasks.stop.requested:
            with tasks.take() as batch:  # 2. read input: take; what fails in here is taken again
                replies = protection.replies_to(batch)  # handle, so that no task can harm more than itself
                batch.deliver(replies)  # 5. show: the results are on their way
                batch.commit()  # takes effect once they have arrived
    return 0


if __name__ == "__main__":
    run_with_kafka(main)
