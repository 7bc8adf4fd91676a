"""The Kafka sink against a real broker: every window once, whatever was cut off, and the latest of each read back."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import polars as pl
import pytest
from brokers import free_port, produce
from polars.testing import assert_frame_equal

from lepton_nb.errors import DataError, WindowError
from lepton_nb.windowing.kafka_connection import Connection
from lepton_nb.windowing.kafka_log import Log
from lepton_nb.windowing.sinks.kafka_sink import KafkaSink, kafka

START = datetime(2024, 1, 1, tzinfo=UTC)
WINDOW = ["key", "window_start", "window_end"]


def windows(count, first=0, value=1.0):
    starts = [START + timedelta(minutes=i) for i in range(first, first + count)]
    return pl.DataFrame(
        {
            "key": pl.Series([f"k{i % 3}" for i in range(first, first + count)], dtype=pl.String),
            "window_start": pl.Series(starts, dtype=pl.Datetime("us", "UTC")),
            "window_end": pl.Series([at + timedelta(minutes=1) for at in starts], dtype=pl.Datetime("us", "UTC")),
            "total": pl.Series([value * i for i in range(first, first + count)], dtype=pl.Float64),
        }
    )


SCHEMA = windows(1).schema
NONE = windows(0).select(WINDOW)


def opened(name, broker, schema=SCHEMA, **arguments):
    sink = kafka(name, servers=broker.servers, **arguments)
    sink.open(schema, ["key"], refires=True)
    return sink


def everything(broker, name):
    """All messages of a topic, partition after partition."""
    log = Log(Connection(broker.servers))
    ends = log.ends(name, log.partitions(name))
    found = [message for partition, end in ends.items() for message in log.read(name, partition, 0, end)]
    log.close()
    return found


def test_rows_are_json_with_the_window_as_key(broker, topic):
    name = topic()
    with opened(name, broker) as sink:
        sink.write(7, windows(2, value=math.nan), NONE)
    first, second = everything(broker, name)
    assert json.loads(first.key()) == ["k0", "2024-01-01T00:00:00.000000Z", "2024-01-01T00:01:00.000000Z"]
    assert json.loads(second.value()) == {
        "key": "k1",
        "window_start": "2024-01-01T00:01:00.000000Z",
        "window_end": "2024-01-01T00:02:00.000000Z",
        "total": "NaN",
    }
    assert [message.headers() for message in (first, second)] == [
        [("batch", b"7"), ("row", b"0")],
        [("batch", b"7"), ("row", b"1")],
    ]


def test_the_latest_of_every_window_is_read_back(broker, topic):
    name = topic(4)
    with opened(name, broker) as sink:
        assert_frame_equal(sink.table(), windows(0))
        sink.write(0, windows(50), NONE)
        sink.write(2, windows(10, value=5.0), NONE)
        # Two sessions became one: both are taken back, and one of them comes again with other values.
        sink.write(3, windows(1, first=20, value=9.0), windows(2, first=20).select(WINDOW))
        expected = pl.concat(
            [windows(10, value=5.0), windows(10, first=10), windows(1, first=20, value=9.0), windows(28, first=22)]
        )
        assert_frame_equal(sink.table(), expected.sort(WINDOW))
    assert_frame_equal(sink.table(), expected.sort(WINDOW))


def test_every_type_comes_back_as_it_was(broker, topic):
    kinds = {
        "float": ([1.5, math.nan, math.inf, None], pl.Float64),
        "single": ([0.1, -math.inf, None, 2.0], pl.Float32),
        "whole": ([2**63 - 1, -(2**63), 0, None], pl.Int64),
        "unsigned": ([2**64 - 1, 0, 1, None], pl.UInt64),
        "yes": ([True, False, None, True], pl.Boolean),
        "text": (["", 'a "quote"\n', "é", None], pl.String),
        "bytes": ([b"", b"\xff\0", b"a", None], pl.Binary),
        "day": ([date(1969, 12, 31), date(2024, 2, 29), None, date(1, 1, 1)], pl.Date),
        "span": ([timedelta(microseconds=1), timedelta(days=-1), None, timedelta(0)], pl.Duration("us")),
        "money": ([Decimal("1.10"), Decimal("-0.01"), None, Decimal(0)], pl.Decimal(20, 2)),
        "zoned": ([START, None, START - timedelta(days=30_000), START], pl.Datetime("ms", "Europe/Berlin")),
        "naive": ([datetime(2024, 1, 1, 1, 2, 3, 4), None, datetime(1969, 1, 1), datetime(1, 1, 1)], pl.Datetime("us")),
        "list": ([[1.0, math.nan, None], [], None, [math.inf]], pl.List(pl.Float64)),
        "times": ([[START], [], None, [START, None]], pl.List(pl.Datetime("us", "UTC"))),
        "struct": (
            [{"value": "a", "n": 1.5}, {"value": None, "n": math.nan}, None, {"value": "b", "n": None}],
            pl.Struct({"value": pl.String, "n": pl.Float64}),
        ),
        "top": ([[{"v": "a", "n": 3}, {"v": None, "n": 1}], [], None, [{"v": "b", "n": 0}]],
                pl.List(pl.Struct({"v": pl.String, "n": pl.UInt32}))),
    }  # fmt: skip
    columns = [pl.Series(name, values, dtype=dtype, strict=True) for name, (values, dtype) in kinds.items()]
    precise = pl.Series("precise", [1, -1, 2**60 + 1, None], dtype=pl.Int64).cast(pl.Datetime("ns", "UTC"))
    rows = windows(4).drop("total").with_columns(*columns, precise)
    name = topic(2)
    with opened(name, broker, rows.schema) as sink:
        sink.write(0, rows, NONE)
        assert_frame_equal(sink.table(), rows.sort(WINDOW), check_exact=True)


def test_null_keys_are_windows_of_their_own(broker, topic):
    rows = windows(2).with_columns(pl.Series("key", [None, "a"], dtype=pl.String))
    with opened(topic(), broker) as sink:
        sink.write(0, rows, NONE)
        assert_frame_equal(sink.table(), rows.sort(WINDOW))


def test_a_batch_that_comes_again_is_there_once(broker, topic):
    name = topic(3)
    retracted = windows(5, first=100).select(WINDOW)
    for _ in range(2):
        with opened(name, broker) as sink:
            sink.write(0, windows(100), NONE)
            sink.write(1, windows(2500, value=2.0), retracted)
    with opened(name, broker) as sink:
        sink.write(1, windows(2500, value=2.0), retracted)
    # The second stream began with batch 0 again: behind batch 1 it is new.
    assert len(everything(broker, name)) == 100 + 2505 + 100 + 2505


def test_a_batch_that_was_cut_off_is_completed(broker, topic):
    name = topic(3)
    with opened(name, broker) as sink:
        sink.write(4, windows(50), NONE)
        sink.write(5, windows(700, first=50), NONE)
    cut = topic(3)
    whole = everything(broker, name)
    kept = [message for message in whole if int(message.headers()[0][1]) == 4 or int(message.headers()[1][1]) % 3]
    copied = [{"value": m.value(), "key": m.key(), "headers": m.headers(), "partition": m.partition()} for m in kept]
    broker.produce(cut, copied)
    assert 0 < len(copied) < len(whole)
    with opened(cut, broker) as sink:
        sink.write(5, windows(700, first=50), NONE)
        assert_frame_equal(sink.table(), windows(750).sort(WINDOW))
    assert len(everything(broker, cut)) == len(whole)
    assert {(m.key(), m.value()) for m in everything(broker, cut)} == {(m.key(), m.value()) for m in whole}


KILLED = """
import sys
sys.path[:0] = sys.argv[3:]
from test_kafka import *
sink = kafka(sys.argv[2], servers=sys.argv[1])
sink.open(SCHEMA, ["key"], refires=True)
sink.write(0, windows(10), NONE)
print("ready", flush=True)
sink.write(1, windows(200_000, first=10), NONE)
print("done", flush=True)
"""


def test_a_killed_writer_leaves_every_row_once(broker, topic):
    """However far it came: killed while it sends, started again, the topic has each row of the batch once."""
    name = topic(2)
    folders = [folder for folder in sys.path if folder.endswith("support")] + [__file__.rpartition("/")[0]]
    command = [sys.executable, "-c", KILLED, broker.servers, name, *folders]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as writer:
        assert writer.stdout.readline() == "ready\n"
        log = Log(Connection(broker.servers))
        while sum(log.ends(name, [0, 1]).values()) < 1000:
            assert writer.poll() is None
        writer.kill()
        finished = writer.stdout.read()
    came = sum(log.ends(name, [0, 1]).values())
    log.close()
    assert finished == ""
    assert 1000 <= came < 200_010
    with opened(name, broker) as sink:
        sink.write(1, windows(200_000, first=10), NONE)
    rows = everything(broker, name)
    assert len(rows) == 200_010
    assert len({message.key() for message in rows}) == 200_010


def test_a_broker_that_comes_back_in_time_costs_nothing(lasting_broker):
    lasting_broker.create("t", 2)
    with opened("t", lasting_broker) as sink:
        for batch in range(3):
            sink.write(batch, windows(100, first=100 * batch), NONE)
            lasting_broker.stop()
            lasting_broker.start()
        assert_frame_equal(sink.table(), windows(300).sort(WINDOW))
    assert len(everything(lasting_broker, "t")) == 300


def test_a_write_that_failed_can_be_written_again(lasting_broker):
    lasting_broker.create("t", 2)
    with opened("t", lasting_broker, timeout_s=4.0) as sink:
        sink.write(0, windows(10), NONE)
        lasting_broker.stop()
        with pytest.raises(
            DataError, match=r"rows of batch 1 could not be sent .*check that the brokers run"
        ) as caught:
            sink.write(1, windows(20, first=10), NONE)
        assert caught.value.left == 20
        lasting_broker.start()
        sink.write(1, windows(20, first=10), NONE)
        assert_frame_equal(sink.table(), windows(30).sort(WINDOW))
    assert len(everything(lasting_broker, "t")) == 30


def test_a_row_that_is_too_large_is_told(broker, topic):
    name = topic()
    schema = {**SCHEMA, "total": pl.String}
    with opened(name, broker, pl.Schema(schema), options={"message.max.bytes": 2000}, timeout_s=10) as sink:
        with pytest.raises(DataError, match="could not be sent .*Message size too large"):
            sink.write(0, windows(1).with_columns(total=pl.lit("x" * 3000)), NONE)
        sink.write(0, windows(1).with_columns(total=pl.lit("x")), NONE)
        assert sink.table()["total"].to_list() == ["x"]


def test_a_topic_with_other_rows_is_refused(broker, topic):
    name = topic()
    with opened(name, broker) as sink:
        sink.write(0, windows(3), NONE)
    other = pl.Schema({**SCHEMA, "mean": pl.Float64})
    with pytest.raises(WindowError, match="rows with the columns key, window_start, window_end, total.*another topic"):
        opened(name, broker, other)
    foreign = topic()
    produce(broker.servers, foreign, [{"value": b"hello"}])
    with pytest.raises(WindowError, match=f"message 0/0 of topic '{foreign}' is no row .*a topic of its own"):
        opened(foreign, broker)


def test_what_cannot_be_written_is_refused(broker, topic):
    with pytest.raises(WindowError, match="column 'thing' is Object, which JSON cannot hold"):
        opened(topic(), broker, pl.Schema({**SCHEMA, "thing": pl.Object}))


def test_a_missing_topic_or_broker_is_told(broker):
    with pytest.raises(DataError, match="there is no topic 'nowhere' .*create it first"):
        opened("nowhere", broker)
    servers = f"127.0.0.1:{free_port()}"
    sink = kafka("t", servers=servers, timeout_s=0.5, options={"sasl.password": "hunter2"})
    with pytest.raises(DataError, match=f"no Kafka broker at {servers}") as caught:
        sink.open(SCHEMA, ["key"], refires=False)
    assert "hunter2" not in str(caught.value) + repr(sink)


def test_a_sink_that_is_not_open_says_so():
    sink = kafka("t", servers="localhost:9092")
    for use in (sink.table, lambda: sink.write(0, windows(0), NONE)):
        with pytest.raises(WindowError, match="open; call open"):
            use()
    sink.close()


def test_the_public_name_makes_the_sink():
    from lepton_nb.windowing import sinks

    for _ in range(2):
        assert isinstance(sinks.kafka("t", servers="localhost:9092"), KafkaSink)
