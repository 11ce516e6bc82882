"""A Kafka of its own for a few trials, with its topics, a PostgreSQL where one is asked for, a temporary folder."""

import contextlib
import shutil
import tempfile
import threading
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Self

import psycopg
from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic  # pyright: ignore[reportPrivateImportUsage]

from benchmarks.embedded_postgres import EmbeddedPostgres
from common.embedded_kafka import EmbeddedKafka
from common.kafka.connection import base_config, reader_config
from common.kafka.offsets import edges
from common.kafka.topics import RESULTS, TASKS, create_topics, new_topic

cancelled = threading.Event()  # Ctrl-C reaches the main thread alone; the others look here


class Rig:
    """The broker or the cluster, and a PostgreSQL; leaves nothing behind.

    `both_stores` is whether every trial stores in PostgreSQL too, or only those that are about it.
    """

    def __init__(self, brokers: int, partitions: int, both_stores: bool = True) -> None:
        self.kafka, self.partitions, self.both_stores = EmbeddedKafka(brokers), partitions, both_stores
        self._postgres: EmbeddedPostgres | None = None
        self.folder = Path()

    def __enter__(self) -> Self:
        with contextlib.ExitStack() as stack:
            self.folder = Path(tempfile.mkdtemp(prefix="faults-"))
            stack.callback(shutil.rmtree, self.folder, ignore_errors=True)
            stack.enter_context(self.kafka)
            self.servers = self.kafka.bootstrap_servers
            self.admin = AdminClient(base_config() | {"bootstrap.servers": self.servers})
            create_topics(self.admin, self.partitions)
            wait(self._all_led, 30, "a leader for each partition")
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def _all_led(self) -> bool:
        """Tell whether the leaders of a new topic have taken up their work."""
        try:
            return all(len(edges(self.admin, topic, range(self.partitions))) > 0 for topic in (TASKS, RESULTS))
        except KafkaException:
            return False

    def new_database(self) -> str:
        """Make an empty PostgreSQL database; return its address. The first one starts the server."""
        if self._postgres is None:
            self._postgres = self._stack.enter_context(EmbeddedPostgres())
        name = f"trial_{uuid.uuid4().hex}"
        with psycopg.connect(self._postgres.dsn(), autocommit=True) as db:
            db.execute(f"CREATE DATABASE {name}")  # pyright: ignore[reportArgumentType, reportCallIssue]
        return self._postgres.dsn(name)

    def leader(self, topic: str, partition: int) -> int:
        """Return the id of the broker that leads a partition."""
        return self.admin.list_topics(topic, timeout=10).topics[topic].partitions[partition].leader

    def partition_count(self, topic: str) -> int:
        """Return how many partitions a topic has."""
        return len(self.admin.list_topics(topic, timeout=10).topics[topic].partitions)

    def all_in_sync(self) -> bool:
        """Tell whether each partition of each topic has all its copies, and no copy is behind."""
        try:
            topics = self.admin.list_topics(timeout=5).topics.values()
        except KafkaException:
            return False
        return all(len(p.isrs) == len(p.replicas) for topic in topics for p in topic.partitions.values())

    def messages(self, topic: str) -> int:
        """Return how many committed messages a topic of one partition has; nobody deletes from it."""
        consumer = Consumer(reader_config() | {"bootstrap.servers": self.servers, "enable.partition.eof": True})
        try:
            consumer.assign([TopicPartition(topic, 0, 0)])
            count, deadline = 0, time.monotonic() + 30
            while time.monotonic() < deadline:
                message = consumer.poll(1)
                if message is None:
                    continue
                error = message.error()
                if error and error.code() == KafkaError._PARTITION_EOF:
                    return count
                count += not error
            raise TimeoutError(f"{topic} cannot be read to its end")
        finally:
            consumer.close()

    def delete(self, topic: str) -> None:
        """Delete a topic and wait until it is gone."""
        self.admin.delete_topics([topic], operation_timeout=30)[topic].result(30)
        wait(lambda: topic not in self.admin.list_topics(timeout=10).topics, 30, f"{topic} deleted")

    def create(self, topic: str) -> None:
        """Make a topic anew."""
        deadline = time.monotonic() + 30
        while True:
            new: NewTopic = new_topic(topic, self.partitions)
            try:
                self.admin.create_topics([new], operation_timeout=30)[topic].result(30)
                break
            except KafkaException:  # the old one is still being deleted
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.1)
        wait(self._all_led, 30, "a leader for each partition")
        wait(lambda: set(edges(self.admin, topic, range(self.partitions)).values()) == {(0, 0)}, 30, f"{topic} empty")


def wait(condition: Callable[[], bool], seconds: float, what: str) -> None:
    """Wait until a condition holds. Raises TimeoutError, and KeyboardInterrupt once the command was told to end."""
    deadline = time.monotonic() + seconds
    while not condition():
        if cancelled.is_set():
            raise KeyboardInterrupt
        if time.monotonic() > deadline:
            raise TimeoutError(f"not within {seconds:g} s: {what}")
        time.sleep(0.02)
