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
from typing import Any, Protocol

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
MQ_WORKER = "4_message_queue.iris_classifier_mq_worker"
TASK_WORKER = "5_task_queue.iris_classifier_task_queue_worker"
TASK_CLIENT = "5_task_queue.iris_classifier_cli_client_task_queue"
STOP_SECONDS = 15.0  # longest wait for a program to end after SIGTERM

_numbers = itertools.count()


def flower() -> Measurement:
    """Return a measurement in cm that nobody else asks for: stage 4's clients know their results by it."""
    petal_length = round(1.2 + next(_numbers) % 4_000_000 / 1e6, 6)
    return Measurement(sepal_length=5.9, sepal_width=3.0, petal_length=petal_length, petal_width=1.3)


class Client(Protocol):
    """One person who asks."""

    def ask(self, seconds: float) -> str:
        """Ask once; return the outcome, at the latest after so many seconds."""
        ...

    def close(self) -> None:
        """Leave."""
        ...


class Stage:
    """What is the same for all: the programs that do the work."""

    title = ""

    def __init__(self) -> None:
        self.programs: list[Measured] = []
        self.cpu_seconds = 0.0  # burnt per prediction
        self.peak_mb = 0.0

    def start(self, cpu_seconds: float = 0.0) -> None:
        """Start what has to run before anybody can ask, and wait until it does."""
        self.cpu_seconds = cpu_seconds

    def client(self) -> Client:
        """Return a new client."""
        raise NotImplementedError

    def cpu(self) -> float:
        """Return the CPU seconds that the programs have used so far."""
        return sum(program.look() for program in self.programs)

    def memory_mb(self) -> float:
        """Return the greatest memory of the programs so far, together."""
        return sum(program.peak_mb for program in self.programs) or self.peak_mb

    def look(self) -> None:
        """Take note of the programs' memory."""
        for program in self.programs:
            program.look()

    def kill(self) -> None:
        """End what does the work at once, with SIGKILL."""
        for program in self.programs:
            program.kill()
        self.programs.clear()

    def stop(self) -> None:
        """End what does the work in order."""
        programs, self.programs = self.programs, []
        end_all(programs, STOP_SECONDS)

    @property
    def environment(self) -> dict[str, str]:
        """Return the settings that the programs get."""
        return {"IRIS_SIMULATED_CPU_SECONDS": str(self.cpu_seconds)}


class Stage1(Stage):
    """One process per prediction."""

    title = "1 command line"

    def __init__(self) -> None:
        super().__init__()
        self.running: set[Measured] = set()

    def client(self) -> Client:
        return CommandLine(self)

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

    def kill(self) -> None:
        for program in list(self.running):
            program.kill()


class CommandLine:
    """Types the command."""

    def __init__(self, stage: Stage1) -> None:
        self._stage = stage

    def ask(self, seconds: float) -> str:
        row = flower().row()
        with Measured(MONOLITH, *row, settings=self._stage.environment, stdin=subprocess.DEVNULL) as program:
            self._stage.running.add(program)
            try:
                program.wait(seconds)
            except ProgramFailed:
                return "lost"
            finally:
                self._stage.running.discard(program)
        return "answered" if "%" in program.output else "lost"

    def close(self) -> None:
        """Nothing to leave."""


class Stage2(Stage):
    """One process per user."""

    title = "2 prompt"

    def client(self) -> Client:
        return Prompt(self)


class Prompt:
    """Types at a prompt of its own, and reads the pipe itself: the fewer threads between, the less they cost."""

    def __init__(self, stage: Stage2) -> None:
        answers, output = os.pipe()
        self._program = Measured(LOOP, stdout=output, settings=stage.environment)
        os.close(output)
        self._answers = os.fdopen(answers, encoding="utf-8")
        self._stage = stage
        stage.programs.append(self._program)

    def ask(self, seconds: float) -> str:
        self._program.send_line(" ".join(map(str, flower().row())))
        return "answered" if "%" in self._answers.readline() else "lost"

    def close(self) -> None:
        if self._program in self._stage.programs:
            self._stage.programs.remove(self._program)
            self._stage.peak_mb = self._program.peak_mb
            self._program.finish(STOP_SECONDS)  # it ends as its input does
        self._answers.close()


