"""A running queue under a steady load: who was asked, what became of it in each store, and in the topic."""

import random
import threading
import time
import uuid
from collections import Counter

import numpy as np
from confluent_kafka import Producer

from common.iris_dto import FEATURES, Measurement, Task
from common.iris_model import IrisModel
from common.kafka.topics import RESULTS, TASKS
from common.programs import until
from tests.helpers import messages

from .compose import Compose

BURST, EVERY_SECONDS = 50, 0.25  # 200 tasks a second: what is tried is not speed
CATCH_UP_SECONDS = 240.0  # on a busy machine
SQLITE = (
    "python -c \"import os, sqlite3; db = sqlite3.connect(os.environ['IRIS_DATABASE']); "
    "print('\\n'.join(f'{one} {kind}' for one, kind in db.execute('SELECT task_id, iris_type FROM results')))\""
)
POSTGRES = "psql -U postgres -h 127.0.0.1 -At -F ' ' -c 'SELECT task_id, iris_type FROM iris.results'"


class Load(threading.Thread):
    """Sends tasks until it is told to stop, and notes those that Kafka has taken."""

    def __init__(self, servers: str, model: IrisModel) -> None:
        super().__init__(daemon=True)
        self.taken: dict[str, int] = {}  # task id: what the model says to it
        self.refused: list[str] = []
        self._model, self._rng, self._end = model, random.Random(12), threading.Event()
        self._producer = Producer(
            {"bootstrap.servers": servers, "enable.idempotence": True, "log_level": 0, "message.timeout.ms": 0}
        )

    def run(self) -> None:
        while not self._end.wait(EVERY_SECONDS):
            rows = np.array([[self._rng.uniform(0.2, 8) for _ in FEATURES] for _ in range(BURST)])
            for row, kind in zip(rows, self._model.predict_proba(rows).argmax(axis=1), strict=True):
                task = Task(task_id=str(uuid.uuid4()), X=Measurement(**dict(zip(FEATURES, row.tolist(), strict=True))))
                self._send(task, int(kind))
            self._producer.poll(0)

    def _send(self, task: Task, kind: int) -> None:
        def delivered(error: object, _: object) -> None:
            if error:
                self.refused.append(str(error))
            else:
                self.taken[task.task_id] = kind

        self._producer.produce(TASKS, task.model_dump_json(), task.task_id, on_delivery=delivered)

    def stop(self) -> None:
        """End it, and wait until Kafka has taken all."""
        self._end.set()
        self.join(10)
        assert self._producer.flush(CATCH_UP_SECONDS) == 0


class Trial:
    """The load on a project, and what is asked of it afterwards."""

    def __init__(self, project: Compose, model: IrisModel) -> None:
        self.project, self.load = project, Load(project.servers, model)
        self.figures: list[tuple[str, int, float]] = []  # fault, tasks sent by its end, seconds until all are stored
        self.load.start()
        until(lambda: len(self.load.taken) > 1000, CATCH_UP_SECONDS, "the load is under way")

    def stored(self) -> Counter[tuple[str, int]]:
        """Return how many rows SQLite has of each task id and answer."""
        return self._rows("persister", SQLITE)

    def stored_in_postgres(self) -> Counter[tuple[str, int]]:
        """Return how many rows PostgreSQL has of each task id and answer."""
        return self._rows("postgres", POSTGRES)

    def _rows(self, service: str, command: str) -> Counter[tuple[str, int]]:
        (container,) = self.project.containers(service)
        done = self.project.execute(container, command, check=False)  # it may be starting
        return Counter((one, int(kind)) for one, kind in map(str.split, done.stdout.splitlines()) if kind.isdigit())

    def caught_up(self, fault: str) -> None:
        """Wait until all that Kafka has taken so far is stored, and note how long that takes."""
        sent, began = self.load.taken.copy().keys(), time.monotonic()
        until(
            lambda: sent <= {one for one, _ in self.stored()} and sent <= {one for one, _ in self.stored_in_postgres()},
            CATCH_UP_SECONDS,
            f"after {fault}: all stored",
        )
        self.figures.append((fault, len(sent), time.monotonic() - began))
        print(f"{fault}: {len(sent)} tasks so far, all stored {self.figures[-1][2]:.1f} s after its end", flush=True)

    def doubled(self) -> int:
        """Return how many results readers of committed results have seen in excess of one per task."""
        seen = messages(
            self.project.servers, RESULTS, lambda found: len({m.key() for m in found}) >= len(self.load.taken)
        )
        return len(seen) - len({message.key() for message in seen})
