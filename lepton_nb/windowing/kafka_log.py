"""A Kafka topic as a log: its partitions, where they begin and end, and the messages between two offsets.

No consumer group takes part: partitions are assigned, and offsets come from the caller. A broker that is gone is waited
for; secrets in the options appear in no message and no repr.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, NoReturn, TypeVar

from lepton_nb.errors import DataError
from lepton_nb.windowing.kafka_connection import Connection

if TYPE_CHECKING:
    from confluent_kafka import Consumer, KafkaError, Message

T = TypeVar("T")

# A read takes what lies up to an offset: what the client fetches beyond is in vain, and a fetch that waits for more
# holds up the next one.
CONSUMER_DEFAULTS = {
    "log_level": 0,
    "queued.max.messages.kbytes": 8192,
    "fetch.queue.backoff.ms": 10,
    "fetch.wait.max.ms": 10,
}
RETRY_S = 0.1
METADATA_S = 5.0
MOST_AT_ONCE = 100_000
# Consumers that wait to be used again; connecting takes longer than reading a small part.
KEPT_CONSUMERS = 8
KEPT_S = 60.0


class Log:
    """Reads topics through one consumer; not for two threads at a time."""

    def __init__(self, connection: Connection) -> None:
        from confluent_kafka import Consumer

        self.connection = connection
        self._trouble: KafkaError | None = None
        settings = CONSUMER_DEFAULTS | {
            "group.id": connection.group or "lepton-nb",
            "enable.auto.commit": False,
            "enable.auto.offset.store": False,
            "auto.offset.reset": "error",
            "enable.partition.eof": True,
            "error_cb": self._on_error,
        }
        self._consumer: Consumer = connection.client(Consumer, settings)
        self._watched: dict[int, int] = {}

    def partitions(self, topic: str) -> list[int]:
        """The numbers of the topic's partitions; DataError where there is no such topic."""
        from confluent_kafka import KafkaError

        known = self._asking(lambda left_s: self._consumer.list_topics(topic, timeout=left_s)).topics[topic]
        if known.error is not None:
            if known.error.code() in (KafkaError.TOPIC_AUTHORIZATION_FAILED, KafkaError.TOPIC_EXCEPTION):
                self._refused(known.error)
            raise DataError(
                f"there is no topic {topic!r} at {self.connection.servers}: {known.error.str()}; "
                "check its name, or create it first",
                topic=topic,
                servers=self.connection.servers,
            )
        return sorted(known.partitions)

    def bounds(self, topic: str, partition: int) -> tuple[int, int]:
        """The first offset that is kept, and the end as the broker tells it; some tell one that is too small."""
        from confluent_kafka import TopicPartition

        place = TopicPartition(topic, partition)
        low, high = self._asking(lambda left_s: self._consumer.get_watermark_offsets(place, timeout=left_s))
        return low, high

    def ends(self, topic: str, partitions: Iterable[int]) -> dict[int, int]:
        """The offset behind the last message of each partition, found by reading up to it."""
        ends = {partition: self.bounds(topic, partition)[1] for partition in partitions}
        missing = set(ends)
        deadline = time.monotonic() + self.connection.timeout_s
        self._assign(topic, ends)
        while missing:
            for message in self._batch(MOST_AT_ONCE, RETRY_S):
                partition, offset = _place(message)
                if message.error() is None:
                    ends[partition] = offset + 1
                elif self._is_end(message, topic):
                    ends[partition] = max(ends[partition], offset)
                    missing.discard(partition)
            if missing and time.monotonic() > deadline:
                self._gone()
        self.unassign()
        return ends

    def wait(self, topic: str, at: Mapping[int, int], wait_s: float) -> dict[int, int]:
        """Wait for messages at or behind the offsets `at`; gives the new ends, equal to `at` where none came."""
        if self._watched != at:
            self._assign(topic, at)
        deadline = time.monotonic() + wait_s
        while self._watched == at:
            left_s = deadline - time.monotonic()
            # Short waits, so that Ctrl-C is seen.
            for message in self._batch(MOST_AT_ONCE, min(max(0.0, left_s), 0.2)):
                partition, offset = _place(message)
                if message.error() is None:
                    self._watched[partition] = offset + 1
                else:
                    self._is_end(message, topic)
            if left_s <= 0:
                break
        return dict(self._watched)

    def read(self, topic: str, partition: int, start: int, stop: int) -> list[Message]:
        """The messages with offsets in [start, stop), in order; offsets without a message are left out.

        Raises DataError where no broker answers in time, and where the partition does not hold these offsets.
        """
        found: list[Message] = []
        at = start
        deadline = time.monotonic() + self.connection.timeout_s
        self._assign(topic, {partition: start})
        while at < stop:
            messages = self._batch(min(stop - at, MOST_AT_ONCE), RETRY_S)
            for message in messages:
                _, offset = _place(message)
                if message.error() is None:
                    at = offset + 1
                    found.append(message)
                elif self._is_end(message, topic):
                    at = max(at, offset)
            if messages:
                deadline = time.monotonic() + self.connection.timeout_s
            elif time.monotonic() > deadline:
                self._short(topic, partition, at, stop)
        # Where offsets are missing, the batch may have gone past the stop.
        while found and (found[-1].offset() or 0) >= stop:
            found.pop()
        self.unassign()
        return found

    def commit(self, topic: str, offsets: Mapping[int, int]) -> None:
        """Tell the broker how far the group has come, for tools that show the lag."""
        from confluent_kafka import TopicPartition

        places = [TopicPartition(topic, partition, offset) for partition, offset in offsets.items()]
        self._asking(lambda _: self._consumer.commit(offsets=places, asynchronous=False))

    def unassign(self) -> None:
        """Fetch no more."""
        self._consumer.unassign()
        self._watched = {}

    def close(self) -> None:
        """Give back threads and connections."""
        self._consumer.close()

    def _assign(self, topic: str, at: Mapping[int, int]) -> None:
        from confluent_kafka import TopicPartition

        self._consumer.assign([TopicPartition(topic, partition, offset) for partition, offset in at.items()])
        self._watched = dict(at)

    def _batch(self, most: int, wait_s: float) -> list[Message]:
        """What is there, at once; waits only where there is nothing."""
        first = self._consumer.poll(wait_s)
        if first is None:
            self._stop_at_refusal()
            return []
        return [first, *self._consumer.consume(most - 1, 0)] if most > 1 else [first]

    def _is_end(self, message: Message, topic: str) -> bool:
        """True at the end of a partition; DataError where waiting does not help; False where it may."""
        from confluent_kafka import KafkaError

        error = message.error()
        assert error is not None
        if error.code() == KafkaError._PARTITION_EOF:
            return True
        if error.code() in (KafkaError._AUTO_OFFSET_RESET, KafkaError.OFFSET_OUT_OF_RANGE):
            partition, _ = _place(message)
            self.check(topic, partition, self._watched[partition])
        self._trouble = error
        self._stop_at_refusal()
        return False

    def check(self, topic: str, partition: int, at: int, end: int | None = None) -> None:
        """DataError where the partition has lost the offset `at`, or never came so far; `end`: its known end."""
        low, high = self.bounds(topic, partition)
        high = high if end is None else end
        if at < low:
            raise DataError(
                f"offsets {at:,} to {low - 1:,} of {topic}/{partition} are no longer kept: they were deleted before "
                "they were read; raise the topic's retention, or start anew with a new checkpoint",
                topic=topic,
                partition=partition,
                at=at,
                low=low,
            )
        if at > high:
            self._short(topic, partition, high, at)

    def _short(self, topic: str, partition: int, at: int, stop: int) -> NoReturn:
        if self._is_down():
            self._gone()
        raise DataError(
            f"{topic}/{partition} ends at offset {at:,}, but was read or planned up to {stop:,}: the topic was made "
            "anew, or its broker has lost messages; start anew with a new checkpoint",
            topic=topic,
            partition=partition,
            at=at,
            stop=stop,
        )

    def _is_down(self) -> bool:
        from confluent_kafka import KafkaException

        try:
            self._consumer.list_topics(timeout=min(METADATA_S, self.connection.timeout_s))
        except KafkaException:
            return True
        return False

    def _asking(self, ask: Callable[[float], T]) -> T:
        """What `ask(seconds)` gives, asked again while no broker answers."""
        from confluent_kafka import KafkaError, KafkaException

        refusals = (KafkaError.GROUP_AUTHORIZATION_FAILED, KafkaError.TOPIC_AUTHORIZATION_FAILED)
        deadline = time.monotonic() + self.connection.timeout_s
        # Short at first: reports of the client, such as a refused login, arrive between two tries.
        patience_s = 0.5
        while True:
            left_s = deadline - time.monotonic()
            try:
                answer = ask(min(patience_s, max(left_s, RETRY_S)))
            except KafkaException as failed:
                error = failed.args[0]
            else:
                self._trouble = None
                return answer
            if error.code() in refusals:
                self._refused(error)
            if self._trouble is None:
                self._trouble = error
            # Polling hands over the reports. Messages must not be lost by it.
            if not self._watched:
                self._consumer.poll(0)
            self._stop_at_refusal()
            if left_s <= RETRY_S:
                self._gone()
            patience_s = min(METADATA_S, 2 * patience_s)
            time.sleep(RETRY_S)

    def _on_error(self, error: KafkaError) -> None:
        from confluent_kafka import KafkaError

        # The summary says less than the reason that came before it.
        if error.code() != KafkaError._ALL_BROKERS_DOWN or self._trouble is None:
            self._trouble = error

    def _stop_at_refusal(self) -> None:
        from confluent_kafka import KafkaError

        lasting = (KafkaError._AUTHENTICATION, KafkaError.TOPIC_AUTHORIZATION_FAILED)
        if self._trouble is not None and self._trouble.code() in lasting:
            self._refused(self._trouble)

    def _refused(self, error: KafkaError) -> NoReturn:
        raise DataError(
            f"Kafka at {self.connection.servers} refuses: {self.connection.public(error.str())}; check the login in "
            "options= and what it is allowed to do",
            servers=self.connection.servers,
        )

    def _gone(self) -> NoReturn:
        reason = self.connection.public(self._trouble.str()) if self._trouble else "no answer"
        raise DataError(
            f"no Kafka broker at {self.connection.servers} has answered for {self.connection.timeout_s:g} s "
            f"({reason}); check servers= and that it runs, or give a longer timeout_s",
            servers=self.connection.servers,
            timeout_s=self.connection.timeout_s,
        )