class Stage3(Stage):
    """A server."""

    title = "3 client and server"

    def __init__(self, limit: int | None = None) -> None:
        super().__init__()
        self.limit, self.port = limit, free_ports(1)[0]

    def start(self, cpu_seconds: float = 0.0) -> None:
        super().start(cpu_seconds)
        limits = ["--limit-concurrency", str(self.limit)] if self.limit else []
        arguments = [SERVER, "--port", str(self.port), "--log-level", "warning", *limits]
        self.programs = [Measured("uvicorn", *arguments, settings=self.environment)]
        until(lambda: answers(f"http://127.0.0.1:{self.port}/health"), what="an answer", programs=self.programs)

    def client(self) -> Client:
        return Http(self.port, keep=self.limit is None)


class Http:
    """Sends a request; keeps its connection unless the server counts connections."""

    def __init__(self, port: int, keep: bool) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", port)
        self._keep = keep

    def ask(self, seconds: float) -> str:
        body = flower().model_dump_json()
        self._connection.timeout = seconds
        try:
            self._connection.request("POST", "/iris-classifier", body, {"Content-Type": "application/json"})
            response = self._connection.getresponse()
            response.read()
        except ConnectionRefusedError:
            self._connection.close()
            return "refused"  # no server: known at once
        except (OSError, http.client.HTTPException):
            self._connection.close()
            return "lost"
        if not self._keep:
            self._connection.close()
        return {200: "answered", 503: "refused"}.get(response.status, "lost")

    def close(self) -> None:
        self._connection.close()


class Stage4(Stage):
    """A worker behind Kafka."""

    title = "4 message queue"
    group = "iris-mq-workers"

    def start(self, cpu_seconds: float = 0.0) -> None:
        super().start(cpu_seconds)
        self.programs = [Measured(MQ_WORKER, settings=self.environment)]
        self.programs[0].wait_for("ready")

    def client(self) -> Client:
        return Subscriber()


class Subscriber:
    """Publishes a measurement and looks for the result of this very measurement among all that are published."""

    def __init__(self) -> None:
        self._producer, self._consumer = Producer(producer_config()), Consumer(reader_config())
        assign_at_end(self._consumer, RESULTS)

    def ask(self, seconds: float) -> str:
        measurement = flower()
        mine = json.dumps(measurement.petal_length).encode()
        deadline = time.monotonic() + seconds
        self._producer.produce(TASKS, measurement.model_dump_json())
        while (left := deadline - time.monotonic()) > 0:
            self._producer.poll(0)
            message = self._consumer.poll(min(left, 0.5))
            if message and not message.error() and mine in (value := message.value() or b""):
                X: Any = Result.model_validate_json(value).X
                if X["petal_length"] == measurement.petal_length:
                    return "answered"
        return "lost"

    def close(self) -> None:
        self._consumer.close()


class Stage5(Stage):
    """One worker of a consumer group; its partitions allow four."""

    title = "5 task queue"
    group = "iris-task-queue-workers"

    def __init__(self) -> None:
        super().__init__()
        self._client = importlib.import_module(TASK_CLIENT)

    def start(self, cpu_seconds: float = 0.0) -> None:
        super().start(cpu_seconds)
        self.programs = [Measured(TASK_WORKER, settings=self.environment)]
        self.programs[0].wait_for("ready")

    def client(self) -> Client:
        return TaskAsker(self._client)


class TaskAsker:
    """The stage's own client, positioned once."""

    def __init__(self, module: Any) -> None:
        self._client = module.TaskClient()
        self._no_answer = module.NoAnswer
        self._client.position()

    def ask(self, seconds: float) -> str:
        try:
            result = self._client.predict(flower(), str(uuid.uuid4()), seconds)
        except (self._no_answer, KafkaException):
            return "lost"
        return "answered" if result.y else "lost"

    def close(self) -> None:
        self._client.close()
