"""Where to go on reading: what a worker and a persister share as members of a consumer group.

The group hands out the partitions. Where to go on in each stands elsewhere: in the group's committed offsets (worker)
or in the store (persister). Both take messages in batches, and rewind to that place when a batch could not be finished.
"""

from collections.abc import Callable, Iterable

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

from .connection import check_member
from .offsets import place

NO_SUCH_OFFSET = (KafkaError._AUTO_OFFSET_RESET, KafkaError.OFFSET_OUT_OF_RANGE)

Positions = Callable[[list[int]], list[TopicPartition]]


class GroupReader:
    """Takes messages of one topic, in order within each partition.

    `positions` returns where to go on in these partitions, or an empty list if that is not known at the moment.
    """

    def __init__(self, consumer: Consumer, topic: str, positions: Positions) -> None:
        self.next: dict[int, int] = {}  # per partition held: the offset after the last message that was finished
        self.behind = False  # messages were taken and not finished: rewind before anything else is taken
        self._consumer, self._topic, self._positions = consumer, topic, positions
        self._rebalances = 0

    @property
    def partitions(self) -> list[int]:
        """Return the numbers of the partitions held."""
        return sorted(self.next)

    def assigned(self, partitions: list[TopicPartition]) -> None:
        """Take over partitions."""
        self._rebalances += 1
        start = self._positions([one.partition for one in partitions])
        self._consumer.incremental_assign(start or partitions)
        self.next.update({one.partition: one.offset for one in start or partitions})
        if start:
            self.placed(start)
        else:  # the partitions are ours, but nothing is taken from them until it is known where to go on
            self.rewind()

    def placed(self, start: list[TopicPartition]) -> None:
        """Take note where partitions begin, before anything is taken from them. For subclasses."""

    def revoked(self, partitions: list[TopicPartition]) -> None:
        """Give partitions back."""
        self._rebalances += 1
        for one in partitions:
            self.next.pop(one.partition, None)
        self._consumer.incremental_unassign(partitions)

    def finished(self, ends: dict[int, int]) -> None:
        """Note the offsets after messages that need not be taken again."""
        self.next.update({number: end for number, end in ends.items() if number in self.next})

    def rewind(self) -> None:
        """Go back to where `positions` says, in every partition, before anything else is taken."""
        self.behind = True

    def in_place(self) -> bool:
        """Go back if that is due; return whether messages can be taken."""
        if not self.behind:
            return True
        start = self._positions(self.partitions) if self.next else []
        if len(start) < len(self.next):
            self._consumer.poll(0)  # for rebalances and errors; a message would come after a gap
            return False
        try:  # a mere seek is refused where the library has stopped reading after an error
            self._consumer.incremental_unassign(start)
            self._consumer.incremental_assign(start)
        except KafkaException:  # a partition is just coming or leaving: once more
            self._consumer.poll(0.05)
            return False
        self.next.update({one.partition: one.offset for one in start})
        self.behind = False
        self.placed(start)
        return True

    def take(self, most: int, seconds: float) -> list[Message]:
        """Return up to `most` messages that are there already, or wait for one, at most this long.

        A lone message is not held back for the sake of a batch: `poll` returns it as soon as it comes, and `consume`
        with a timeout of 0 adds what is there already.
        """
        if not self.in_place():
            return []
        rebalances = self._rebalances
        first = self._consumer.poll(seconds)
        # `if first` would be false for a message with an empty value
        messages = [first, *(self._consumer.consume(most - 1, 0) if most > 1 else [])] if first is not None else []
        for message in filter(Message.error, messages):
            check_member(message)
            if message.error().code() in NO_SUCH_OFFSET:  # pyright: ignore[reportOptionalMemberAccess]
                self.rewind()
        if self.behind:
            return []
        if self._rebalances != rebalances:  # some may be another member's by now
            self.put_back(messages)
            return []
        return [message for message in messages if not message.error() and self._is_new(*place(message))]

    def _is_new(self, number: int, offset: int) -> bool:
        return number in self.next and offset >= self.next[number]

    def put_back(self, messages: Iterable[Message]) -> None:
        """Take these messages again later, as far as their partitions are still held."""
        try:
            for number in {place(message)[0] for message in messages} & self.next.keys():
                self._consumer.seek(TopicPartition(self._topic, number, self.next[number]))
        except KafkaException:
            self.rewind()
