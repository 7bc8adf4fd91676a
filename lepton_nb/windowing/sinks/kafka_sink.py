"""A Kafka topic as a sink: one message a window, each batch once."""

from __future__ import annotations

import itertools
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NoReturn

import polars as pl

from lepton_nb.errors import DataError, WindowError
from lepton_nb.windowing.kafka_connection import Connection
from lepton_nb.windowing.kafka_log import Log
from lepton_nb.windowing.sinks import json_rows
from lepton_nb.windowing.sinks.base import Sink

if TYPE_CHECKING:
    from confluent_kafka import KafkaError, Message, Producer

BATCH, ROW = "batch", "row"
# How many messages from a partition's end are looked at first; twice as many where a batch goes further back.
TAIL_MESSAGES = 1000
SEND_S = 0.1


def kafka(topic: str, *, servers: str, options: Mapping[str, Any] | None = None, timeout_s: float = 60.0) -> KafkaSink:
    """Windows as messages of a Kafka topic, at `servers` such as "localhost:9092,other:9092".

    The value is a JSON object of the row: times as ISO 8601 in UTC ("2013-01-01T10:00:00.000000Z"), floats that JSON
    lacks as the text "NaN", "Infinity" or "-Infinity", null as null. The key is the JSON list of the window's keys,
    window_start and window_end: a topic with cleanup.policy=compact keeps each window's latest row. A window that is
    taken back gets a message without a value, which compaction takes for its removal. The headers `batch` and `row` say
    which batch of the stream a message belongs to, and its place in it.

    A batch that is written again, after a crash in its middle, is completed: what of it is in the topic already is not
    sent twice. All replicas have a batch when `write` returns. The topic must be there, and belongs to one stream at a
    time; adding partitions to it would move keys, and so break the order of a window's rows.
    options: passed through to the Kafka client: "security.protocol", "sasl.username" and so on; secrets are not shown.
    timeout_s: how long a broker may be gone, in seconds, before `write` fails.
    """
    return KafkaSink(topic, Connection(servers, dict(options or {}), None, timeout_s))


@dataclass(frozen=True)
class _Outgoing:
    key: bytes
    value: bytes | None
    row: int


