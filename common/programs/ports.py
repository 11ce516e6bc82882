"""Ports of this machine: which are free, where a server listens, and whether one answers."""

import contextlib
import random
import socket
import urllib.request

from common.errors import ProgramError

from .program import Program


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
    raise ProgramError("No free ports between 20000 and 32000.")


def url_of_server(server: Program) -> str:
    """Wait until a uvicorn has printed that it is ready; return the address that it prints."""
    return server.wait_for_line("running on ").split("running on ")[1].split()[0]


def answers(url: str) -> bool:
    """Return whether a server answers a GET of this URL within a second, with status 200 to 299."""
    try:
        with urllib.request.urlopen(url, timeout=1):
            return True
    except OSError:  # refused, too slow, or another status
        return False
