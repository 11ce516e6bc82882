"""What a lone broker needs before it starts again after a crash: that its former self is declared dead.

Without this Kafka 4.3 can leave transactions open for ever. A broker that was killed reads in its own log that it leads
its partitions, takes up the transactions that were being committed, and cannot reach itself to end them, as it does not
listen yet. Three seconds later its controller, in the same process, declares the former self dead, the partitions have
no leader for a moment, and the ends of those transactions are dropped "as the partitions are likely deleted". From then
on readers of committed results wait, and the group's offsets are never stable again.

So the node runs as a controller alone first, for a second, which nobody but itself can reach, until the former self is
declared dead. A cluster does not need it: there the others do so while the broker is away.
"""

from pathlib import Path

SESSION_MS = 100


def was_killed(data: Path) -> bool:
    """Return whether a broker has run on this folder and did not shut down cleanly."""
    return (data / "__cluster_metadata-0").exists() and not (data / ".kafka_cleanshutdown").exists()


def has_fenced(log: Path) -> bool:
    """Return whether a controller has declared a broker dead, by its log, which it writes a moment later."""
    return log.exists() and "Fencing broker " in log.read_text(encoding="utf-8", errors="replace")


def metadata_bytes(data: Path) -> int:
    """Return how much a controller has written; twice a second it writes at least that it is alive."""
    return sum(log.stat().st_size for log in (data / "__cluster_metadata-0").glob("*.log"))


def controller_properties(properties: str) -> str:
    """Return the server properties of the same node as a controller alone."""
    settings = dict(line.split("=", 1) for line in properties.splitlines())
    for broker_only in ("advertised.listeners", "inter.broker.listener.name"):
        del settings[broker_only]
    [controller] = [one for one in settings["listeners"].split(",") if one.startswith("CONTROLLER:")]
    protocols = settings["listener.security.protocol.map"].split(",")
    [protocol] = [one for one in protocols if one.startswith("CONTROLLER:")]
    settings |= {
        "process.roles": "controller",
        "listeners": controller,
        "listener.security.protocol.map": protocol,
        "broker.session.timeout.ms": str(SESSION_MS),
        "broker.heartbeat.interval.ms": str(SESSION_MS // 2),
    }
    return "\n".join(f"{name}={value}" for name, value in settings.items())
