"""Start the model service and the gateway with one command, without Docker. Ctrl-C ends both.

    $ python -m 3_client_server.services.run_services
    Ready: http://127.0.0.1:8000 (Ctrl-C ends it)

Each is a process of its own, as in docker-compose.yml. If one ends, the other is ended too.
"""

import argparse
import os
import signal
import sys
from dataclasses import dataclass
from threading import Event
from typing import Any

from common.errors import ProgramError
from common.programs import Program, answers, end_all, until
from common.settings import load_settings
from common.terminal import ArgumentParser, run
from common.web.settings import load_service_settings, service_settings_help

from .settings import ServiceSettings

HOST = "127.0.0.1"
START_SECONDS = 60.0  # longest wait until both are ready; the first start trains the model
GRACE_SECONDS = 1  # for the requests in flight; uvicorn then ends them with 503
KILL_SECONDS = 1.6  # from the signal; a thread in the middle of a long prediction cannot be ended in any other way
POLL_SECONDS = 0.1
# Their output goes where ours goes, and they are of our process group: `kill` by a terminal or a test reaches all.
AS_OURS: dict[str, Any] = {"stdout": None, "stderr": None, "start_new_session": False}


@dataclass(frozen=True)
class Service:
    """A program of this stage, and where it answers when it is ready."""

    name: str
    app: str
    port: int
    options: tuple[str, ...] = ()  # of uvicorn
    health: str = "/health/ready"

    def command(self, port: int) -> list[str]:
        """Return the command that starts it."""
        return [sys.executable, "-m", "uvicorn", self.app, "--host", HOST, "--port", str(port), *GRACE, *self.options]


GRACE = ("--timeout-graceful-shutdown", str(GRACE_SECONDS))
# With uvloop, which seems to take one new connection per turn of its loop, the last of 64 clients that come at once to
# a busy service waits half a second for its first answer. asyncio's own loop has no such tail, at 5 to 10 % less rate.
FAIR_LOOP = ("--loop", "asyncio")
MODEL = Service("model", "3_client_server.services.model_service:app", 8001, FAIR_LOOP)
GATEWAY = Service("gateway", "3_client_server.services.gateway:app", 8000)


def url_of(service: Service, port: int) -> str:
    """Return the address at which the service says that it is ready."""
    return f"http://{HOST}:{port}{service.health}"


def check_running(programs: list[Program]) -> None:
    """Raise ProgramError if one has ended by itself."""
    for program in programs:
        if not program.is_running():
            raise ProgramError(f"The {program.name} service has ended with exit code {program.exit_code}.")


def wait_until_ready(programs: list[Program], ports: dict[Service, int], stop: Event) -> None:
    """Return when all are ready, or when `stop` is set. Raises ProgramError if one has ended, or they need too long."""

    def is_ready() -> bool:
        check_running(programs)
        return stop.is_set() or all(answers(url_of(service, port)) for service, port in ports.items())

    until(is_ready, START_SECONDS, "the services are ready")


def main(argv: list[str] | None = None) -> int:
    """Start both, wait for Ctrl-C, end both."""
    parser = ArgumentParser(__doc__)
    parser.epilog = service_settings_help(ServiceSettings)
    parser.add_argument("--port", type=port_number, default=GATEWAY.port, help="of the gateway (default: %(default)s)")
    parser.add_argument(
        "--model-port", type=port_number, default=MODEL.port, help="of the model service (default: %(default)s)"
    )
    args = parser.parse_args(argv)
    load_settings(), load_service_settings(ServiceSettings)  # a wrong setting is told once, not by both
    ports = {MODEL: args.model_port, GATEWAY: args.port}
    environment = os.environ | {"IRIS_MODEL_URL": f"http://{HOST}:{args.model_port}"}

    stop = Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    programs: list[Program] = []
    try:
        for service, port in ports.items():
            if answers(url_of(service, port)):
                raise ProgramError(f"Something answers at http://{HOST}:{port} already. Choose another port: --help.")
            programs.append(Program(service.command(port), name=service.name, env=environment, **AS_OURS))
        wait_until_ready(programs, ports, stop)
        if not stop.is_set():
            print(f"Ready: http://{HOST}:{args.port} (Ctrl-C ends it)", flush=True)
        while not stop.wait(POLL_SECONDS):
            check_running(programs)
    finally:
        end_all(programs, KILL_SECONDS)
    return 0


def port_number(text: str) -> int:
    """Return a port, or raise what argparse tells the user."""
    if text.isascii() and text.isdigit() and 0 < int(text) < 65536:
        return int(text)
    raise argparse.ArgumentTypeError(f"{text!r} is not a port, expected 1 to 65535")


if __name__ == "__main__":
    run(main)
