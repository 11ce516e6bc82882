"""Three questions in Kafka's own protocol, over a plain socket, while brokers start.

Why not with Kafka's client: it has no call that asks one certain broker for a producer id, and a client that was closed
while the broker that it asked ended or froze has aborted the whole process (librdkafka 2.16: in two of three runs of
the test that kills and pauses brokers).

Source: the message formats in the protocol guide of Apache Kafka 4.3.
"""

import random
import socket
import ssl
import struct
from contextlib import nullcontext

Context = ssl.SSLContext | None  # how to speak to a locked broker


def _ask(port: int, context: Context, api_key: int, version: int, body: bytes) -> bytes:
    """Send one request to localhost and return the answer's body. Raises OSError where no Kafka answers in 2 s."""
    with (
        socket.create_connection(("127.0.0.1", port), timeout=2) as plain,
        context.wrap_socket(plain, server_hostname="localhost") if context else nullcontext(plain) as connection,
        connection.makefile("rb") as answer,
    ):
        number = random.getrandbits(31)
        request = struct.pack(">hhih", api_key, version, number, -1) + body  # -1: the client has no name
        connection.sendall(struct.pack(">i", len(request)) + request)
        head = answer.read(8)
        if len(head) < 8 or struct.unpack(">ii", head)[1] != number:
            raise OSError("not Kafka")
        return answer.read(struct.unpack(">ii", head)[0] - 4)


def broker_ids(port: int, context: Context = None) -> set[int]:
    """Return the ids of the brokers that the one at this port can see. Raises OSError where no Kafka answers."""
    answer = _ask(port, context, 3, 1, struct.pack(">i", 0))  # Metadata, of no topic
    ids, place = set(), 4
    for _ in range(struct.unpack_from(">i", answer)[0]):
        ids.add(struct.unpack_from(">i", answer, place)[0])
        place += 4
        for after in (4, 0):  # the host and the port; the rack
            place += 2 + max(0, struct.unpack_from(">h", answer, place)[0]) + after
    return ids


def has_coordinator(port: int, context: Context, kind: int) -> bool:
    """Ask for the coordinator of a group (0) or a transaction (1): the first time this creates Kafka's own topic."""
    name = b"ready?"
    answer = _ask(
        port, context, 10, 1, struct.pack(">h", len(name)) + name + struct.pack(">b", kind)
    )  # FindCoordinator
    return struct.unpack_from(">ih", answer)[1] == 0


def gives_producer_ids(port: int, context: Context) -> bool:
    """Ask for a producer id: a broker's first one takes a moment, and clients log that."""
    answer = _ask(port, context, 22, 0, struct.pack(">hi", -1, 60_000))  # InitProducerId
    return struct.unpack_from(">ih", answer)[1] == 0
