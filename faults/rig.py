"""A Kafka of its own for a few trials, with its topics, a PostgreSQL if one is asked for, and a temporary folder."""

import contextlib
import re
import tempfile
import uuid
from pathlib import Path
from typing import Self

import psycopg
from confluent_kafka import KafkaException

from benchmarks.broker import Kafka
from common.embedded_kafka import EmbeddedKafka
from common.embedded_kafka.cluster_files import folder_of
from common.embedded_postgres import EmbeddedPostgres
from common.errors import ProgramError
from common.kafka.topics import RESULTS, TASKS
from common.programs import until

from .network import Network


class Rig:
    """The broker or the cluster, and a PostgreSQL; leaves nothing behind.

    `both_stores` is whether every trial stores in PostgreSQL too, or only those that are about it.
    """

    def __init__(self, brokers: int, partitions: int, both_stores: bool = True, apart: bool = False) -> None:
        """`apart`: each broker's connections to others can be disturbed (`networks`, by broker id)."""
        self.networks = {i: Network() for i in range(1, brokers + 1)} if apart else {}
        self.kafka = EmbeddedKafka(brokers, unix_groups={i: one.group for i, one in self.networks.items()})
        self.partitions, self.both_stores = partitions, both_stores
        self._postgres: EmbeddedPostgres | None = None

    def __enter__(self) -> Self:
        with contextlib.ExitStack() as stack:
            folder = tempfile.TemporaryDirectory(prefix="faults-", ignore_cleanup_errors=True)
            self.folder = Path(stack.enter_context(folder))
            stack.enter_context(self.kafka)
            self.servers = self.kafka.bootstrap_servers
            self.topics = Kafka(self.servers)
            self._create_topics()
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def _create_topics(self) -> None:
        self.topics.create_topics(self.partitions)
        until(self._all_led, 30, "a leader for each partition")

    def grow(self) -> None:
        """Give both topics one partition more."""
        self.partitions += 1
        self._create_topics()

    def _all_led(self) -> bool:
        """Return whether the leaders of new topics have taken up their work."""
        try:
            return all(len(self.topics.ends(topic)) == self.partitions for topic in (TASKS, RESULTS))
        except KafkaException:
            return False

    def make_anew(self, topic: str) -> None:
        """Delete a topic, and create it again."""

        def created() -> bool:
            try:
                self._create_topics()
                return not any(self.topics.ends(topic).values())
            except (ProgramError, KafkaException):  # the old one is still being deleted
                return False

        admin = self.topics.admin
        admin.delete_topics([topic], operation_timeout=30)[topic].result(30)
        until(lambda: topic not in admin.list_topics(timeout=10).topics, 30, f"{topic} deleted")
        until(created, 60, f"{topic} created")

    def broker_ports(self, broker: int) -> set[int]:
        """Return the ports of a broker, those for clients and for other brokers."""
        properties = folder_of(self.kafka.data_dir, broker) / "server.properties"
        [listeners] = re.findall(r"^listeners=(.*)", properties.read_text(encoding="utf-8"), re.MULTILINE)
        return {int(port) for port in re.findall(r":(\d+)(?:,|$)", listeners)}

    def leader(self, topic: str, partition: int) -> int:
        """Return the id of the broker that leads a partition."""
        return self.topics.admin.list_topics(topic, timeout=10).topics[topic].partitions[partition].leader

    def all_in_sync(self) -> bool:
        """Return whether each partition of each topic has all its copies, and no copy is behind."""
        try:
            topics = self.topics.admin.list_topics(timeout=5).topics.values()
        except KafkaException:
            return False
        return all(len(p.isrs) == len(p.replicas) for topic in topics for p in topic.partitions.values())

    def new_database(self) -> str:
        """Make an empty PostgreSQL database; return its address. The first one starts the server."""
        if self._postgres is None:
            self._postgres = self._stack.enter_context(EmbeddedPostgres())
        name = f"trial_{uuid.uuid4().hex}"
        with psycopg.connect(self._postgres.dsn(), autocommit=True) as db:
            db.execute(f"CREATE DATABASE {name}")  # pyright: ignore[reportArgumentType, reportCallIssue]
        return self._postgres.dsn(name)
