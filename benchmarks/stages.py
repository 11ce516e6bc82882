"""The stages as the scoreboard sees them: something that starts, is asked by clients, can be killed and started again.

Each client is one person: it asks, waits for its own answer, and asks again. An outcome is `answered`, `refused` (told
at once that it will not be done) or `lost` (nobody will ever answer).
"""

import http.client
import importlib
import itertools
import json
import os
import subprocess
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager, suppress
from typing import Any

from confluent_kafka import Consumer, KafkaException, Producer

from benchmarks.watching import Measured
from common.iris_dto import Measurement, Result
from common.kafka.connection import producer_config, reader_config
from common.kafka.offsets import assign_at_end
from common.kafka.topics import RESULTS, TASKS
from common.programs import ProgramFailed, answers, end_all, free_ports, until

MONOLITH = "1_monolith_cli.iris_classifier_monolith_cli_app"
LOOP = "2_monolith_user_input_loop.iris_classifier_monolith_user_input_loop_app"
SERVER = "3_client_server.iris_classifier_rest_server:app"
TASK_CLIENT = "5_task_queue.iris_classifier_cli_client_task_queue"
STOP_SECONDS = 15.0  # longest wait for a program to end after SIGTERM

Ask = Callable[[float], str]  # asks once; returns the outcome, at the latest after so many seconds

_numbers = itertools.count()


def flower() -> Measurement:
    """Return a measurement in cm that nobody else asks for: stage 4's clients know their results by it."""
    petal_length = round(1.2 + next(_numbers) % 4_000_000 / 1e6, 6)
    return Measurement(sepal_length=5.9, sepal_width=3.0, petal_length=petal_length, petal_width=1.3)


class Stage:
    """What is the same for all: the programs that do the work."""

    title = ""
    program = ""  # the module that does the work; empty if each client starts its own

    def __init__(self) -> None:
        self.programs: list[Measured] = []
        self.settings: dict[str, str] = {}
        self.peak_mb = 0.0

    def start(self, cpu_seconds: float = 0.0) -> None:
        """Start what has to run before anybody can ask, and wait until it does; a prediction burns so much CPU."""
        self.settings = {"IRIS_SIMULATED_CPU_SECONDS": str(cpu_seconds)}
        if self.program:
            self.programs = [Measured(self.program, *self.arguments(), settings=self.settings)]
            self.wait_until_ready(self.programs[0])

    def arguments(self) -> list[object]:
        """Return the arguments of the program."""
        return []

    def wait_until_ready(self, program: Measured) -> None:
        """Wait until somebody can ask."""
        program.wait_for("ready")

    def client(self) -> AbstractContextManager[Ask]:
        """Return how a new client asks."""
        raise NotImplementedError

    def cpu(self) -> float:
        """Return the CPU seconds that the programs have used so far."""
        return sum(program.look() for program in self.programs)

    def memory_mb(self) -> float:
        """Return the greatest memory of the programs so far, together."""
        return sum(program.peak_mb for program in self.programs) or self.peak_mb

    def kill(self) -> None:
        """End what does the work at once, with SIGKILL."""
        while self.programs:
            self.programs.pop().kill()

    def stop(self) -> None:
        """End what does the work in order."""
        programs, self.programs = self.programs, []
        end_all(programs, STOP_SECONDS)


class Stage1(Stage):
    """One process per prediction."""

    title = "1 command line"

    @contextmanager
    def client(self) -> Iterator[Ask]:
        yield self._ask

    def _ask(self, seconds: float) -> str:
        row = flower().row()
        with Measured(MONOLITH, *row, settings=self.settings, stdin=subprocess.DEVNULL) as program:
            self.programs.append(program)
            try:
                program.wait(seconds)
            except ProgramFailed:
                return "lost"
            finally:
                with suppress(ValueError):  # it was killed
                    self.programs.remove(program)
        return "answered" if "%" in program.output else "lost"

    def cpu(self) -> float:
        times = os.times()  # of all children that have ended
        return times.children_user + times.children_system

    def memory_mb(self) -> float:
        if not self.peak_mb:
            with Measured(MONOLITH, *flower().row()) as program:
                while program.is_running():
                    program.look()
                    time.sleep(0.002)
            self.peak_mb = program.peak_mb
        return self.peak_mb


