"""The raw limit of one task's round trip: produce, consume, produce, consume, in two processes; no model, no checks.

The asker positions itself once, then sends one message at a time and waits for the one with the same key. The other
process, which this one starts, answers with a value of a result's size. Nothing is committed unless asked for. With
`--blocks` each line of standard input is a number of rounds, and the seconds of each round are the answer.

Run: python -m benchmarks.reference.raw_round_trip --servers localhost:9092 --rounds 1000
"""

import argparse
import json
import signal
import subprocess
import sys
import time
import uuid

from confluent_kafka import Consumer, Producer, TopicPartition

TASK_BYTES, RESULT_BYTES = 150, 285
WARM_UP = 50  # rounds that do not count
ANSWER_SECONDS = 20.0


def clients(args: argparse.Namespace) -> tuple[Consumer, Producer]:
    """Return a consumer that is positioned behind the last message of `args.reads`, and a producer."""
    common = {"bootstrap.servers": args.servers}
    consumer = Consumer(common | {"group.id": args.group, "enable.auto.commit": False, "fetch.queue.backoff.ms": 10})
    positions = []
    for number in consumer.list_topics(args.reads, timeout=10).topics[args.reads].partitions:
        where = TopicPartition(args.reads, number)
        where.offset = consumer.get_watermark_offsets(where, timeout=10)[1]
        positions.append(where)
    consumer.assign(positions)
    return consumer, Producer(common | {"linger.ms": args.linger_ms})


def answer(args: argparse.Namespace) -> None:
    """Answer each message until SIGTERM."""
    ended = []
    signal.signal(signal.SIGTERM, lambda *_: ended.append(True))
    consumer, producer = clients(args)
    print("ready", flush=True)
    value = b"x" * RESULT_BYTES
    while not ended:
        message = consumer.poll(0.2)
        if message is None or message.error():
            continue
        producer.produce(args.writes, value, message.key())
        if args.commit != "none":
            producer.flush()
            consumer.commit(message=message, asynchronous=args.commit == "async")
    consumer.close()


def ask(args: argparse.Namespace, consumer: Consumer, producer: Producer, rounds: int) -> list[float]:
    """Return the seconds that each round has taken."""
    value = b"x" * TASK_BYTES
    times = []
    for _ in range(rounds):
        key = str(uuid.uuid4()).encode()
        start = time.perf_counter()
        producer.produce(args.writes, value, key)
        while True:
            producer.poll(0)
            message = consumer.poll(0.5)
            if message is not None and not message.error() and message.key() == key:
                break
            if time.perf_counter() - start > ANSWER_SECONDS:
                raise SystemExit("No answer.")
        times.append(time.perf_counter() - start)
    return times


def main() -> None:
    """Start the process that answers, ask, print one line of JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--servers", default="localhost:9092")
    parser.add_argument("--tasks", default="raw-tasks")
    parser.add_argument("--results", default="raw-results")
    parser.add_argument("--group", default="reference-round-trip")
    parser.add_argument("--rounds", type=int, default=1000)
    parser.add_argument("--blocks", action="store_true", help="ask as often as the lines of standard input say")
    parser.add_argument("--linger-ms", type=float, default=0)
    parser.add_argument("--commit", choices=["none", "async", "sync"], default="none", help="after each answer")
    parser.add_argument("--answer", action="store_true", help="be the process that answers")
    parser.add_argument("--answer-with", default="benchmarks.reference.raw_round_trip", help="the module that answers")
    args = parser.parse_args()
    if args.answer:
        args.reads, args.writes = args.tasks, args.results
        return answer(args)
    args.reads, args.writes = args.results, args.tasks
    command = [sys.executable, "-m", args.answer_with, "--answer", *sys.argv[1:]]
    with subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE) as other:
        try:
            assert other.stdout and other.stdout.readline() == b"ready\n"
            consumer, producer = clients(args)
            if args.blocks:
                for line in sys.stdin:
                    print(json.dumps(ask(args, consumer, producer, int(line))), flush=True)
                return None
            times = sorted(ask(args, consumer, producer, WARM_UP + args.rounds)[WARM_UP:])
        finally:
            other.terminate()
    p50, p99 = (1000 * times[int(share * (len(times) - 1))] for share in (0.5, 0.99))
    print(json.dumps({"rounds": len(times), "p50_ms": round(p50, 3), "p99_ms": round(p99, 3)}))
    return None


if __name__ == "__main__":
    main()
