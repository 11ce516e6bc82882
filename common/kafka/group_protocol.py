"""By which protocol a member joins its group: the new one (KIP-848), or the classic one where Kafka knows no other.

The new one is Kafka's own default from 4.0 on. With the classic one, too, members come and go without stopping the
others (the cooperative assignor). What differs: how soon a killed member is missed is the client's to say.
"""

from typing import Any

from confluent_kafka import KafkaError

CLASSIC = {
    "group.protocol": "classic",
    "partition.assignment.strategy": "cooperative-sticky",
    "session.timeout.ms": 6000,  # brokers allow no less unless told otherwise; ours say the same for KIP-848
    "heartbeat.interval.ms": 1000,
}
TOO_NEW = ("API version not supported", "Required feature not supported")  # what the client library says


class NoSuchProtocolError(Exception):
    """Kafka does not know the new group protocol."""


class _Choice:
    classic = False  # for as long as this program runs


def use_classic() -> None:
    """Have every member that is made from now on join by the classic protocol."""
    _Choice.classic = True


def member_config(config: dict[str, Any]) -> dict[str, Any]:
    """Return the settings of a client with those of a group member; of the classic protocol where that is needed.

    `group.protocol=classic` in the client properties asks for it as well, and `session.timeout.ms` counts only then.
    """
    if _Choice.classic or config.get("group.protocol") == "classic":
        return CLASSIC | config | {"group.protocol": "classic"}
    config = {name: value for name, value in config.items() if name not in CLASSIC}
    return config | {"group.protocol": "consumer"}


def raise_if_too_new(error: KafkaError) -> None:
    """Raise NoSuchProtocolError if that is what a fatal error of a member says."""
    if "ConsumerGroupHeartbeat" in error.str() and any(text in error.str() for text in TOO_NEW):
        raise NoSuchProtocolError
