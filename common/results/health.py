"""The health test of a persister: are the results being stored that wait for it?

It asks the store how far it has come, not the process whether it runs: a persister can be alive and store nothing.
"""

import time

from confluent_kafka.admin import AdminClient

from common.kafka.offsets import edges
from common.kafka.progress import Partition, with_oldest
from common.kafka.topics import RESULTS, partition_count

from .persister import Store, current_topic_id

LOOK_SECONDS = 0.5  # from one look to the next


def check(admin: AdminClient, store: Store, seconds: float, away: type[Exception]) -> int:
    """Look until every partition with results has moved on, or the time is over; return the exit code.

    `away` is the error of a store that cannot be read.
    """
    try:
        first = now = look(admin, store)
        began = time.monotonic()
        while (found := problems(first, now)) and time.monotonic() - began < seconds:
            time.sleep(min(LOOK_SECONDS, seconds))
            now = look(admin, store)
    except away as error:
        print(f"unhealthy: the store does not answer: {str(error).splitlines()[0]}")
        return 1
    for p in found:
        print(f"{RESULTS}[{p.number}]: {p.lag} results wait, none stored in {time.monotonic() - began:.1f} s")
    lag = sum(p.lag for p in now)
    print(
        "unhealthy"
        if found
        else f"healthy: {lag} results wait, every partition moves on"
        if lag
        else "healthy: none waits"
    )
    return 1 if found else 0


def look(admin: AdminClient, store: Store) -> list[Partition]:
    """Return the state of each partition of `results`, as far as the store knows; an empty list without the topic."""
    numbers = range(partition_count(admin, RESULTS))
    if not numbers:
        return []
    stored, found = store.positions(RESULTS, current_topic_id(admin)), edges(admin, RESULTS, numbers)
    return with_oldest(RESULTS, [Partition(n, *found[n], stored.get(n), None) for n in numbers])


def problems(first: list[Partition], now: list[Partition]) -> list[Partition]:
    """Return the partitions in which results wait, and waited at the first look, and none was stored since."""
    before = {p.number: p for p in first}
    return [p for p in now if p.lag and (was := before.get(p.number)) and was.lag and was.committed == p.committed]
