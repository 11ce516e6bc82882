"""How our broker differs from a stock Kafka, and why: shared by the embedded Kafka and the stages' Compose files.

Times are in milliseconds unless the name says otherwise.
"""

import contextlib
import os
import socket
from pathlib import Path

HEAP_ONE_BROKER = "-Xmx512m"
HEAP_IN_CLUSTER = "-Xmx384m"  # for each broker

# Java starts twice as fast with the small compiler and collector, but one broker alone is there to be fast later:
# it gets the full ones, as in Kafka's own scripts. Brokers of a cluster share one machine's few cores.
QUICK_FLAGS = ["-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"]
FULL_FLAGS = ["-XX:+UseG1GC", "-XX:MaxGCPauseMillis=20"]
JVM_OPTIONS = "KAFKA_JVM_PERFORMANCE_OPTS"  # a variable that takes their place, as in Kafka's own scripts

# At most 2 files of 5 MB; each start begins a new one.
LOG4J = """
appender.file.type = RollingFile
appender.file.name = file
appender.file.fileName = {folder}/kafka.log
appender.file.filePattern = {folder}/kafka.log.%i
appender.file.layout.type = PatternLayout
appender.file.layout.pattern = %d %p %m (%c)%n
appender.file.policies.type = Policies
appender.file.policies.start.type = OnStartupTriggeringPolicy
appender.file.policies.size.type = SizeBasedTriggeringPolicy
appender.file.policies.size.size = 5 MB
appender.file.strategy.type = DefaultRolloverStrategy
appender.file.strategy.max = 1
rootLogger.level = info
rootLogger.appenderRef.file.ref = file
"""


def jvm_flags(brokers: int) -> list[str]:
    """Return Java's options for each of `brokers` brokers; one that is out of memory ends rather than limps on."""
    speed = speed_flags(FULL_FLAGS if brokers == 1 else QUICK_FLAGS)
    return [HEAP_ONE_BROKER if brokers == 1 else HEAP_IN_CLUSTER, "-XX:+ExitOnOutOfMemoryError", *speed]


def speed_flags(default: list[str]) -> list[str]:
    """Return the options that JVM_OPTIONS says, or else these."""
    return os.environ.get(JVM_OPTIONS, "").split() or default


def broker_settings(brokers: int) -> dict[str, str]:
    """Return the server properties that do not depend on the node: the same for each of `brokers` brokers."""
    copies = min(3, brokers)
    needed = 2 if copies == 3 else 1  # copies that must have a message before it counts as written
    settings: dict[str, str | int] = {
        # Copies: with three brokers one may fail and nothing is lost and nobody waits.
        "default.replication.factor": copies,
        "min.insync.replicas": needed,
        "offsets.topic.replication.factor": copies,
        "transaction.state.log.replication.factor": copies,
        "transaction.state.log.min.isr": needed,
        "share.coordinator.state.topic.replication.factor": copies,
        "share.coordinator.state.topic.min.isr": needed,
        # A copy that missed messages must not become the leader: rather wait than lose.
        "unclean.leader.election.enable": "false",
        # A mistyped topic name is an error, not a new topic; a topic made without a number has one partition.
        "auto.create.topics.enable": "false",
        "num.partitions": 1,
        # Kafka's own topics have 50 partitions each, made for large clusters: 5 start faster and take less memory.
        "offsets.topic.num.partitions": 5,
        "transaction.state.log.num.partitions": 5,
        "share.coordinator.state.topic.num.partitions": 5,
        # The log cleaner takes this much heap at the start; 128 MB is a third of a small broker's.
        "log.cleaner.dedupe.buffer.size": 16 * 1024 * 1024,  # bytes
        # A first consumer joins at once: no 3 s wait for others that might come.
        "group.initial.rebalance.delay.ms": 0,
        # A killed worker's partitions go to others after 6 s at most, not 45 s.
        # With group.protocol=consumer these are the broker's to set, not the client's.
        "group.consumer.min.session.timeout.ms": 3000,
        "group.consumer.session.timeout.ms": 6000,
        "group.consumer.min.heartbeat.interval.ms": 500,
        "group.consumer.heartbeat.interval.ms": 1000,
        # The same for share groups; with 5 s between heartbeats, as usual, a first consumer waits that long.
        "group.share.min.session.timeout.ms": 3000,
        "group.share.session.timeout.ms": 6000,
        "group.share.min.heartbeat.interval.ms": 500,
        "group.share.heartbeat.interval.ms": 1000,
        # A killed broker's partitions get a new leader after 3 s, not 9 s; six heartbeats may be late or lost.
        "broker.session.timeout.ms": 3000,
        "broker.heartbeat.interval.ms": 500,
        # A connection between brokers can die and neither is told: both find out after 6 s, not 30 s, and a copy that
        # gets nothing meanwhile no longer holds up who waits for all copies.
        "replica.socket.timeout.ms": 6000,
        "replica.lag.time.max.ms": 6000,
        "request.timeout.ms": 6000,
        # A transaction left open by a crash holds up its readers until it times out: for 60 s, what clients ask for
        # unless told otherwise, not 15 min; our workers ask for less. Then it is aborted within 1 s, not 10 s.
        "transaction.max.timeout.ms": 60_000,
        "transaction.abort.timed.out.transaction.cleanup.interval.ms": 1000,
    }
    return {name: str(value) for name, value in settings.items()}


def node_settings(i: int, port: int, controllers: dict[int, int], data: Path) -> dict[str, str]:
    """Return the server properties of one broker: who it is, where it listens, where its data is.

    It listens on this machine only, by IPv4 and, where there is one, IPv6: `localhost` may mean either.
    """
    listeners = {"PLAINTEXT": f"127.0.0.1:{port}", "CONTROLLER": f"127.0.0.1:{controllers[i]}"}
    advertised = {"PLAINTEXT": f"localhost:{port}"}
    if _has_ipv6_loopback():
        listeners["IPV6"], advertised["IPV6"] = f"[::1]:{port}", f"localhost:{port}"
    return {
        "process.roles": "broker,controller",
        "node.id": str(i),
        "controller.quorum.voters": ",".join(f"{node}@127.0.0.1:{at}" for node, at in controllers.items()),
        "controller.listener.names": "CONTROLLER",
        "inter.broker.listener.name": "PLAINTEXT",
        "listeners": ",".join(f"{name}://{address}" for name, address in listeners.items()),
        "advertised.listeners": ",".join(f"{name}://{address}" for name, address in advertised.items()),
        "listener.security.protocol.map": ",".join(f"{name}:PLAINTEXT" for name in listeners),
        "log.dirs": str(data),
    }


def _has_ipv6_loopback() -> bool:
    with contextlib.suppress(OSError), socket.socket(socket.AF_INET6) as probe:
        probe.bind(("::1", 0))
        return True
    return False
