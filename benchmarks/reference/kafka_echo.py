"""The raw limit of a worker: consume a batch, produce a value of a result's size for each, flush, commit.

No decoding, no model, no validation. What was found to matter, most of all first:
- `fetch.queue.backoff.ms`: the default, 1000, lets a consumer whose local queue was full wait for a second;
- `consume()` of thousands at a time instead of `poll()` of one (0.5 µs per message);
- no key and no delivery callback (0.45 µs per message; a key costs 0.25 more). `produce_batch()` without keys takes as
  long as `produce()`, and with keys longer, as it wants a dictionary per message;
- delivery of one batch overlaps with the work on the next; the commit follows without waiting for its answer.

Run: python -m benchmarks.reference.kafka_echo --servers localhost:9092 --count 1000000
"""

import argparse
import json
import signal
import time

from confluent_kafka import Consumer, KafkaException, Producer

RESULT_BYTES = 285  # a result of stage 5 with its probabilities


def arguments() -> argparse.Namespace:
    """Return the arguments."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--servers", default="localhost:9092")
    parser.add_argument("--tasks", default="tasks", help="topic to read")
    parser.add_argument("--results", default="results", help="topic to write")
    parser.add_argument("--group", default="reference-echo")
    parser.add_argument("--count", type=int, required=True, help="messages after which it ends")
    parser.add_argument("--batch", type=int, default=10_000, help="most messages to take at once")
    parser.add_argument("--size", type=int, default=RESULT_BYTES, help="bytes of each value that is produced")
    parser.add_argument("--produce-batch", action="store_true", help="produce_batch() instead of produce()")
    parser.add_argument("--keyed", action="store_true", help="give each value the key of the message that it answers")
    parser.add_argument("--wait", action="store_true", help="wait for delivery before the next batch is taken")
    return parser.parse_args()


def clients(servers: str, group: str) -> tuple[Consumer, Producer]:
    """Return a consumer and a producer with the settings that were found to be the fastest."""
    consumer = Consumer(
        {
            "bootstrap.servers": servers,
            "group.id": group,
            "auto.offset.reset": "earliest",
            "enable.auto.commit": False,
            "fetch.queue.backoff.ms": 10,
        }
    )
    producer = Producer(
        {
            "bootstrap.servers": servers,
            "linger.ms": 5,
            "batch.size": 1_000_000,
            "queue.buffering.max.messages": 1_000_000,
            "delivery.report.only.error": True,
        }
    )
    return consumer, producer


def main() -> None:
    """Echo until `--count` messages or SIGTERM; print one line of JSON."""
    args = arguments()
    ended = []
    signal.signal(signal.SIGTERM, lambda *_: ended.append(True))
    consumer, producer = clients(args.servers, args.group)
    consumer.subscribe([args.tasks])
    value = b"x" * args.size
    produce = producer.produce
    done, started, waiting = 0, 0.0, None
    while done < args.count and not ended:
        first = consumer.poll(0.2 if waiting is None else 0)
        messages = [] if first is None else [first, *consumer.consume(args.batch - 1, 0)]
        if waiting is not None:
            producer.flush()
            commit(consumer, waiting)
            waiting = None
        if not messages:
            continue
        started = started or time.perf_counter()
        if args.produce_batch:
            keys = ({"key": m.key()} if args.keyed else {} for m in messages)
            producer.produce_batch(args.results, [{"value": value, **key} for key in keys])
        elif args.keyed:
            for message in messages:
                produce(args.results, value, message.key())
        else:
            for _ in messages:
                produce(args.results, value)
        done += len(messages)
        waiting = {m.partition(): m for m in messages}
        if args.wait:
            producer.flush()
            commit(consumer, waiting)
            waiting = None
    producer.flush()
    if waiting:
        commit(consumer, waiting)
    seconds = time.perf_counter() - started if started else 0.0
    consumer.close()
    print(json.dumps({"messages": done, "seconds": round(seconds, 3), "rate": round(done / seconds) if seconds else 0}))


def commit(consumer: Consumer, last: dict) -> None:
    """Commit behind the last message of each partition, without waiting for the answer."""
    for message in last.values():
        try:
            consumer.commit(message=message, asynchronous=True)
        except KafkaException:
            continue


if __name__ == "__main__":
    main()
