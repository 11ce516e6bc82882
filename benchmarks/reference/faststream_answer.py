"""The answering side of the raw round trip as a FastStream application, as its documentation shows it; no model.

Started by: python -m benchmarks.reference.raw_round_trip --answer-with benchmarks.reference.faststream_answer
"""

import argparse
import asyncio

from faststream import FastStream
from faststream.confluent import KafkaBroker, KafkaMessage

RESULT_BYTES = 285


def main() -> None:
    """Answer each message until SIGTERM."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--servers", default="localhost:9092")
    parser.add_argument("--tasks", default="raw-tasks")
    parser.add_argument("--results", default="raw-results")
    args, _ = parser.parse_known_args()
    broker = KafkaBroker(args.servers, logger=None)
    value = b"x" * RESULT_BYTES

    @broker.subscriber(
        args.tasks,
        group_id="faststream",
        auto_offset_reset="earliest",  # `latest` misses what comes between the assignment and the first fetch
        on_assign=lambda *_: print("ready", flush=True),
    )
    async def answer(body: bytes, message: KafkaMessage) -> None:
        await broker.publish(value, args.results, key=message.raw_message.key())  # pyright: ignore[reportAttributeAccessIssue]

    asyncio.run(FastStream(broker, logger=None).run())


if __name__ == "__main__":
    main()
