"""The real Apache Kafka without Docker: its published jars on a Java runtime that pip installed.

`python -m common.embedded_kafka` starts one broker at localhost:9092 (`--brokers 3`: a cluster) and stops it on Ctrl-C.
Tests use it as `with EmbeddedKafka() as kafka: ... kafka.bootstrap_servers ...`.

The first start fetches the jars from Maven Central (44 MB) into the Maven repository of this user's home.
"""

from .cluster import EmbeddedKafka
from .jars import KafkaStartError
from .leftovers import KafkaAlreadyRunning

__all__ = ["EmbeddedKafka", "KafkaAlreadyRunning", "KafkaStartError"]
