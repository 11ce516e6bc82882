"""What the parts of the walk share: a folder and ports of their own, so that a user's programs are never touched."""

import os
import re
import shlex
import signal
import subprocess
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Self

from common.embedded_kafka import EmbeddedKafka
from common.errors import ProgramError
from common.programs import Program, end_all

from .screen import Screen
from .uninterrupted import uninterrupted

FLOWER = "5.1 3.5 1.4 0.2"  # the one that travels through all stages, in cm
SPECIES = "setosa"  # which it is

END_SECONDS = 1.5  # from SIGTERM to SIGKILL when the walk ends or is interrupted

# A user's settings for the user's own programs; here they would change what is shown.
FOREIGN = ("IRIS_", "KAFKA_", "UVICORN_", "WEB_CONCURRENCY")


class Walk:
    """One walk; whatever it has started is ended with its `with` block."""

    def __init__(self, screen: Screen) -> None:
        self.screen = screen
        self.folder = Path()
        self._programs: list[Program] = []
        self._on_exit = ExitStack()
        self._kafka = ExitStack()

    def __enter__(self) -> Self:
        folder = tempfile.TemporaryDirectory(prefix="iris-tour-", ignore_cleanup_errors=True)
        self.folder = Path(self._on_exit.enter_context(folder))
        self._on_exit.enter_context(self._kafka)
        self._on_exit.callback(end_all, self._programs, END_SECONDS)  # while Kafka still answers
        for name in [name for name in os.environ if name.startswith(FOREIGN)]:
            del os.environ[name]
        os.environ |= {
            "IRIS_MODEL_PATH": str(self.folder / "iris_classifier.joblib"),
            "IRIS_DATABASE": str(self.folder / "iris_results.sqlite3"),
            "NO_PROXY": "127.0.0.1,localhost",
            "no_proxy": "127.0.0.1,localhost",
        }
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End all that still runs, and remove the folder."""
        self._on_exit.close()

    def launch(self, command: Sequence[str], **options: Any) -> Program:
        """Start a program and take note of it, to end it with the walk. Its output and its errors are one."""
        with uninterrupted():  # half started, nobody would end it
            self._programs.append(WalkProgram(command, stderr=subprocess.STDOUT, **options))
        return self._programs[-1]

    def start_kafka(self) -> str:
        """Start a Kafka of the walk's own on a free port; return its address."""
        kafka = self._kafka.enter_context(EmbeddedKafka(data_dir=self.folder / "kafka"))
        self._kafka.callback(kafka.kill, 1)  # its data goes with the folder: no need to end it gently
        os.environ["KAFKA_BOOTSTRAP_SERVERS"] = kafka.bootstrap_servers
        return kafka.bootstrap_servers

    def start(self, command: str, *, show: bool = True, more: str = "", input: str | None = None) -> Program:
        """Start a command as a reader would type it; `more` are arguments that only the walk needs."""
        if show:
            self.screen.command(command)
        words = shlex.split(command)
        settings = dict(words.pop(0).split("=", 1) for word in list(words) if re.match("[A-Z_]+=", word))
        name = " ".join(words[:3] if words[0] == "python" else words[:1])
        module = words if words[0] == "python" else ["python", "-m", *words]
        return self.launch([*module, *shlex.split(more)], name=name, env=os.environ | settings, input=input)

    def run(self, command: str, typed: Sequence[str] = ()) -> list[str]:
        """Run a command to its end, show what is typed and what comes out, and return that."""
        self.screen.command(command, *typed)
        with self.screen.doing("waiting for the answer"):
            lines = self.start(command, show=False, input=as_typed(typed)).finish()
        self.screen.output(lines)
        return lines


class WalkProgram(Program):
    """A program of the walk: if it fails, its last lines are shown."""

    last_lines = 5


def as_typed(lines: Sequence[str]) -> str:
    """Return lines with what ends each."""
    return "".join(line + "\n" for line in lines)


def stop(program: Program) -> None:
    """End a program with SIGTERM, as `make down` does. Raises ProgramFailed if it does not end in order."""
    program.terminate()
    if program.wait() not in (0, -signal.SIGTERM):  # uvicorn cleans up, and then ends by the signal that it got
        raise program.failure("failed on SIGTERM")


def expect(condition: bool, sentence: str) -> None:
    """Fail the walk where something that it shows did not happen. Raises ProgramError."""
    if not condition:
        raise ProgramError(sentence)


def expect_flower(lines: Sequence[str], where: str) -> None:
    """Fail the walk where the flower's species is not the first word of one of the lines."""
    found = any(line.startswith(SPECIES) for line in lines)
    expect(found, f"{where}: expected {SPECIES} for {FLOWER}, got: {' / '.join(lines) or 'nothing'}")
