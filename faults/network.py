"""A private network for all that a trial starts, in which the connections of a group of programs can be disturbed.

Everybody uses the loopback of a network namespace of our own: nothing outside of it is touched, and all is gone with
the process. Programs of one kind run as one Unix group; the firewall marks the connections that this group opens, and
later drops, or slows, what belongs to a mark, in both directions or in one. For a connection the kernel's answer to a
drop is silence, as with a pulled cable: neither side is told.
"""

import ctypes
import itertools
import os
import shutil
import subprocess
import sys

CLONE_NEWNET = 0x40000000  # <linux/sched.h>
FIRST_GROUP = 60_100
TO_KAFKA, FROM_KAFKA = "ORIGINAL", "REPLY"  # conntrack's names: programs open the connections, Kafka replies
COMMANDS = ("iptables", "ip6tables", "ip", "tc")

groups = itertools.count(FIRST_GROUP)


def missing() -> str:
    """Return why there can be no network of our own here; an empty string if there can."""
    if sys.platform != "linux" or os.geteuid() != 0:
        return "network faults need Linux and root"
    lacking = [command for command in COMMANDS if not shutil.which(command)]
    return f"network faults need {', '.join(lacking)}" if lacking else ""


def enter_private_network() -> None:
    """Leave the machine's network. To be called before anything is started, threads included."""
    if ctypes.CDLL(None, use_errno=True).unshare(CLONE_NEWNET):
        raise OSError(ctypes.get_errno(), "no network namespace")
    _run("ip", "link", "set", "lo", "up")


class Network:
    """The connections that one Unix group opens from now on."""

    def __init__(self) -> None:
        self.group = self._mark = next(groups)
        self._marking = self._marks_with(self._mark)
        self._add(self._marking)
        self._rules: list[list[str]] = []

    def cut(self, direction: str = "", port: int = 0) -> None:
        """Drop everything, or what goes in one direction, or belongs to connections to one port, until `mend()`."""
        way = ["-m", "conntrack"] * bool(direction or port)
        way += ["--ctdir", direction] * bool(direction) + ["--ctorigdstport", str(port)] * bool(port)
        self._rule(["INPUT", "-m", "connmark", "--mark", str(self._mark), *way, "-j", "DROP"])

    def half_open(self) -> None:
        """Drop what belongs to the connections that there are, for ever; new ones work.

        So it is when a firewall or a balancer has forgotten them: both sides believe in a connection that has died.
        """
        self._remove(self._marking)
        self._add(["INPUT", "-m", "connmark", "--mark", str(self._mark), "-j", "DROP"])
        self._mark = next(groups)
        self._marking = self._marks_with(self._mark)
        self._add(self._marking)

    def slow(self, kilobits: int) -> None:
        """Let no more than so many kilobits per second through, in both directions together, until `mend()`."""
        queue = ["root", "handle", "1:", "htb"]
        _run("tc", "qdisc", "add", "dev", "lo", *queue)
        _run("tc", "class", "add", "dev", "lo", "parent", "1:", "classid", "1:1", "htb", "rate", "10gbit")
        bucket = ["tbf", "rate", f"{kilobits}kbit", "burst", "128kb", "latency", "2s"]
        _run("tc", "qdisc", "add", "dev", "lo", "parent", "1:1", "handle", "2:", *bucket)
        marked = ["-m", "connmark", "--mark", str(self._mark)]
        self._rule(["-t", "mangle", "POSTROUTING", *marked, "-j", "CLASSIFY", "--set-class", "1:1"])

    def redirect(self, ports: dict[int, int]) -> None:
        """Lead new connections to these ports to others, until `mend()`."""
        for port, other in ports.items():
            where = ["-p", "tcp", "--dport", str(port), "-m", "owner", "--gid-owner", str(self.group)]
            self._rule(["-t", "nat", "OUTPUT", *where, "-j", "REDIRECT", "--to-ports", str(other)])

    def mend(self) -> None:
        """End what `cut()`, `slow()` and `redirect()` do."""
        slowed = any("CLASSIFY" in rule for rule in self._rules)
        while self._rules:
            self._remove(self._rules.pop())
        if slowed:
            _run("tc", "qdisc", "del", "dev", "lo", "root")

    def _marks_with(self, mark: int) -> list[str]:
        new = ["-p", "tcp", "-m", "conntrack", "--ctstate", "NEW", "-m", "owner", "--gid-owner", str(self.group)]
        return ["-t", "mangle", "OUTPUT", *new, "-j", "CONNMARK", "--set-mark", str(mark)]

    def _rule(self, rule: list[str]) -> None:
        self._add(rule)
        self._rules.append(rule)

    def _add(self, rule: list[str]) -> None:
        _tables("-A", rule)

    def _remove(self, rule: list[str]) -> None:
        _tables("-D", rule)


def _tables(verb: str, rule: list[str]) -> None:
    """Add or delete a rule, for IPv4 and for IPv6. The rule begins with its chain, or with `-t` and its table."""
    at = 2 if rule[0] == "-t" else 0
    for command in ("iptables", "ip6tables"):
        _run(command, "--wait", *rule[:at], verb, *rule[at:])


def _run(*words: str) -> None:
    done = subprocess.run(words, capture_output=True, text=True, timeout=30, check=False)
    if done.returncode:
        raise OSError(f"{' '.join(words)}: {done.stderr.strip()}")
