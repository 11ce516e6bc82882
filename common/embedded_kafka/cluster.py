"""Brokers of this machine: one, or a cluster."""

import contextlib
import os
import shutil
import tempfile
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from common.programs import Program, free_ports
from common.settings import RUN_DIR

from .broker import Broker, stop_all
from .broker_settings import jvm_flags
from .cluster_files import folder_of, format_data, write_cluster
from .jars import KafkaStartError, class_path, java, one_line
from .leftovers import end_leftover, lock_folder, refuse_if_taken
from .locked import Lock, folder_in
from .probe import broker_ids, gives_producer_ids, has_coordinator

START_SECONDS = 60.0  # a start that takes longer has failed


class EmbeddedKafka:
    """One broker or a cluster, with ids from 1, for the length of a `with` block; stops and leaves nothing after it.

    Args:
        brokers: how many.
        port: the first broker's port, the others follow; 0 picks free ones.
        data_dir: where messages stay from one start to the next; None for a temporary folder.
        run_dir: where the list of jars is kept.
        secure: only for users with a password, by TLS; see `locked.py`.
        format_options: further words for Kafka's own tool when it formats the data folder.
        unix_groups: broker id: the Unix group to run as, so that a firewall can tell brokers apart.

    Raises (on entering):
        KafkaAlreadyRunning: the port or the folder is in use by a Kafka.
        KafkaStartError: anything else; the message is one line.
    """

    def __init__(
        self,
        brokers: int = 1,
        port: int = 0,
        data_dir: Path | None = None,
        run_dir: Path = RUN_DIR,
        secure: bool = False,
        format_options: Sequence[str] = (),
        unix_groups: Mapping[int, int] | None = None,
    ) -> None:
        self._first_port, self._run_dir = port, run_dir
        self._secure, self._format_options = secure, format_options
        self._unix_groups = unix_groups or {}
        self._temporary = data_dir is None
        self.data_dir = Path("" if data_dir is None else data_dir).absolute()
        self.ids = range(1, brokers + 1)
        self.ports: dict[int, int] = {}  # broker id: port for clients
        self._brokers: dict[int, Broker] = {}
        self._on_exit = contextlib.ExitStack()

    @property
    def bootstrap_servers(self) -> str:
        """The address for clients: `localhost:9092`, with a comma between several."""
        return ",".join(f"localhost:{port}" for port in self.ports.values())

    def user(self, name: str) -> Path:
        """Return the file of client properties of a user of a locked Kafka; it holds the password."""
        return folder_in(self.data_dir) / f"{name}.properties"

    def __enter__(self) -> "EmbeddedKafka":
        if os.name != "posix":
            raise KafkaStartError("The embedded Kafka needs Linux or macOS; on Windows use WSL or Docker.")
        with contextlib.ExitStack() as stack:
            try:
                if self._temporary:
                    self.data_dir = Path(tempfile.mkdtemp(prefix="kafka-"))
                    stack.callback(shutil.rmtree, self.data_dir, ignore_errors=True)
                stack.callback(lock_folder(self.data_dir).release)
                stack.callback(self.stop_all)
                self._start_all()
            except OSError as error:
                raise KafkaStartError(f"{self.data_dir} cannot be used: {one_line(error)}") from None
            self._on_exit = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._on_exit.close()

    def log(self, i: int) -> Path:
        """Return where broker i logs."""
        return folder_of(self.data_dir, i) / "kafka.log"

    def pid(self, i: int) -> int:
        """Return broker i's process id."""
        return self._process(i).pid

    def is_running(self, i: int) -> bool:
        """Return whether broker i's process exists."""
        return i in self._brokers and self._brokers[i].is_running()

    def last_words(self, i: int) -> str:
        """Return broker i's last error."""
        return self._brokers[i].last_words()

    def kill(self, i: int) -> None:
        """End broker i at once, with SIGKILL."""
        self._process(i).kill()

    def pause(self, i: int) -> None:
        """Freeze broker i with SIGSTOP: its connections stay open, but it does not answer."""
        self._process(i).pause()

    def resume(self, i: int) -> None:
        """Let broker i go on after pause()."""
        self._process(i).resume()

    def stop(self, i: int) -> None:
        """Stop broker i: with SIGTERM, with SIGKILL if that takes too long."""
        self._brokers[i].stop()

    def stop_all(self) -> None:
        """Stop every broker, at the same time."""
        stop_all(list(self._brokers.values()))

    def start(self, i: int) -> None:
        """Start broker i on its own data and ports, and wait until it answers.

        Raises:
            KafkaStartError: it ended, or does not answer after START_SECONDS.
        """
        self._brokers[i].start()
        self._wait_until_ready([i])

    def _process(self, i: int) -> Program:
        process = self._brokers[i].process
        assert process, f"broker {i} has not been started"
        return process

    def _start_all(self) -> None:
        folders = [folder_of(self.data_dir, i) for i in self.ids]
        for folder in folders:
            end_leftover(folder)
        free = iter(free_ports(3 * len(self.ids)))
        self.ports = {i: self._first_port + i - 1 if self._first_port else next(free) for i in self.ids}
        for port in self.ports.values():
            refuse_if_taken(port)
        jars = os.pathsep.join(class_path(self._run_dir))
        controllers = {i: next(free) for i in self.ids}
        inner = {i: next(free) for i in self.ids} if self._secure else self.ports
        lock = Lock(folder_in(self.data_dir)) if self._secure else None
        cluster_id = write_cluster(self.data_dir, self.ports, controllers, self.bootstrap_servers, lock, inner)
        format_data(folders, cluster_id, java(), jars, self._format_options)
        command = [java(), *jvm_flags(len(self.ids)), "-cp", jars]
        for i, folder in zip(self.ids, folders, strict=True):
            door, group = (inner[i], lock.context() if lock else None), self._unix_groups.get(i)
            self._brokers[i] = Broker(i, door, folder, command, alone=len(self.ids) == 1, group=group)
            self._brokers[i].start()
        self._wait_until_ready(self.ids)
        if lock:
            lock.make_users(inner[1], self.bootstrap_servers)

    def _wait_until_ready(self, ids: Iterable[int]) -> None:
        expected, deadline = set(ids), time.monotonic() + START_SECONDS
        for i in expected:
            self._brokers[i].wait_until(lambda *door: expected <= broker_ids(*door), deadline)
        for i in expected:
            self._brokers[i].wait_until(
                lambda *door: all(has_coordinator(*door, kind=kind) for kind in (0, 1)), deadline
            )
            self._brokers[i].wait_until(gives_producer_ids, deadline)
