"""Stage 3, the lesson: a full server answers 503 Service Unavailable, at once, instead of making the caller wait.

Unlike two people at two terminals, who would have to be quick:
- the server burns 2 s of CPU time per prediction, so that the first request is still in flight when the second comes;
- the second client asks when the server says that it is predicting for the first: it never comes too early or too late.

Run: python -m 3_client_server.concurrency_limit_demo
"""

import os
import queue
import re
import signal
import subprocess
import sys
import threading
import time

from common.errors import ProgramError
from common.iris_dto import SPECIES
from common.terminal import ArgumentParser, run

SERVER = "uvicorn 3_client_server.iris_classifier_rest_server:app --limit-concurrency 2 --log-level debug"
CLIENT = "python -m 3_client_server.iris_classifier_cli_client_rest"
LINES = ("5.1 3.5 1.4 0.2", "6.7 3.0 5.2 2.3")  # what each client asks
CPU_SECONDS = 2.0  # that a prediction takes
WAIT_SECONDS = 60.0
FULL = "503 Service Unavailable"
WHY = """\
Why: uvicorn counts open connections, idle ones and the caller's own included, and answers 503 as soon as the count
reaches the limit. The first client's connection made one, the second's made two, and two is the limit. So
--limit-concurrency 2 lets one request in at a time. The client that got the 503 has to ask again by itself."""


class Program:
    """A process, its input, and what it has printed so far."""

    def __init__(self, command: str, **settings: str) -> None:
        foreign = ("UVICORN_", "WEB_CONCURRENCY")  # would change the server
        clean = {name: value for name, value in os.environ.items() if not name.startswith(foreign)}
        module = command.removeprefix("python -m ").split()
        pipe = subprocess.PIPE
        self.process = subprocess.Popen(
            [sys.executable, "-m", *module], stdin=pipe, stdout=pipe, stderr=subprocess.STDOUT,
            env=clean | settings, text=True, encoding="utf-8", errors="replace",
        )  # fmt: skip
        self._lines: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout
        for line in self.process.stdout:
            self._lines.put(line.rstrip())
        self._lines.put(None)

    def ask(self, line: str) -> None:
        """Type a line; there will be no other."""
        assert self.process.stdin
        self.process.stdin.write(line + "\n")
        self.process.stdin.close()

    def wait_for(self, pattern: str) -> re.Match[str]:
        """Return the match in the next line that has one. Raises ProgramError when the program ends, or too late."""
        deadline, last = time.monotonic() + WAIT_SECONDS, "nothing"
        while True:
            try:
                line = self._lines.get(timeout=max(0.0, deadline - time.monotonic()))
            except queue.Empty:
                raise ProgramError(f"{pattern!r} did not come within {WAIT_SECONDS:g} s, last came: {last}") from None
            if line is None:
                raise ProgramError(f"A program ended without {pattern!r}, last came: {last}")
            if found := re.search(pattern, line):
                return found
            last = line or last

    def end(self) -> None:
        """End it at once: it holds nothing that could be lost."""
        self.process.kill()
        self.process.wait()
        self._reader.join(WAIT_SECONDS)
        for stream in (self.process.stdin, self.process.stdout):
            if stream:
                stream.close()


def show_lesson(programs: list[Program]) -> list[str]:
    """Start the server and two clients; return what each client has printed."""
    print(f"$ IRIS_SIMULATED_CPU_SECONDS={CPU_SECONDS:g} {SERVER}", flush=True)
    server = Program(f"{SERVER} --port 0", IRIS_SIMULATED_CPU_SECONDS=str(CPU_SECONDS))  # 0: any free port
    programs.append(server)
    url = server.wait_for(r"running on (http://\S+)")[1]
    local = {"IRIS_REST_URL": url, "NO_PROXY": "127.0.0.1", "no_proxy": "127.0.0.1"}
    clients = [Program(CLIENT, **local) for _ in LINES]
    programs += clients  # neither has a connection before it asks
    for number, (client, line) in enumerate(zip(clients, LINES, strict=True), 1):
        print(f"client {number}$ {CLIENT}\n{line}", flush=True)
        client.ask(line)
        if number == 1:
            server.wait_for("Predicting")
            print("the server is predicting for client 1, and now client 2 asks:", flush=True)
    answers = [client.wait_for(r".+")[0] for client in clients]
    for number, answer in enumerate(answers, 1):
        print(f"client {number} got: {answer}", flush=True)
    return answers


def main(argv: list[str] | None = None) -> int:
    """Let two clients ask at once, show what each gets and say why."""
    ArgumentParser(__doc__, "model_path").parse_args(argv)
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # as Ctrl-C: ends what has been started
    programs: list[Program] = []
    try:
        answers = show_lesson(programs)
    finally:
        for program in reversed(programs):
            program.end()
    if not (answers[0].startswith(SPECIES) and answers[1].startswith(FULL)):
        raise ProgramError("This should have been one iris type and one 503.")
    print(WHY)
    return 0


if __name__ == "__main__":
    run(main)