class Stage2(Stage):
    """One process per user, who types at a prompt of their own."""

    title = "2 prompt"

    @contextmanager
    def client(self) -> Iterator[Ask]:
        answers, output = os.pipe()  # read here, not by a thread: the less is in between, the less it costs
        program = Measured(LOOP, stdout=output, settings=self.settings)
        os.close(output)
        self.programs.append(program)

        def ask(seconds: float) -> str:
            program.send_line(" ".join(map(str, flower().row())))
            return "answered" if "%" in lines.readline() else "lost"

        with os.fdopen(answers, encoding="utf-8") as lines:
            yield ask
            if program in self.programs:  # otherwise it was killed
                program.look()
                self.peak_mb = program.peak_mb
                self.programs.remove(program)
                program.finish(STOP_SECONDS)  # it ends as its input does


class Stage3(Stage):
    """A server, which takes at most `limit` connections at a time."""

    title = "3 client and server"
    program = "uvicorn"

    def __init__(self, limit: int | None = None) -> None:
        super().__init__()
        self.limit, self.port = limit, free_ports(1)[0]

    def arguments(self) -> list[object]:
        limits = ["--limit-concurrency", self.limit] if self.limit else []
        return [SERVER, "--port", self.port, "--log-level", "warning", *limits]

    def wait_until_ready(self, program: Measured) -> None:
        until(lambda: answers(f"http://127.0.0.1:{self.port}/health"), what="an answer", programs=[program])

    def client(self) -> AbstractContextManager[Ask]:
        return http_client(self.port, keep=self.limit is None)


@contextmanager
def http_client(port: int, keep: bool) -> Iterator[Ask]:
    """Return how a client asks that keeps its connection, or opens one per question if the server counts them."""
    connection = http.client.HTTPConnection("127.0.0.1", port)

    def ask(seconds: float) -> str:
        connection.timeout = seconds
        try:
            body = flower().model_dump_json()
            connection.request("POST", "/iris-classifier", body, {"Content-Type": "application/json"})
            response = connection.getresponse()
            response.read()
        except (OSError, http.client.HTTPException) as error:
            connection.close()
            return "refused" if isinstance(error, ConnectionRefusedError) else "lost"  # no server: known at once
        if not keep:
            connection.close()
        return {200: "answered", 503: "refused"}.get(response.status, "lost")

    with closing(connection):
        yield ask


class Stage4(Stage):
    """A worker behind Kafka."""

    title = "4 message queue"
    program = "4_message_queue.iris_classifier_mq_worker"
    group = "iris-mq-workers"

    @contextmanager
    def client(self) -> Iterator[Ask]:
        """Return how a client asks: it looks for the result of its very measurement among all that are published."""
        producer, consumer = Producer(producer_config()), Consumer(reader_config())
        assign_at_end(consumer, RESULTS)

        def ask(seconds: float) -> str:
            measurement = flower()
            mine = json.dumps(measurement.petal_length).encode()
            deadline = time.monotonic() + seconds
            producer.produce(TASKS, measurement.model_dump_json())
            while (left := deadline - time.monotonic()) > 0:
                producer.poll(0)
                message = consumer.poll(min(left, 0.5))
                if message and not message.error() and mine in (value := message.value() or b""):
                    X: Any = Result.model_validate_json(value).X
                    if X["petal_length"] == measurement.petal_length:
                        return "answered"
            return "lost"

        with closing(consumer):
            yield ask


class Stage5(Stage):
    """One worker of a consumer group; its partitions allow four."""

    title = "5 task queue"
    program = "5_task_queue.iris_classifier_task_queue_worker"
    group = "iris-task-queue-workers"

    @contextmanager
    def client(self) -> Iterator[Ask]:
        """Return how the stage's own client asks, positioned once."""
        module: Any = importlib.import_module(TASK_CLIENT)
        client = module.TaskClient()

        def ask(seconds: float) -> str:
            try:
                result = client.predict(flower(), str(uuid.uuid4()), seconds)
            except (module.NoAnswer, KafkaException):
                return "lost"
            return "answered" if result.y else "lost"

        with closing(client):
            client.position()
            yield ask