class KafkaSink(Sink):
    """Writes to a topic; see `kafka`."""

    name = "kafka"

    def __init__(self, topic: str, connection: Connection) -> None:
        self._topic, self._connection = topic, connection
        self._schema = pl.Schema()
        self._window: list[str] = []
        self._producer: Producer | None = None
        self._log: Log | None = None
        self._trouble: KafkaError | None = None
        # True while the topic may hold a part of the next batch.
        self._doubt = True

    def __repr__(self) -> str:
        return f"KafkaSink({self._topic!r}, servers={self._connection.servers!r})"

    def open(self, schema: pl.Schema, keys: Sequence[str], *, refires: bool) -> None:
        json_rows.check(schema)
        self.close()
        self._schema, self._window, self._doubt = schema, [*keys, "window_start", "window_end"], True
        self._log = Log(self._connection)
        try:
            self._check()
            self._producer = self._new_producer()
        except BaseException:
            self.close()
            raise

    def write(self, batch: int, rows: pl.DataFrame, retracted: pl.DataFrame) -> None:
        outgoing = [_Outgoing(key, None, i) for i, key in enumerate(json_rows.lists(retracted.select(self._window)))]
        rows = rows.select(self._schema.names())
        pairs = zip(json_rows.lists(rows.select(self._window)), json_rows.objects(rows), strict=True)
        outgoing += [_Outgoing(key, value, len(outgoing) + i) for i, (key, value) in enumerate(pairs)]
        if self._doubt:
            there = self._there(batch)
            outgoing = [message for message in outgoing if (message.key, message.value) not in there]
        self._doubt = True
        self._send(batch, outgoing)
        self._doubt = False

    def table(self) -> pl.DataFrame:
        """Every window once, with its latest values, sorted by key, window_start and window_end; also when closed.

        Raises DataError where a message of the topic is no row of this stream.
        """
        if not self._window:
            raise WindowError("the Kafka sink was never open; call open(schema, keys, refires=...) first")
        log = Log(self._connection)
        try:
            latest = self._latest(log)
        finally:
            log.close()
        try:
            table = json_rows.frame(latest, self._schema)
        except (ValueError, KeyError, TypeError, pl.exceptions.PolarsError) as error:
            raise DataError(
                f"the topic {self._topic!r} holds messages that are no rows of this stream: {error}; use a topic of "
                "its own",
                topic=self._topic,
            ) from error
        return table.sort(self._window, maintain_order=True)

    def _latest(self, log: Log) -> list[bytes]:
        latest: dict[bytes, bytes] = {}
        for partition, end in log.ends(self._topic, log.partitions(self._topic)).items():
            low, _ = log.bounds(self._topic, partition)
            for message in log.read(self._topic, partition, low, end):
                key, value = message.key(), message.value()
                if key is None:
                    self._foreign(message)
                elif value is None:
                    latest.pop(key, None)
                else:
                    latest[key] = value
        return list(latest.values())

    def close(self) -> None:
        self._drop_producer()
        if self._log is not None:
            self._log.close()
            self._log = None

    def _opened(self) -> Log:
        if self._log is None:
            raise WindowError("the Kafka sink is not open; call open(schema, keys, refires=...) first")
        return self._log

    def _new_producer(self) -> Producer:
        from confluent_kafka import Producer

        settings = {
            "log_level": 0,
            "acks": "all",
            "enable.idempotence": True,
            "linger.ms": 20,
            "message.timeout.ms": max(1, int(self._connection.timeout_s * 1000)),
            "error_cb": self._on_error,
        }
        return self._connection.client(Producer, settings)

    def _check(self) -> None:
        """WindowError where the last row of the topic has other columns."""
        log = self._opened()
        for partition, end in log.ends(self._topic, log.partitions(self._topic)).items():
            low, _ = log.bounds(self._topic, partition)
            last = [message for message in log.read(self._topic, partition, max(low, end - 10), end) if message.value()]
            if not last:
                continue
            try:
                names = json_rows.names(last[-1].value() or b"")
            except ValueError:
                self._foreign(last[-1])
            if names != self._schema.names():
                raise WindowError(
                    f"the topic {self._topic!r} holds rows with the columns {', '.join(names)}, and this stream gives "
                    f"{', '.join(self._schema.names())}; use another topic",
                    topic=self._topic,
                )

    def _foreign(self, message: Message) -> NoReturn:
        raise WindowError(
            f"message {message.partition()}/{message.offset()} of topic {self._topic!r} is no row of a stream; "
            "use a topic of its own",
            topic=self._topic,
        )

    def _there(self, batch: int) -> set[tuple[bytes | None, bytes | None]]:
        """Keys and values of the messages of a batch that the topic has; a batch is the end of each partition."""
        log = self._opened()
        there = set[tuple[bytes | None, bytes | None]]()
        for partition, end in log.ends(self._topic, log.partitions(self._topic)).items():
            low, _ = log.bounds(self._topic, partition)
            reach = TAIL_MESSAGES
            while True:
                start = max(low, end - reach)
                tail = log.read(self._topic, partition, start, end)
                found = list(itertools.takewhile(lambda message: _batch_of(message) == batch, reversed(tail)))
                if start == low or len(found) < len(tail):
                    break
                reach *= 2
            there.update((message.key(), message.value()) for message in found)
        return there

    def _send(self, batch: int, outgoing: Sequence[_Outgoing]) -> None:
        from confluent_kafka import KafkaException

        self._opened()
        # After a failure the old one may be of no more use.
        producer = self._producer = self._producer or self._new_producer()
        failed: list[KafkaError] = []
        stored = 0

        def delivered(error: KafkaError | None, _: Message) -> None:
            nonlocal stored
            if error is None:
                stored += 1
            else:
                failed.append(error)

        self._trouble = None
        number = str(batch).encode()
        deadline = time.monotonic() + self._connection.timeout_s
        for message in outgoing:
            headers: list[tuple[str, str | bytes | None]] = [(BATCH, number), (ROW, str(message.row).encode())]
            while not failed:
                try:
                    producer.produce(self._topic, message.value, message.key, headers=headers, on_delivery=delivered)
                    break
                except KafkaException as error:
                    failed.append(error.args[0])
                except BufferError:
                    # The client's queue is full: what is sent makes room.
                    before = stored
                    producer.poll(SEND_S)
                    if stored > before:
                        deadline = time.monotonic() + self._connection.timeout_s
                    elif time.monotonic() > deadline:
                        self._fail(batch, len(outgoing) - stored, None)
            if failed:
                break
            producer.poll(0)
        left, before = len(producer), stored
        deadline = time.monotonic() + self._connection.timeout_s
        while left and not failed:
            left = producer.flush(SEND_S)
            if stored > before:
                before, deadline = stored, time.monotonic() + self._connection.timeout_s
            elif time.monotonic() > deadline:
                break
        if failed or left:
            self._fail(batch, len(outgoing) - stored, failed[0] if failed else None)

    def _fail(self, batch: int, left: int, error: KafkaError | None) -> None:
        self._drop_producer()
        reason = self._trouble or error
        text = "no answer" if reason is None else self._connection.public(reason.str())
        raise DataError(
            f"{left:,} rows of batch {batch} could not be sent to topic {self._topic!r} at {self._connection.servers} "
            f"within {self._connection.timeout_s:g} s ({text}); check that the brokers run and take messages of this "
            "size, then write the batch again",
            topic=self._topic,
            servers=self._connection.servers,
            batch=batch,
            left=left,
        )

    def _drop_producer(self) -> None:
        if self._producer is not None:
            # What a failed write left waiting must not be sent later: a new writer may have sent it by then.
            self._producer.purge()
            self._producer.close()
            self._producer = None

    def _on_error(self, error: KafkaError) -> None:
        self._trouble = error


def _batch_of(message: Message) -> int | None:
    headers = dict(message.headers() or ())
    value = headers.get(BATCH)
    return int(value) if isinstance(value, bytes) and value.isdigit() else None
