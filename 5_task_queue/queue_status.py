"""Stage 5, the queue: how much waits in each partition of `tasks`, and which worker holds it.

With `--check` it is the health test. It looks again and again, for at most `--seconds`, and asks whether what waits is
being done, not whether processes run: a worker can be alive and deaf. Exit code 0: every partition in which tasks wait
has moved on, or nothing waits. Exit code 1: it names the partitions that stand still and those that nobody holds, or
says that most of what arrived in the last minute is not a task.

With `--worker NAME` as well it is the health test of one worker, as a container needs it: the worker must be in the
group, even if it holds nothing, and only its partitions count. One deaf worker does not make the others unhealthy.

Give it more seconds than the slowest task takes: a partition moves on when its tasks are done.

Run: python -m 5_task_queue.queue_status
     python -m 5_task_queue.queue_status --check --seconds 10
     python -m 5_task_queue.queue_status --group iris-mq-workers
"""

import time

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from common.errors import ProgramError
from common.kafka.connection import connect, run_with_kafka
from common.kafka.progress import Partition, hours_left, look, members, topic_settings, written_since
from common.kafka.refusals import raise_if_forbidden
from common.kafka.topics import DEAD_LETTER, TASKS
from common.terminal import ArgumentParser

from .worker.task_queue import GROUP

LOOK_SECONDS = 0.5  # from one look to the next
MINUTE_MS = 60_000
MANY = 100  # dead letters in a minute that are worth a word


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


def bad_senders(admin: AdminClient) -> list[str]:
    """Return a line if most of what has arrived in the last minute is not a task."""
    since = int(time.time() * 1000) - MINUTE_MS
    letters, tasks = (written_since(admin, topic, since) for topic in (DEAD_LETTER, TASKS))
    if letters < MANY or letters < tasks / 2:
        return []
    return [f"most of what arrives is not a task: {letters} dead letters and {tasks} messages in a minute"]


def warnings(admin: AdminClient, partitions: list[Partition]) -> list[str]:
    """Return a line for each partition whose oldest task is soon deleted, and one if the senders' clocks count."""
    if not partitions:
        return []
    settings, found = topic_settings(admin, TASKS), []
    for p in partitions:
        if p.oldest_ms and (left := hours_left(p.oldest_ms, settings)) is not None:
            found.append(f"partition {p.number}: its oldest task will be deleted by age in {left:.1f} hours")
    if settings.get("message.timestamp.type") == "CreateTime":
        found.append("time limits count by the senders' clocks: python -m 5_task_queue.kafka_setup changes that")
    return found


def check(admin: AdminClient, group: str, seconds: float) -> int:
    """Look until every partition with tasks has moved on, or the time is over; return the exit code."""
    first = look(admin, group, TASKS)
    began = time.monotonic()
    now, found = first, problems(first, first, 0.0)
    while found and time.monotonic() - began < seconds:
        time.sleep(min(LOOK_SECONDS, seconds))
        now = look(admin, group, TASKS)
        found = problems(first, now, time.monotonic() - began)
    return report(now, found + bad_senders(admin), warnings(admin, now))


def check_worker(admin: AdminClient, group: str, seconds: float, worker: str) -> int:
    """Look until every partition of this worker in which tasks wait has moved on; return the exit code."""
    client_id = f"worker-{worker}"
    first, began = look(admin, group, TASKS), time.monotonic()
    while True:
        now, took = look(admin, group, TASKS), time.monotonic() - began
        mine = [p for p in now if p.member and p.member.split()[0] == client_id]
        found = problems(first, mine, took)
        if all(one.client_id != client_id for one in members(admin, group)):
            found = [f"worker {worker} is not in the group {group}"]
        if not found or took >= seconds:
            return report(mine, found)
        time.sleep(min(LOOK_SECONDS, seconds))


def report(now: list[Partition], found: list[str], warned: list[str] | None = None) -> int:
    """Print the table, what was found and what it comes to; return the exit code."""
    print(table(now))
    for line in [*found, *(warned or [])]:
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
    parser.add_argument(
        "--group", default=GROUP, metavar="G", help="of other workers of the topic (default: stage 5's)"
    )
    parser.add_argument("--check", action="store_true", help="test whether what waits is being done")
    parser.add_argument("--worker", metavar="NAME", help="check this worker only (IRIS_WORKER_NAME, or its number)")
    parser.add_argument("--seconds", type=float, default=5.0, metavar="S", help="time to show progress (default: 5)")
    args = parser.parse_args(argv)
    if not 0 < args.seconds <= 3600:
        parser.error(f"--seconds: {args.seconds:g} is not a number above 0 and at most 3600")
    admin = connect()
    try:
        if args.check and args.worker:
            return check_worker(admin, args.group, args.seconds, args.worker)
        if args.check:
            return check(admin, args.group, args.seconds)
        partitions = look(admin, args.group, TASKS)
        print("\n".join([table(partitions), *warnings(admin, partitions)]))
    except KafkaException as error:
        raise_if_forbidden(error.args[0])
        raise ProgramError(f"Kafka does not answer: {error.args[0].str()}.") from None
    return 0


if __name__ == "__main__":
    run_with_kafka(main)
