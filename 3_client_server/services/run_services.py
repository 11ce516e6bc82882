"""Start the model service and the gateway with one command, without Docker. Ctrl-C ends both.

    $ python -m 3_client_server.services.run_services
    Ready: http://127.0.0.1:8000 (Ctrl-C ends it)

Each is a process of its own, as in docker-compose.yml. If one ends, the other is ended too.
"""

import argparse
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from dataclasses import dataclass
from threading import Event

from common.errors import ProgramError
from common.settings import load_settings
from common.terminal import ArgumentParser, run

from .settings import load_service_settings, service_settings_help

HOST = "127.0.0.1"
START_SECONDS = 60.0  # longest wait until both are ready; the first start trains the model
GRACE_SECONDS = 1  # for the requests in flight; uvicorn then ends them with 503
KILL_SECONDS = 1.6  # from the signal; a thread in the middle of a long prediction cannot be ended in any other way
POLL_SECONDS = 0.1


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


def is_ready(service: Service, port: int) -> bool:
    """Ask the service itself."""
    try:
        with urllib.request.urlopen(f"http://{HOST}:{port}{service.health}", timeout=1) as response:
            return response.status == 200
    except (OSError, urllib.error.URLError):
        return False


def wait_until_ready(processes: dict[Service, subprocess.Popen[bytes]], ports: dict[Service, int], stop: Event) -> None:
    """Return when all are ready, or when `stop` is set.

    Raises:
        ProgramError: one has ended, or they need too long.
    """
    deadline = time.monotonic() + START_SECONDS
    while not all(is_ready(service, port) for service, port in ports.items()):
        check_running(processes)
        if time.monotonic() > deadline:
            raise ProgramError(f"The services are not ready after {START_SECONDS:g} s.")
        if stop.wait(POLL_SECONDS):
            return


def check_running(processes: dict[Service, subprocess.Popen[bytes]]) -> None:
    """Raise ProgramError where one has ended by itself."""
    for service, process in processes.items():
        if process.poll() is not None:
            raise ProgramError(f"The {service.name} service has ended with exit code {process.returncode}.")


def end(processes: dict[Service, subprocess.Popen[bytes]]) -> None:
    """End all: politely, then for certain."""
    deadline = time.monotonic() + KILL_SECONDS
    for process in processes.values():
        process.terminate()
    for process in processes.values():
        try:
            process.wait(max(0.0, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def main(argv: list[str] | None = None) -> int:
    """Start both, wait for Ctrl-C, end both."""
    parser = ArgumentParser(__doc__)
    parser.epilog = service_settings_help()
    parser.add_argument("--port", type=port_number, default=GATEWAY.port, help="of the gateway (default: %(default)s)")
    parser.add_argument(
        "--model-port", type=port_number, default=MODEL.port, help="of the model service (default: %(default)s)"
    )
    args = parser.parse_args(argv)
    load_settings(), load_service_settings()  # a wrong setting is told once, not by both
    ports = {MODEL: args.model_port, GATEWAY: args.port}
    environment = os.environ | {"IRIS_MODEL_URL": f"http://{HOST}:{args.model_port}"}

    stop = Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    processes: dict[Service, subprocess.Popen[bytes]] = {}
    try:
        for service, port in ports.items():
            if is_ready(service, port):
                raise ProgramError(f"Something answers at http://{HOST}:{port} already. Choose another port: --help.")
            processes[service] = subprocess.Popen(service.command(port), env=environment)
        wait_until_ready(processes, ports, stop)
        if not stop.is_set():
            print(f"Ready: http://{HOST}:{args.port} (Ctrl-C ends it)", flush=True)
        while not stop.wait(POLL_SECONDS):
            check_running(processes)
    finally:
        end(processes)
    return 0


def port_number(text: str) -> int:
    """Return a port, or raise what argparse tells the user."""
    if text.isascii() and text.isdigit() and 0 < int(text) < 65536:
        return int(text)
    raise argparse.ArgumentTypeError(f"{text!r} is no port, expected 1 to 65535")


if __name__ == "__main__":
    run(main)
