"""Stage 5's worker on a queue with a switch, which kills it at a named point. All other options are the worker's own.

The queue also writes down each task that is taken to be handled (partition and offset), so that executions can be
counted; and the model kills its worker when it predicts a poisoned measurement.

Run: python -m faults.fault_worker --kill-at before-commit --after 5 --delivery exactly-once
"""

import importlib
import os
import signal
import struct
from pathlib import Path
from typing import Any

from confluent_kafka import Producer

from common.iris_model import IrisModel
from common.kafka.topics import RESULTS
from common.terminal import run

from .clock import shift
from .kill_switch import WORKER_POINTS, KillSwitch, switch_parser

WORKER: Any = importlib.import_module("5_task_queue.iris_classifier_task_queue_worker")
at_least_once: Any = importlib.import_module("5_task_queue.worker.at_least_once")
exactly_once: Any = importlib.import_module("5_task_queue.worker.exactly_once")
slot: Any = importlib.import_module("5_task_queue.worker.slot")
suspects: Any = importlib.import_module("5_task_queue.worker.suspects")
task_queue: Any = importlib.import_module("5_task_queue.worker.task_queue")

POISON_CM = 66.6  # the sepal length that kills the worker which predicts it
EXECUTION = struct.Struct("<iq")  # partition and offset of a task that was taken to be handled


def queue_with(switch: KillSwitch, executions: Path) -> Any:
    """Return a subclass of the worker's queue that passes the switch wherever a batch has come one step further."""
    log = os.open(executions, os.O_WRONLY | os.O_APPEND | os.O_CREAT)

    class SwitchedProducer(Producer):
        def produce(self, topic: str, *arguments: Any, **named: Any) -> None:
            super().produce(topic, *arguments, **named)
            if topic == RESULTS:  # in the middle of a batch: the client library has some results, others not yet
                switch.passage("after-produced")

        def send_offsets_to_transaction(self, positions: Any, group_metadata: Any, timeout: float = -1) -> None:
            self.flush(5)
            switch.passage("after-delivered")
            super().send_offsets_to_transaction(positions, group_metadata, timeout)

        def commit_transaction(self, timeout: float = -1) -> None:
            switch.passage("before-commit")
            super().commit_transaction(timeout)

    class SwitchedAtLeastOnce(at_least_once.AtLeastOnce):
        def make_producer(self, config: Any) -> Producer:
            return SwitchedProducer(config)

        def _wait_until_delivered(self) -> None:
            super()._wait_until_delivered()
            switch.passage("after-delivered")

        def _commit(self, *arguments: Any) -> None:
            switch.passage("before-commit")
            super()._commit(*arguments)

    class SwitchedExactlyOnce(exactly_once.ExactlyOnce):
        def make_producer(self, config: Any) -> Producer:
            return SwitchedProducer(config)

    class SwitchedQueue(task_queue.TaskQueue):
        def make_delivery(self) -> Any:
            if self.options.delivery == "exactly-once":
                transactional_id = task_queue.transactional_id(task_queue.GROUP, self.name)
                print(f"Transactional id: {transactional_id}", flush=True)
                return SwitchedExactlyOnce(self.consumer, self.stop, self.connection, transactional_id)
            return SwitchedAtLeastOnce(self.consumer, self.stop, self.connection, self.options.max_batch)

        def take(self) -> Any:
            batch = super().take()
            if batch.messages:
                switch.passage("after-poll")
                if batch.attempts <= suspects.MAX_ATTEMPTS:  # else it is a dead letter, and not handled any more
                    os.write(log, b"".join(EXECUTION.pack(m.partition(), m.offset()) for m in batch.messages))
            return batch

    return SwitchedQueue


def main() -> int:
    """Run the worker with this queue."""
    parser = switch_parser(__doc__, WORKER_POINTS)
    parser.add_argument("--executions", type=Path, default=Path(os.devnull), help="file to write taken tasks to")
    parser.add_argument("--clock", type=float, default=0.0, metavar="S", help="how far its clock is ahead, seconds")
    parser.add_argument("--run-dir", type=Path, default=slot.RUN_DIR, help="folder for the locks of the worker slots")
    options, rest = parser.parse_known_args()
    switch = KillSwitch.of(options)
    shift(options.clock)
    predict_proba = IrisModel.predict_proba

    def switched_predict(self: IrisModel, X: Any) -> Any:
        if (X[:, 0] == POISON_CM).any():
            os.kill(os.getpid(), signal.SIGKILL)
        switch.passage("while-predicting")
        return predict_proba(self, X)

    IrisModel.predict_proba = switched_predict
    slot.RUN_DIR = options.run_dir  # slots of a Kafka of its own
    return WORKER.main(rest, queue_with(switch, options.executions))


if __name__ == "__main__":
    run(main)
