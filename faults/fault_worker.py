"""Stage 5's worker, unchanged, with a switch that kills it at a named point. What it does not know goes to the worker.

It also writes down each task that is handed to the handler (partition and offset), so that executions can be counted,
and dies of a poisoned measurement, as a worker would whose model crashes.

Run: python -m faults.fault_worker --kill-at before-commit --after 5 --delivery exactly-once
"""

import argparse
import importlib
import os
import signal
import struct
import sys
from functools import partial
from pathlib import Path
from typing import Any

from confluent_kafka import Consumer, Message, Producer

from common.iris_model import IrisModel
from common.terminal import run
from faults.kill_switch import KillSwitch, prepare

POINTS = ("after-poll", "while-predicting", "after-produced", "after-delivered", "before-commit")
POISON_CM = 66.6  # the sepal length that kills the worker which predicts it
EXECUTION = struct.Struct("<iq")  # partition and offset of a task that was handed to the handler


def patch(switch: KillSwitch, executions: Path, slots: Path) -> Any:
    """Import the worker and put the switch where its work passes; return its main()."""
    worker: Any = importlib.import_module("5_task_queue.iris_classifier_task_queue_worker")
    at_least_once: Any = importlib.import_module("5_task_queue.worker.at_least_once")
    exactly_once: Any = importlib.import_module("5_task_queue.worker.exactly_once")
    task_queue: Any = importlib.import_module("5_task_queue.worker.task_queue")
    slot: Any = importlib.import_module("5_task_queue.worker.slot")
    log = os.open(executions, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    handle, produce, deliver = worker.handle, at_least_once.produce, at_least_once.wait_until_delivered
    predict_proba = IrisModel.predict_proba

    class Queue(task_queue.TaskQueue):
        def take(self) -> Any:
            batch = super().take()
            if batch.messages:
                switch.passage("after-poll")
            return batch

        def make_consumer(self, config: Any) -> Consumer:
            return NotedConsumer(config)

    def noted_handle(messages: list[Message], model: IrisModel) -> Any:
        os.write(log, b"".join(EXECUTION.pack(m.partition(), m.offset()) for m in messages))
        return handle(messages, model)

    def noted_predict(self: IrisModel, X: Any) -> Any:
        if (X[:, 0] == POISON_CM).any():
            os.kill(os.getpid(), signal.SIGKILL)
        switch.passage("while-predicting")
        return predict_proba(self, X)

    def noted_produce(producer: Any, replies: Any) -> None:
        done = switch.due("after-produced", len(replies.results))
        if done is not None:  # in the middle of the batch: the client library has some results, others not yet
            produce(producer, type(replies)(replies.results[: done + 1]))
            switch.strike()
            replies = type(replies)(replies.results[done + 1 :], replies.dead_letters, replies.skipped)
        produce(producer, replies)

    def noted_deliver(*arguments: Any) -> bool:
        delivered = deliver(*arguments)
        switch.passage("after-delivered")
        return delivered

    class NotedProducer(Producer):
        def send_offsets_to_transaction(self, positions: Any, group_metadata: Any, timeout: float = -1) -> None:
            self.flush(5)
            switch.passage("after-delivered")
            super().send_offsets_to_transaction(positions, group_metadata, timeout)

        def commit_transaction(self, timeout: float = -1) -> None:
            switch.passage("before-commit")
            super().commit_transaction(timeout)

    class NotedConsumer(Consumer):
        def commit(self, *arguments: Any, **named: Any) -> Any:
            if sys._getframe(1).f_globals["__name__"].endswith("at_least_once"):  # not the intake's marks
                switch.passage("before-commit")
            return super().commit(*arguments, **named)

    IrisModel.predict_proba, worker.handle = noted_predict, noted_handle
    at_least_once.produce, at_least_once.wait_until_delivered = noted_produce, noted_deliver
    exactly_once.produce, exactly_once.Producer = noted_produce, NotedProducer
    slot.RUN_DIR = slots  # slots of a Kafka of its own
    return partial(worker.main, queue=Queue)


def main() -> int:
    """Patch the worker and run it."""
    prepare()
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kill-at", choices=POINTS)
    parser.add_argument("--after", type=int, default=1, help="at which passage; a result is one at after-produced")
    parser.add_argument("--signal", choices=["SIGKILL", "SIGSTOP"], default="SIGKILL")
    parser.add_argument("--executions", type=Path, default=Path(os.devnull), help="file to write executed tasks to")
    parser.add_argument("--slots", type=Path, default=Path(".run"), help="folder for the locks of the worker slots")
    args, rest = parser.parse_known_args()
    switch = KillSwitch(args.kill_at, args.after, signal.Signals[args.signal])
    return patch(switch, args.executions, args.slots)(rest)


if __name__ == "__main__":
    run(main)
