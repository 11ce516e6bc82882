"""What an earlier start, or another program, may have left in the way: a port, a folder, a broker."""

import contextlib
import json
import os
import signal
import socket
import struct
import time
from pathlib import Path

from filelock import FileLock, Timeout

from .jars import FETCH_SECONDS, KafkaStartError, one_line
from .locked import context_of, folder_in
from .probe import broker_ids

END_SECONDS = 2.0  # for a broker that is left over, after each signal


class KafkaAlreadyRunning(KafkaStartError):
    """A Kafka answers at that port already, or runs on that data folder."""

    def __init__(self, bootstrap_servers: str, brokers: int) -> None:
        super().__init__(f"Kafka is already running: {bootstrap_servers}")
        self.bootstrap_servers, self.brokers = bootstrap_servers, brokers


def lock_folder(data_dir: Path) -> FileLock:
    """Own the data folder: return the lock that is now held.

    Raises:
        KafkaAlreadyRunning: a Kafka runs on it.
        KafkaStartError: another program holds it, and no Kafka answers.
    """
    data_dir.mkdir(parents=True, exist_ok=True)
    lock = FileLock(data_dir / "lock")
    deadline = time.monotonic() + FETCH_SECONDS
    while True:
        with contextlib.suppress(Timeout):
            lock.acquire(timeout=0.1)
            return lock
        with contextlib.suppress(OSError, ValueError, LookupError, struct.error):  # the owner may be starting
            known = json.loads((data_dir / "cluster.json").read_text(encoding="utf-8"))
            servers, inner_port = known["bootstrap_servers"], known.get("inner_port")
            port = inner_port or int(servers.split(",")[0].rpartition(":")[2])
            if found := broker_ids(port, context_of(folder_in(data_dir)) if inner_port else None):
                raise KafkaAlreadyRunning(servers, len(found))
        if time.monotonic() > deadline:
            raise KafkaStartError(f"Another program has held {data_dir} for {FETCH_SECONDS:.0f} s.")


def refuse_if_taken(port: int) -> None:
    """Return if the port is free.

    Raises:
        KafkaAlreadyRunning: a Kafka answers there.
        KafkaStartError: something else does.
    """
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


def end_leftover(folder: Path) -> None:
    """End a broker whose Python was killed. It still locks its data, so the process id in our file is its own."""
    data_lock = folder / "data" / ".lock"
    for number in (signal.SIGTERM, signal.SIGKILL):
        if not _is_locked(data_lock):
            return
        with contextlib.suppress(OSError, ValueError):
            os.kill(int((folder / "pid").read_text(encoding="utf-8")), number)
        deadline = time.monotonic() + END_SECONDS
        while _is_locked(data_lock) and time.monotonic() < deadline:
            time.sleep(0.05)
    if _is_locked(data_lock):
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
