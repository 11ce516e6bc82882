"""Brokers as processes of this machine: one, or a cluster."""

import contextlib
import json
import os
import random
import re
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import time
import uuid
from base64 import urlsafe_b64encode
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import BinaryIO

from filelock import FileLock, Timeout

from common.embedded_kafka.broker_settings import LOG4J, QUICK_FLAGS, broker_settings, jvm_flags, node_settings
from common.embedded_kafka.fencing import controller_properties, has_fenced, metadata_bytes, was_killed
from common.embedded_kafka.jars import FETCH_SECONDS, KafkaStartError, class_path, java, one_line
from common.embedded_kafka.probe import broker_ids, gives_producer_ids, has_coordinator
from common.settings import RUN_DIR

START_SECONDS = 60.0  # a start that takes longer has failed
FENCING_SECONDS = 15.0  # a broker that has been fenced already, and was killed then, is not fenced again
STOP_SECONDS = 2.0  # a broker that takes longer to stop is killed; what it acknowledged is safe

# Runs as `python -c`, then becomes Java. On Linux the kernel kills it when the thread that started it ends, so no
# broker outlives a killed Python. 1 is PR_SET_PDEATHSIG; 9 is SIGKILL, as a cluster cannot stop gently all at once.
BECOME_JAVA = """
import ctypes, os, sys
if sys.platform == "linux":
    ctypes.CDLL(None).prctl(1, 9)
if os.getppid() == int(sys.argv[1]):
    os.execv(sys.argv[2], sys.argv[2:])
"""


class KafkaAlreadyRunning(KafkaStartError):
    """A Kafka answers at that port already, or runs on that data folder."""

    def __init__(self, bootstrap_servers: str, brokers: int) -> None:
        super().__init__(f"Kafka is already running: {bootstrap_servers}")
        self.bootstrap_servers, self.brokers = bootstrap_servers, brokers


# --- the brokers ------------------------------------------------------------------------------------------------------


