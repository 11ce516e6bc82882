"""Stage 5, the topics: creates `tasks` and `results` with N partitions, or grows them. Can be run again at any time.

Unlike stage 4, whose programs create topics with one partition:
- the number of partitions is a decision: it is the largest number of workers that can work at the same time;
- partitions can be added, never taken away;
- messages carry the broker's time, also in topics that were made without that: time limits need one clock for all.

Run: python -m 5_task_queue.kafka_setup --partitions 4
"""

from common.kafka.connection import connect, run_with_kafka
from common.kafka.topics import (
    DEAD_LETTER,
    RESULTS,
    STAGE_5,
    TASKS,
    create_topics,
    partition_count,
    use_broker_clock,
)
from common.terminal import ArgumentParser


def main(argv: list[str] | None = None) -> int:
    """Create or grow the topics, and say what was done."""
    parser = ArgumentParser(__doc__, "kafka_bootstrap_servers")
    parser.add_argument("--partitions", type=int, default=4, metavar="N", help="partitions of tasks and results")
    args = parser.parse_args(argv)
    if not 1 <= args.partitions <= 1000:
        parser.error(f"--partitions: {args.partitions} is not a number from 1 to 1000")

    admin = connect()
    before = admin.list_topics(timeout=5).topics
    done = create_topics(admin, args.partitions, STAGE_5)
    for topic in (TASKS, RESULTS, DEAD_LETTER, *STAGE_5):
        count = done.get(topic) or partition_count(admin, topic)
        what = "unchanged" if topic not in done else "grown" if topic in before else "created"
        print(f"{topic}: {what}, {count} partition{'s' if count != 1 else ''}")
        if why := use_broker_clock(admin, topic):
            print(
                f"{topic}: its messages keep the time of their senders' clocks, as Kafka refuses to change that: {why}"
            )
    return 0


if __name__ == "__main__":
    run_with_kafka(main)
