"""Server-sent events: one task's life, and all results. Both go on where a client was cut off (`Last-Event-ID`).

The id of an event is where it stands in Kafka: `done@2:17` for a task (partition and offset of its result), and for the
results the next offset of every partition, `0:17,1:20`. What is not in memory any more is read from Kafka once again.
"""

import asyncio
import re
from collections.abc import AsyncGenerator
from contextlib import closing

import msgspec
from anyio.to_thread import run_sync
from confluent_kafka import Consumer, Message, TopicPartition
from fastapi.responses import StreamingResponse

from common.kafka.connection import reader_config
from common.kafka.offsets import at_end, place
from common.kafka.topics import RESULTS
from common.web.problems import wrong_input

from .queue.door import FINAL, Door
from .queue.follower import SMALL
from .queue.known import Known

KEEP_ALIVE_SECONDS = 15.0
AT_ONCE = 500  # results that are read again together
_vector = re.compile(r"([0-9]{1,5}:[0-9]{1,18})(,[0-9]{1,5}:[0-9]{1,18})*").fullmatch

Events = AsyncGenerator[bytes, None]


def stream(events: Events) -> StreamingResponse:
    """Return an answer that goes on for as long as there are events."""
    headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
    return StreamingResponse(events, media_type="text/event-stream", headers=headers)


def event(name: str, event_id: str, data: bytes) -> bytes:
    """Return an event as it is sent; data may have several lines."""
    lines = b"\ndata: ".join(data.splitlines())
    return b"event: %s\nid: %s\ndata: %s\n\n" % (name.encode(), event_id.encode(), lines)


async def changed(door: Door) -> bool:
    """Wait until something has changed; return whether it has, or it is time to show that the stream lives."""
    waiting = door.known.changed
    try:
        async with asyncio.timeout(KEEP_ALIVE_SECONDS):
            await waiting.wait()
        return True
    except TimeoutError:
        return False


# --- one task ---


def event_id(door: Door, task: Known) -> str:
    """Return the id of the event that tells a task's present state."""
    state = door.known.state_of(task)
    offset = task.done_offset if state in FINAL else task.offset
    return f"{state}@{max(task.partition, 0)}:{max(offset, 0)}"


async def task_events(door: Door, task: Known, last: str) -> Events:
    """Yield a task's state, and each one that follows, until it has an outcome."""
    with door.streams:
        while True:
            now = event_id(door, task)
            if now != last:
                yield event("state", now, msgspec.json.encode(door.describe(task)))
                last = now
            if task.state in FINAL:
                return
            if not await changed(door):
                yield b": still here\n\n"


# --- all results ---


def read_vector(last: str) -> dict[int, int]:
    """Return the next offset per partition. Raises Problem 422 if the text is not an id of ours."""
    if not _vector(last):
        raise wrong_input("Last-Event-ID: expected PARTITION:OFFSET,... as the events have it.")
    return {int(number): int(offset) for number, offset in (pair.split(":") for pair in last.split(","))}


async def results(door: Door, last: str) -> Events:
    """Yield all results from now on, or from where the client was cut off."""
    view, next_ = door.view, dict(door.view.ends)
    number = view.came
    if last:
        next_ |= read_vector(last)
        number = -1  # read what is between there and now
    with door.streams:
        while True:
            if number < view.came - len(view.recent):
                goal, number = dict(view.ends), view.came
                async for partition, offset, value in again(next_, goal):
                    yield result_event(next_, partition, offset, value)
            fresh = view.recent_from(number)
            for partition, offset, value in fresh:
                if offset >= next_.get(partition, 0):
                    yield result_event(next_, partition, offset, value)
            number += len(fresh)
            if not fresh and not await changed(door):
                yield b": still here\n\n"


def result_event(next_: dict[int, int], partition: int, offset: int, value: bytes) -> bytes:
    """Return a result as an event, and note that it has been read."""
    next_[partition] = offset + 1
    return event("result", ",".join(f"{n}:{next_[n]}" for n in sorted(next_)), value)


async def again(start: dict[int, int], goal: dict[int, int]) -> AsyncGenerator[tuple[int, int, bytes], None]:
    """Yield partition, offset and value of the results between these offsets, from Kafka."""
    left = {number for number, end in goal.items() if start.get(number, end) < end}
    if not left:
        return
    with closing(Consumer(reader_config() | SMALL | {"enable.partition.eof": True})) as consumer:
        consumer.assign([TopicPartition(RESULTS, number, start[number]) for number in left])
        while left:
            messages: list[Message] = await run_sync(consumer.consume, AT_ONCE, 0.1)
            for message in messages:
                if message.error():
                    if at_end(message):
                        left.discard(message.partition() or 0)
                    continue
                number, offset = place(message)
                if offset < goal[number]:
                    yield number, offset, message.value() or b""
                if offset >= goal[number] - 1:
                    left.discard(number)
