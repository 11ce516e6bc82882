"""What the benchmarks of stage 3 share: uvicorn servers on free ports."""

import importlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from benchmarks.watching import Measured
from common.programs import answers, free_ports, until

_services: Any = importlib.import_module("3_client_server.services.run_services")
MODEL, GATEWAY = _services.MODEL, _services.GATEWAY  # run here as there


@dataclass
class Server:
    """A running server."""

    name: str
    port: int
    program: Measured

    @property
    def url(self) -> str:
        """Where it answers."""
        return f"http://127.0.0.1:{self.port}"

    def memory_mb(self) -> float:
        """Return its resident memory in MB."""
        return self.program.ps.memory_info().rss / 1e6


@contextmanager
def server(name: str, app: str, options: Sequence[str] = (), **settings: str) -> Iterator[Server]:
    """Run one uvicorn process on a free port, without uvicorn's access log, until the end of the block."""
    port = free_ports(1)[0]
    with Measured("uvicorn", app, "--port", port, "--no-access-log", *options, settings=settings) as program:
        running = Server(name, port, program)
        until(lambda: answers(f"{running.url}/health"), what=f"{name} answers", programs=[program])
        yield running
