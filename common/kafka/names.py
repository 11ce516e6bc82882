"""The names of topics and groups: with the prefix that `IRIS_KAFKA_PREFIX` says, as a shared Kafka may ask for one.

The prefix holds for as long as a program runs, so it is read once; `connect()` refuses one that Kafka would not take.
"""

import os

PREFIX = os.environ.get("IRIS_KAFKA_PREFIX", "")


def named(name: str) -> str:
    """Return the name of a topic or group on this Kafka: `tasks` is `team-a.tasks` where the prefix is `team-a.`."""
    return PREFIX + name
