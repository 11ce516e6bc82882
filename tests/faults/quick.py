"""Which faults a file of tests tries, and what has to hold for each, however busy the machine is."""

from typing import Any

import pytest

from faults.catalogue import FAULTS
from faults.outcome import MODES, Outcome

# In `make test` others of the same kind stand for them: broker-killed, kill-anywhere, zombie, no-tasks, disk-full,
# restored, fresh-clients. Or the tests of what is struck: the worker's for sigterm, sigterm-slow, poison and
# in-a-hurry, the persisters' for persister-killed, duplicates and topic-recreated, the embedded Kafka's for
# one-of-three.
SLOW = {"storm", "coordinator-down", "two-hosts", "clocks", "both-modes", "growth", "compressed", "no-room", "junk"}
SLOW |= {"idle-client", "broker-frozen", "one-of-three", "crash-loop", "kill-one", "sigterm", "sigterm-slow"}
SLOW |= {"in-a-hurry", "poison", "duplicates", "topic-recreated", "persister-killed"}


def faults_of(*modules: str) -> list[Any]:
    """Return fault and mode of each quick fault in these modules; exactly-once mode is slow."""
    return [
        pytest.param(name, mode, marks=pytest.mark.slow if name in SLOW or mode != MODES[0] else ())
        for name, fault in sorted(FAULTS.items(), key=lambda item: item[1].kafka)
        for mode in fault.modes
        if fault.quick and fault.module in modules
    ]


def wrong(outcome: Outcome) -> list[str]:
    """Return what must not be. How long something took is the table's matter."""
    if not (outcome.times and outcome.sent and outcome.results):
        return [f"nothing was tried: {outcome}"]
    figures = [record for record in outcome.records() if record.value and record.at_most == 0]
    return outcome.problems + [f"{record.column} {record.value:g}" for record in figures]
