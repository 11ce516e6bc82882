"""Ports of this machine: which are free, and whether a server answers at one."""

import contextlib
import random
import socket
import urllib.request

from common.errors import ProgramError


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


def answers(url: str) -> bool:
    """Return whether a server answers a GET of this URL within a second, with status 200 to 299."""
    try:
        with urllib.request.urlopen(url, timeout=1):
            return True
    except OSError:  # refused, too slow, or another status
        return False