class EmbeddedKafka:
    """One broker or a cluster, with ids from 1, for the length of a `with` block; stops and leaves nothing after it.

    Args:
        brokers: how many.
        port: the first broker's port, the others follow; 0 picks free ones.
        data_dir: where messages stay from one start to the next; None for a temporary folder.
        run_dir: where the list of jars is kept.

    Raises (on entering):
        KafkaAlreadyRunning: the port or the folder is in use by a Kafka.
        KafkaStartError: anything else; the message is one line.
    """

    def __init__(self, brokers: int = 1, port: int = 0, data_dir: Path | None = None, run_dir: Path = RUN_DIR) -> None:
        self._first_port, self._run_dir = port, run_dir
        self._temporary = data_dir is None
        self.data_dir = Path("" if data_dir is None else data_dir).absolute()
        self.ids = range(1, brokers + 1)
        self.ports: dict[int, int] = {}  # broker id: port for clients
        self._processes: dict[int, subprocess.Popen[bytes]] = {}
        self._spawner = ThreadPoolExecutor(1)  # lives as long as the brokers: see BECOME_JAVA
        self._on_exit = contextlib.ExitStack()

    @property
    def bootstrap_servers(self) -> str:
        """The address for clients: `localhost:9092`, with a comma between several."""
        return ",".join(f"localhost:{port}" for port in self.ports.values())

    def __enter__(self) -> "EmbeddedKafka":
        if os.name != "posix":
            raise KafkaStartError("The embedded Kafka needs Linux or macOS; on Windows use WSL or Docker.")
        with contextlib.ExitStack() as stack:
            try:
                stack.callback(self._spawner.shutdown)
                if self._temporary:
                    self.data_dir = Path(tempfile.mkdtemp(prefix="kafka-"))
                    stack.callback(shutil.rmtree, self.data_dir, ignore_errors=True)
                self._lock(stack)
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
        return self.data_dir / f"broker-{i}" / "kafka.log"

    def pid(self, i: int) -> int:
        """Return broker i's process id."""
        return self._processes[i].pid

    def is_running(self, i: int) -> bool:
        """Return whether broker i's process exists."""
        return i in self._processes and self._processes[i].poll() is None

    def kill(self, i: int) -> None:
        """End broker i at once, with SIGKILL."""
        self._processes[i].kill()
        self._processes[i].wait(10)

    def pause(self, i: int) -> None:
        """Freeze broker i with SIGSTOP: its connections stay open, but it does not answer."""
        self._processes[i].send_signal(signal.SIGSTOP)

    def resume(self, i: int) -> None:
        """Let broker i go on after pause()."""
        self._processes[i].send_signal(signal.SIGCONT)

    def stop(self, i: int) -> None:
        """Stop broker i with SIGTERM, with SIGKILL if it takes longer than STOP_SECONDS."""
        self._stop([i])

    def stop_all(self) -> None:
        """Stop every broker, at the same time."""
        self._stop(self._processes)

    def _stop(self, ids: Iterable[int]) -> None:
        processes = [self._processes[i] for i in ids]
        for process in processes:
            process.terminate()
            process.send_signal(signal.SIGCONT)  # one that is paused would not notice
        deadline = time.monotonic() + STOP_SECONDS
        for process in processes:
            try:
                process.wait(max(0.0, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait(10)

    def start(self, i: int, wait: bool = True) -> None:
        """Start broker i on its own data and ports, and wait until it answers.

        Raises:
            KafkaStartError: it ended, or does not answer after START_SECONDS.
        """
        folder = self.data_dir / f"broker-{i}"
        if len(self.ids) == 1 and was_killed(folder / "data"):
            self._fence(i, folder)
        self._launch(i, folder / "server.properties")
        if wait:
            self._wait_until_ready([i])

    def _fence(self, i: int, folder: Path) -> None:
        """Have broker i's former self declared dead, see kafka_fencing."""
        properties = folder / "controller.properties"
        settings = (folder / "server.properties").read_text(encoding="utf-8")
        properties.write_text(controller_properties(settings), encoding="utf-8")
        self.log(i).unlink(missing_ok=True)
        self._launch(i, properties)
        deadline = time.monotonic() + FENCING_SECONDS

        def until(condition: Callable[[], bool]) -> None:
            while self.is_running(i) and time.monotonic() < deadline and not condition():
                time.sleep(0.03)

        until(lambda: has_fenced(self.log(i)))
        for _ in range(2):  # what it writes next may be older than what it has just declared; what comes then is not
            written = metadata_bytes(folder / "data")
            until(lambda written=written: metadata_bytes(folder / "data") > written)
        self.stop(i)

    def _launch(self, i: int, properties: Path) -> None:
        folder = properties.parent
        log4j = f"-Dlog4j2.configurationFile={folder / 'log4j2.properties'}"
        java_command = [self._java, *jvm_flags(len(self.ids)), log4j, "-cp", self._class_path, "kafka.Kafka"]
        command = [sys.executable, "-I", "-S", "-c", BECOME_JAVA, str(os.getpid()), *java_command, str(properties)]
        with (folder / "jvm.log").open("wb") as output:
            self._processes[i] = self._spawner.submit(_popen, command, output).result()
        (folder / "pid").write_text(str(self.pid(i)), encoding="utf-8")

    def _wait_until_ready(self, ids: Iterable[int]) -> None:
        expected, deadline = set(ids), time.monotonic() + START_SECONDS
        for i in expected:
            self._wait_for(i, deadline, lambda port: expected <= broker_ids(port))
        for i in expected:
            self._wait_for(i, deadline, lambda port: all(has_coordinator(port, kind) for kind in (0, 1)))
            self._wait_for(i, deadline, gives_producer_ids)

    def _wait_for(self, i: int, deadline: float, check: Callable[[int], bool]) -> None:
        while True:
            with contextlib.suppress(OSError, struct.error):
                if check(self.ports[i]):
                    return
            if not self.is_running(i):
                raise KafkaStartError(f"Broker {i} ended: {self.last_words(i)} (log: {self.log(i)})")
            if time.monotonic() > deadline:
                raise KafkaStartError(f"Broker {i} did not answer in {START_SECONDS:.0f} s (log: {self.log(i)})")
            time.sleep(0.03)

    def last_words(self, i: int) -> str:
        """Return broker i's last error: from its log, or from what Java printed before there was a log."""
        error = r"^\S+ \S+ ERROR (?:.*\n[\w.$]+(?:Exception|Error): )?(.*)"  # the exception below it says more
        for path, pattern in ((self.log(i), error), (self.log(i).with_name("jvm.log"), "(.+)")):
            text = path.read_text(encoding="utf-8", errors="replace") if path.exists() else ""
            if found := re.findall(pattern, text, re.MULTILINE):
                return one_line(found[-1])
        return f"exit code {self._processes[i].returncode}"

    def _lock(self, stack: contextlib.ExitStack) -> None:
        """Own the data folder, or find out who does."""
        self.data_dir.mkdir(parents=True, exist_ok=True)
        lock = FileLock(self.data_dir / "lock")
        deadline = time.monotonic() + FETCH_SECONDS
        while True:
            with contextlib.suppress(Timeout):
                lock.acquire(timeout=0.1)
                stack.callback(lock.release)
                return
            with contextlib.suppress(OSError, ValueError, LookupError):  # the owner may be starting
                servers = json.loads((self.data_dir / "cluster.json").read_text(encoding="utf-8"))["bootstrap_servers"]
                if found := broker_ids(int(servers.split(",")[0].rpartition(":")[2])):
                    raise KafkaAlreadyRunning(servers, len(found))
            if time.monotonic() > deadline:
                raise KafkaStartError(f"Another program has held {self.data_dir} for {FETCH_SECONDS:.0f} s.")

    def _start_all(self) -> None:
        for i in self.ids:
            _end_leftover(self.data_dir / f"broker-{i}")
        free = iter(free_ports(2 * len(self.ids)))
        self.ports = {i: self._first_port + i - 1 if self._first_port else next(free) for i in self.ids}
        for port in self.ports.values():
            _refuse_if_taken(port)
        self._java, self._class_path = java(), os.pathsep.join(class_path(self._run_dir))
        self._write_cluster({i: next(free) for i in self.ids})
        self._format()
        for i in self.ids:
            self.start(i, wait=False)
        self._wait_until_ready(self.ids)

    def _write_cluster(self, controllers: dict[int, int]) -> None:
        """Write each broker's settings. Ports may change from one start to the next, the cluster's id must not."""
        state = self.data_dir / "cluster.json"
        try:
            known = json.loads(state.read_text(encoding="utf-8")) if state.exists() else {}
            count, self._cluster_id = known.get("brokers", len(self.ids)), known.get("cluster_id", _new_cluster_id())
        except (ValueError, AttributeError):
            raise KafkaStartError(f"{state} is damaged: delete the folder {self.data_dir}, or use another.") from None
        if count != len(self.ids):
            raise KafkaStartError(f"{self.data_dir} holds the data of --brokers {count}: use another --data-dir.")
        known = {"brokers": count, "cluster_id": self._cluster_id, "bootstrap_servers": self.bootstrap_servers}
        new = state.with_suffix(".new")
        new.write_text(json.dumps(known), encoding="utf-8")
        new.replace(state)
        for i in self.ids:
            folder = self.data_dir / f"broker-{i}"
            folder.mkdir(exist_ok=True)
            (folder / "log4j2.properties").write_text(LOG4J.format(folder=folder.as_posix()), encoding="utf-8")
            settings = broker_settings(len(self.ids)) | node_settings(i, self.ports[i], controllers, folder / "data")
            lines = [f"{name}={value}" for name, value in settings.items()]
            (folder / "server.properties").write_text("\n".join(lines), encoding="utf-8")

    def _format(self) -> None:
        """Make each broker's data folder a Kafka one, where it is not: takes Java a second."""
        tool = [self._java, *QUICK_FLAGS, "-cp", self._class_path, "kafka.tools.StorageTool", "format"]
        with contextlib.ExitStack() as stack:
            processes = []
            for i in self.ids:
                config = self.log(i).with_name("server.properties")
                if not (config.parent / "data" / "meta.properties").exists():
                    command = [*tool, "--ignore-formatted", "--cluster-id", self._cluster_id, "--config", str(config)]
                    process = subprocess.Popen(
                        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True
                    )
                    processes.append(stack.enter_context(process))
                    stack.callback(process.kill)
            for process in processes:
                try:
                    output, _ = process.communicate(timeout=START_SECONDS)
                except subprocess.TimeoutExpired:
                    raise KafkaStartError(f"Java did not format {self.data_dir} in {START_SECONDS:.0f} s.") from None
                if process.returncode:
                    raise KafkaStartError(f"{self.data_dir} cannot be formatted: {one_line(output)}")


def _popen(command: list[str], output: BinaryIO) -> subprocess.Popen[bytes]:
    # A session of its own: Ctrl-C at the terminal reaches us alone, and we stop the brokers.
    return subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True)


def free_ports(count: int) -> list[int]:
    """Return free ports below the range that systems hand out by themselves: a client that tries a stopped broker's
    port again and again cannot be given that very port."""
    free = []
    for port in random.sample(range(20_000, 32_000), 1000):
        with contextlib.suppress(OSError), socket.socket() as probe:
            probe.bind(("127.0.0.1", port))
            free.append(port)
        if len(free) == count:
            return free
    raise KafkaStartError("No free ports between 20000 and 32000.")


def _refuse_if_taken(port: int) -> None:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=2).close()
    except ConnectionRefusedError:
        return
    except OSError as error:
        raise KafkaStartError(f"Port {port} cannot be tried: {one_line(error)}") from None
    with contextlib.suppress(OSError, struct.error):
        if found := broker_ids(port):
            raise KafkaAlreadyRunning(f"localhost:{port}", len(found))
    raise KafkaStartError(f"Port {port} is taken by a program that is not Kafka: stop it, or use --port.")


def _end_leftover(folder: Path) -> None:
    """End a broker whose Python was killed. It still locks its data, so the process id in our file is its own."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        if not _is_locked(folder / "data" / ".lock"):
            return
        with contextlib.suppress(OSError, ValueError):
            os.kill(int((folder / "pid").read_text(encoding="utf-8")), number)
        deadline = time.monotonic() + STOP_SECONDS
        while _is_locked(folder / "data" / ".lock") and time.monotonic() < deadline:
            time.sleep(0.05)
    if _is_locked(folder / "data" / ".lock"):
        raise KafkaStartError(f"Another Kafka holds {folder}: stop it, or use another --data-dir.")


def _is_locked(path: Path) -> bool:
    """Return whether a running Kafka holds this file, which it locks the POSIX way."""
    import fcntl  # not on Windows

    try:
        with path.open("r+b") as file:
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except OSError:
        return True
    return False


def _new_cluster_id() -> str:
    return urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=").replace("-", "_")