def _place(message: Message) -> tuple[int, int]:
    partition, offset = message.partition(), message.offset()
    return -1 if partition is None else partition, -1 if offset is None else offset


_lock = threading.Lock()
_idle: list[tuple[float, Log]] = []


@contextlib.contextmanager
def borrowed(connection: Connection) -> Iterator[Log]:
    """A log of this process for one thread; it is kept for the next one that asks, for a minute."""
    with _lock:
        at = next((i for i, (_, log) in enumerate(_idle) if log.connection.identity == connection.identity), None)
        log = None if at is None else _idle.pop(at)[1]
    log = log or Log(connection)
    log.connection = connection
    try:
        yield log
    except BaseException:
        log.close()
        raise
    with _lock:
        _idle.append((time.monotonic(), log))
    _close(lambda place, since, _: place >= KEPT_CONSUMERS or time.monotonic() - since > KEPT_S)


def close_idle(connection: Connection) -> None:
    """Close the kept consumers of this process that have this connection."""
    _close(lambda _place, _since, log: log.connection.identity == connection.identity)


def _close(unwanted: Callable[[int, float, Log], bool]) -> None:
    with _lock:
        newest_first = list(reversed(_idle))
        closing = [log for place, (since, log) in enumerate(newest_first) if unwanted(place, since, log)]
        _idle[:] = [kept for kept in _idle if kept[1] not in closing]
    for log in closing:
        log.close()
