"""Which rights each program needs on a Kafka with access control lists: no more, and no less.

`python -m common.embedded_kafka --secure` makes a user for each, the page 5_task_queue/HOSTED_KAFKA.md shows the table,
and tests run every program with exactly these. A right to read or write includes the right to describe.
"""

from typing import NamedTuple

from .names import named
from .topics import CANCELLED, DEAD_LETTER, EVENTS, RESULTS, STAGE_5, TASKS

TOPIC, GROUP, TRANSACTIONAL_ID = "topic", "group", "transactional id"


class Right(NamedTuple):
    """What may be done with one thing, or with all whose name begins like this."""

    kind: str
    name: str
    operations: tuple[str, ...]  # as Kafka calls them
    prefix: bool = False  # the name is the beginning of a name


def _topic(name: str, *operations: str) -> Right:
    return Right(TOPIC, name, operations)


def _group(name: str, *operations: str) -> Right:
    return Right(GROUP, named(name), operations, prefix=True)


def _seen(*names: str) -> list[Right]:
    """A program that makes topics where they are missing has to see that they are there."""
    return [_topic(name, "DESCRIBE") for name in names]


RIGHTS: dict[str, list[Right]] = {
    "setup": [
        _topic(name, "CREATE", "ALTER", "DESCRIBE", "ALTER_CONFIGS") for name in (TASKS, RESULTS, DEAD_LETTER, *STAGE_5)
    ],
    "client": [_topic(TASKS, "WRITE"), _topic(RESULTS, "READ"), *_seen(DEAD_LETTER)],
    "worker": [
        _topic(TASKS, "READ"),
        _topic(RESULTS, "WRITE"),
        _topic(DEAD_LETTER, "WRITE"),
        _topic(CANCELLED, "READ"),
        _topic(EVENTS, "WRITE"),
        _group("iris-task-queue-workers", "READ"),
        Right(TRANSACTIONAL_ID, named("iris-task-queue-workers"), ("WRITE",), prefix=True),  # for exactly-once
    ],
    "gateway": [
        _topic(TASKS, "READ", "WRITE"),
        _topic(RESULTS, "READ"),
        _topic(CANCELLED, "READ", "WRITE"),
        _topic(EVENTS, "READ"),
        *_seen(DEAD_LETTER),
    ],
    "persister": [*_seen(TASKS, DEAD_LETTER), _topic(RESULTS, "READ"), _group("iris-persisters", "READ")],
    "status": [
        _topic(TASKS, "READ", "DESCRIBE_CONFIGS"),
        *_seen(DEAD_LETTER),
        _group("iris-task-queue-workers", "DESCRIBE"),
    ],
    "dead-letters": [_topic(DEAD_LETTER, "READ"), _topic(TASKS, "WRITE")],
    "mq-worker": [
        _topic(TASKS, "READ"),
        _topic(RESULTS, "WRITE"),
        _topic(DEAD_LETTER, "WRITE"),
        _group("iris-mq-workers", "READ"),
    ],
    "share-worker": [
        _topic(TASKS, "READ"),
        _topic(RESULTS, "WRITE"),
        _topic(DEAD_LETTER, "WRITE"),
        _group("iris-share-workers", "READ", "ALTER_CONFIGS"),
    ],
}
PROGRAMS: dict[str, list[str]] = {
    "setup": ["5_task_queue.kafka_setup"],
    "client": [
        "4_message_queue.iris_classifier_cli_client_mq",
        "5_task_queue.iris_classifier_cli_client_task_queue",
    ],
    "worker": ["5_task_queue.iris_classifier_task_queue_worker"],
    "gateway": ["5_task_queue.services.gateway"],
    "persister": ["4_message_queue.iris_classifier_mq_persister", "5_task_queue.beyond.postgres_store"],
    "status": ["5_task_queue.queue_status"],
    "dead-letters": ["5_task_queue.dead_letters"],
    "mq-worker": ["4_message_queue.iris_classifier_mq_worker"],
    "share-worker": ["5_task_queue.beyond.share_group_worker"],
}


def rights_table() -> str:
    """Return the table as the page shows it."""
    lines = ["| user | programs | topics | group | transactional id |", "|---|---|---|---|---|"]
    for role, rights in RIGHTS.items():
        cells = {TOPIC: [], GROUP: [], TRANSACTIONAL_ID: []}
        for right in rights:
            operations = ", ".join(operation.replace("_", " ").lower() for operation in right.operations)
            cells[right.kind].append(f"`{right.name}{'*' * right.prefix}`: {operations}")
        programs = "<br>".join(f"`{name}`" for name in PROGRAMS[role])
        lines.append(f"| `{role}` | {programs} | {' | '.join('<br>'.join(cell) for cell in cells.values())} |")
    return "\n".join(lines)
