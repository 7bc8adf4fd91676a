"""A Kafka topic as a source: each partition is a channel, and a position is the next offset of each.

The first batch of a stream, and the first one after a partition was added, only settles where reading begins: its
position says so, and it holds no rows of these partitions. So a batch that is read again never depends on what the
broker has deleted or taken in since.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import polars as pl

from lepton_nb.errors import DataError, WindowError
from lepton_nb.windowing import kafka_log
from lepton_nb.windowing.kafka_connection import Connection
from lepton_nb.windowing.kafka_log import Log
from lepton_nb.windowing.sources.base import Part, Planned, Position, Rows, Source
from lepton_nb.windowing.sources.decoders import Decoder, decoder
from lepton_nb.windowing.sources.messages import rows_of

# While enough is known to be there, the broker is asked for more no sooner than this.
LOOK_AGAIN_S = 1.0


def kafka(
    topic: str,
    *,
    servers: str,
    schema: Mapping[str, pl.DataType | type[pl.DataType]] | None = None,
    value: Literal["json", "avro", "protobuf"] | Callable[[bytes], Mapping[str, Any]] = "json",
    avro_schema: Mapping[str, Any] | str | None = None,
    message: Any = None,
    start: Literal["earliest", "latest"] = "earliest",
    until: Literal["latest"] | None = None,
    group: str | None = None,
    options: Mapping[str, Any] | None = None,
    timeout_s: float = 60.0,
) -> KafkaSource:
    """The messages of a Kafka topic, at `servers` such as "localhost:9092,other:9092".

    value: what the bytes of a message are. "json": UTF-8 JSON objects. "avro": written with `avro_schema` (a dict or
    JSON text), with or without a schema registry's header of five bytes. "protobuf": of the generated class `message`,
    with or without such a header. A function: it gets the bytes and returns a dict; workers must be able to import it.
    schema: types of columns, {"ts": pl.Datetime("us", "UTC"), ...}. JSON and a function need it; Avro and Protobuf know
    their types, and take those given here instead. Times are ISO text, UTC where no zone is named, or integers as
    milliseconds since the epoch.
    start: where a stream without a checkpoint begins: at the first message that is kept, or behind the last one that is
    there now. A partition that is added later is read from its beginning.
    until: "latest" ends the stream at the last messages that are there when it opens; without it, it goes on for ever.
    group: a consumer group that is told how far the stream has come, so that Kafka's tools show its lag.
    options: passed through to the Kafka client: "security.protocol", "ssl.ca.location", "sasl.username" and so on.
    They travel to the workers, and no secret among them is shown.
    timeout_s: how long a broker may be gone, in seconds, before the stream fails.

    A message without a value, one that cannot be read, one with a value that is not of its column's type, and one
    without a time become dead letters and stop nothing: their channel is "topic/partition", their offset the message's,
    their value its text, cut off at 10,000 characters. Raises DataError where no broker answers in time, it refuses the
    login, there is no such topic or column, or messages were deleted before they were read.
    """
    return KafkaSource(
        topic,
        Connection(servers, dict(options or {}), group, timeout_s),
        decoder(value, avro_schema, message),
        dict(schema or {}),
        start=start,
        until=until,
    )


class KafkaSource(Source):
    """Reads a topic; see `kafka`."""

    name = "kafka"

    def __init__(
        self,
        topic: str,
        connection: Connection,
        decoder: Decoder,
        schema: Mapping[str, Any],
        *,
        start: str = "earliest",
        until: str | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        if start not in ("earliest", "latest"):
            raise WindowError.unknown("start", str(start), ("earliest", "latest"))
        if until not in (None, "latest"):
            raise WindowError.unknown("until", str(until), ("latest",))
        self._types = {**decoder.types(), **{name: _dtype(name, dtype) for name, dtype in schema.items()}}
        if not self._types:
            raise WindowError(
                "values of this kind do not tell their types; give schema=, the type of each column, such as "
                'schema={"ts": pl.Datetime("us", "UTC"), "value": pl.Float64}'
            )
        self._topic, self._connection, self._decoder = topic, connection, decoder
        self._start, self._bounded, self._clock = start, until is not None, clock
        self._log: Log | None = None
        self._columns: tuple[str, ...] = ()
        self._starts: dict[int, int] = {}
        self._ends: dict[int, int] = {}
        self._looked_s = -math.inf
        self._checked = False

    def __repr__(self) -> str:
        return f"KafkaSource({self._topic!r}, servers={self._connection.servers!r})"

    def open(self, columns: Sequence[str], parallel: int) -> None:
        for name in columns:
            if name not in self._types:
                raise DataError.unknown("column", name, self._types)
        self.close()
        self._columns = tuple(columns)
        self._log = Log(self._connection)
        try:
            partitions = self._log.partitions(self._topic)
            self._ends = self._log.ends(self._topic, partitions)
            self._starts = dict(self._ends)
            if self._start == "earliest":
                self._starts = {partition: self._log.bounds(self._topic, partition)[0] for partition in partitions}
        except BaseException:
            self.close()
            raise
        self._looked_s = self._clock()
        self._checked = False

    @property
    def schema(self) -> pl.Schema | None:
        return pl.Schema({name: self._types[name] for name in self._columns})

    @property
    def channels(self) -> tuple[str, ...]:
        return tuple(self._channel(partition) for partition in sorted(self._ends))

    def plan(self, before: Position, rows: int, wait_s: float) -> Planned:
        at = _offsets(before)
        log = self._opened()
        if not self._checked:
            self._check(log, at)
        if not self._bounded:
            self._look(log, at, max(1, rows))
        if self._ends.keys() <= at.keys():
            ahead = self._ahead(at)
            if not self._bounded and not any(ahead.values()):
                self._ends |= log.wait(self._topic, {partition: at[partition] for partition in self._ends}, wait_s)
                ahead = self._ahead(at)
            after = {**at, **{partition: at[partition] + n for partition, n in _share(ahead, max(1, rows)).items()}}
        else:
            after = {**self._starts, **at}
        ahead = self._ahead(after)
        finished = [self._channel(partition) for partition, left in ahead.items() if self._bounded and not left]
        return Planned(
            before if after == at else _position(after),
            over=self._bounded and not any(ahead.values()),
            finished=frozenset(finished),
            lag=sum(ahead.values()),
        )

    def parts(self, before: Position, after: Position) -> Sequence[Part]:
        at = _offsets(before)
        schema = {name: self._types[name] for name in self._columns}
        return [
            KafkaPart(
                self._channel(partition),
                self._connection,
                self._topic,
                partition,
                at[partition],
                stop,
                schema,
                self._decoder,
            )
            for partition, stop in sorted(_offsets(after).items())
            if partition in at and stop > at[partition]
        ]

    def committed(self, position: Position) -> None:
        if self._connection.group is not None and (offsets := _offsets(position)):
            self._opened().commit(self._topic, offsets)

    def close(self) -> None:
        """Give back the connections of this process. A worker closes its own a minute after the last part, with the
        next part that it reads, or when it ends."""
        if self._log is not None:
            self._log.close()
            self._log = None
        kafka_log.close_idle(self._connection)

    def _opened(self) -> Log:
        if self._log is None:
            raise DataError("the Kafka source is not open; call open(columns, parallel) first")
        return self._log

    def _channel(self, partition: int) -> str:
        return f"{self._topic}/{partition}"

    def _check(self, log: Log, at: Mapping[int, int]) -> None:
        """A position from another day may be one that the topic has lost, or never had."""
        for partition, offset in at.items():
            if partition not in self._ends:
                raise DataError(
                    f"{self._channel(partition)} is gone: the topic was made anew; start anew with a new checkpoint",
                    topic=self._topic,
                    partition=partition,
                )
            log.check(self._topic, partition, offset, self._ends[partition])
        self._checked = bool(at)

    def _look(self, log: Log, at: Mapping[int, int], rows: int) -> None:
        """Ask for new partitions and new messages, unless enough is known and was just asked for."""
        now_s = self._clock()
        if sum(self._ahead(at).values()) >= rows and now_s - self._looked_s < LOOK_AGAIN_S:
            return
        for partition in log.partitions(self._topic):
            low, high = log.bounds(self._topic, partition)
            self._starts.setdefault(partition, low)
            self._ends[partition] = max(high, self._ends.get(partition, 0))
        self._looked_s = now_s

    def _ahead(self, at: Mapping[int, int]) -> dict[int, int]:
        """How many offsets of each partition lie behind `at`."""
        return {
            partition: max(0, end - at.get(partition, self._starts[partition])) for partition, end in self._ends.items()
        }


@dataclass(frozen=True)
class KafkaPart(Part):
    """The messages of one partition with offsets in [start, stop)."""

    connection: Connection
    topic: str
    partition: int
    start: int
    stop: int
    schema: Mapping[str, pl.DataType] = field(repr=False)
    decoder: Decoder = field(repr=False)

    def read(self) -> Rows:
        with kafka_log.borrowed(self.connection) as log:
            messages = log.read(self.topic, self.partition, self.start, self.stop)
        values = [message.value() for message in messages]
        offsets = [message.offset() for message in messages]
        return rows_of(values, offsets, self.channel, self.schema, self.decoder, tuple(self.schema)[:1])


def _dtype(name: str, dtype: Any) -> pl.DataType:
    if isinstance(dtype, type) and issubclass(dtype, pl.DataType):
        return dtype()
    if isinstance(dtype, pl.DataType):
        return dtype
    raise WindowError(f"schema must give a Polars type for {name!r}, such as pl.Float64, not {dtype!r}", name=name)


def _offsets(position: Position) -> dict[int, int]:
    return {int(partition): int(offset) for partition, offset in (position or {}).items()}


def _position(offsets: Mapping[int, int]) -> dict[str, int]:
    return {str(partition): offset for partition, offset in sorted(offsets.items())}


def _share(ahead: Mapping[int, int], rows: int) -> dict[int, int]:
    """How many offsets each partition gives to a batch of about `rows`: all the same fraction of what they have, so
    that they come to the same time together."""
    total = sum(ahead.values())
    if total <= rows:
        return dict(ahead)
    return {partition: min(n, math.ceil(n * rows / total)) for partition, n in ahead.items()}
