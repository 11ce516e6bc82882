"""Stage 5, the queue: how much waits in each partition of `tasks`, and which worker holds it.

With `--check` it is the health test. It looks again and again, for at most `--seconds`, and asks whether what waits is
being done, not whether processes run: a worker can be alive and deaf. Exit code 0: every partition in which tasks wait
has moved on, or nothing waits. Exit code 1: it names the partitions that stand still and those that nobody holds.

Give it more seconds than the slowest task takes: a partition moves on when its tasks are done.

Run: python -m 5_task_queue.queue_status
     python -m 5_task_queue.queue_status --check --seconds 10
"""

import time
from typing import Any, NamedTuple

from confluent_kafka import ConsumerGroupTopicPartitions, KafkaError, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient, OffsetSpec  # pyright: ignore[reportPrivateImportUsage]

from common.errors import ProgramError
from common.kafka.connection import ANSWER_SECONDS, connect, run_with_kafka
from common.kafka.topics import TASKS, partition_count
from common.terminal import ArgumentParser

from .worker.task_queue import GROUP

LOOK_SECONDS = 0.5  # from one look to the next


class Partition(NamedTuple):
    """One partition of `tasks` as the workers' group sees it."""

    number: int
    start: int  # offset of the oldest message that Kafka still has
    end: int  # offset that the next message will have
    committed: int | None  # offset of the next task to be done; None before the first is
    member: str | None  # the worker that holds it

    @property
    def lag(self) -> int:
        """Return how many messages wait."""
        return max(0, self.end - max(self.start, self.committed or 0))


def look(admin: AdminClient) -> list[Partition]:
    """Return the state of each partition of `tasks`; an empty list if there is no such topic."""
    wanted = [TopicPartition(TASKS, number) for number in range(partition_count(admin, TASKS))]
    if not wanted:
        return []
    starts, ends = (_offsets(admin, wanted, at) for at in (OffsetSpec.earliest(), OffsetSpec.latest()))
    asked = admin.list_consumer_group_offsets(
        [ConsumerGroupTopicPartitions(GROUP, wanted)], request_timeout=ANSWER_SECONDS
    )
    answered = asked[GROUP].result(timeout=ANSWER_SECONDS).topic_partitions or []
    committed = {where.partition: where.offset for where in answered if where.offset >= 0}
    members = _members(admin)
    return [Partition(n, starts[n], ends[n], committed.get(n), members.get(n)) for n in range(len(wanted))]


def _offsets(admin: AdminClient, wanted: list[TopicPartition], at: Any) -> dict[int, int]:
    futures = admin.list_offsets({where: at for where in wanted}, request_timeout=ANSWER_SECONDS)  # noqa: C420
    return {where.partition: future.result(timeout=ANSWER_SECONDS).offset for where, future in futures.items()}


def _members(admin: AdminClient) -> dict[int, str]:
    """Return which member of the group holds which partition."""
    try:
        asked = admin.describe_consumer_groups([GROUP], request_timeout=ANSWER_SECONDS)
        group = asked[GROUP].result(timeout=ANSWER_SECONDS)
    except KafkaException as error:
        if error.args[0].code() == KafkaError.GROUP_ID_NOT_FOUND:  # no worker has ever been there
            return {}
        raise
    return {
        where.partition: f"{member.client_id} {member.member_id[:8]} at {member.host.lstrip('/')}"
        for member in group.members
        for where in member.assignment.topic_partitions
        if where.topic == TASKS
    }


def table(partitions: list[Partition]) -> str:
    """Return the table that is printed: a line per partition, and the sums."""
    lines = [f"{'partition':>9}  {'end':>9}  {'committed':>9}  {'lag':>9}  held by"]
    for p in partitions:
        committed = "-" if p.committed is None else p.committed
        lines.append(f"{p.number:>9}  {p.end:>9}  {committed:>9}  {p.lag:>9}  {p.member or 'nobody'}")
    workers = len({p.member for p in partitions if p.member})
    ends, lags = sum(p.end for p in partitions), sum(p.lag for p in partitions)
    done = sum(p.committed or 0 for p in partitions)
    lines.append(f"{'all':>9}  {ends:>9}  {done:>9}  {lags:>9}  {workers} worker{'s' if workers != 1 else ''}")
    return "\n".join(lines)


def problems(first: list[Partition], now: list[Partition], seconds: float) -> list[str]:
    """Return a line for each partition that has not shown, since the first look, that its tasks are being done."""
    before = {p.number: p for p in first}
    found = []
    for p in now:
        was = before.get(p.number)
        if p.lag == 0 or was is None:
            continue
        if p.member is None and was.member is None and p.committed == was.committed:
            found.append(f"partition {p.number}: {p.lag} tasks wait and no worker holds it")
        elif was.lag > 0 and p.committed == was.committed:
            holder = f"held by {p.member}" if p.member else "nobody holds it now"
            found.append(f"partition {p.number} is deaf: {p.lag} tasks wait, none done in {seconds:.1f} s, {holder}")
    return found


def check(admin: AdminClient, seconds: float) -> int:
    """Look until every partition with tasks has moved on, or the time is over; return the exit code."""
    first = look(admin)
    began = time.monotonic()
    now, found = first, problems(first, first, 0.0)
    while found and time.monotonic() - began < seconds:
        time.sleep(min(LOOK_SECONDS, seconds))
        now = look(admin)
        found = problems(first, now, time.monotonic() - began)
    print(table(now))
    for line in found:
        print(line)
    lag = sum(p.lag for p in now)
    print(
        "unhealthy"
        if found
        else f"healthy: {lag} tasks wait, every partition moves on"
        if lag
        else "healthy: none waits"
    )
    return 1 if found else 0


def main(argv: list[str] | None = None) -> int:
    """Print the table, or check."""
    parser = ArgumentParser(__doc__, "kafka_bootstrap_servers")
    parser.add_argument("--check", action="store_true", help="test whether what waits is being done")
    parser.add_argument("--seconds", type=float, default=5.0, metavar="S", help="time to show progress (default: 5)")
    args = parser.parse_args(argv)
    if not 0 < args.seconds <= 3600:
        parser.error(f"--seconds: {args.seconds:g} is not a number above 0 and at most 3600")
    admin = connect()
    try:
        if args.check:
            return check(admin, args.seconds)
        print(table(look(admin)))
    except KafkaException as error:
        raise ProgramError(f"Kafka does not answer: {error.args[0].str()}.") from None
    return 0


if __name__ == "__main__":
    run_with_kafka(main)
