"""The Kafka source against a real broker: every message once, as a row or as a dead letter, wherever it is read."""

from __future__ import annotations

import io
import json
import pickle
import subprocess
import sys
from datetime import UTC, datetime, timedelta

import polars as pl
import pytest
from brokers import create, free_port, produce, running_broker
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory, timestamp_pb2
from tls import certificate, in_front_of

from lepton_nb.errors import DataError, WindowError
from lepton_nb.windowing.sources.base import Rows
from lepton_nb.windowing.sources.kafka_source import KafkaSource, kafka

TS = pl.Datetime("us", "UTC")
SCHEMA = {"ts": TS, "key": pl.String, "value": pl.Float64}
START = datetime(2024, 1, 1, tzinfo=UTC)


def event(i):
    # Neighbours change places: messages come out of order of time.
    at = START + timedelta(seconds=i ^ 3)
    return {"ts": at.isoformat(), "key": f"k{i % 5}", "value": i / 2}


def messages(count, partitions, first=0):
    return [{"value": json.dumps(event(i)).encode(), "partition": i % partitions} for i in range(first, first + count)]


def expected(count, first=0):
    rows = [event(i) for i in range(first, first + count)]
    frame = pl.DataFrame(rows).with_columns(pl.col("ts").str.to_datetime(time_unit="us", time_zone="UTC"))
    return frame.sort("value")


def drain(source, rows=1_000_000, position=None):
    """All batches of a bounded source, with the position behind each."""
    batches = []
    while True:
        planned = source.plan(position, rows, 5.0)
        batches.append((planned, [part.read() for part in source.parts(position, planned.after)]))
        position = planned.after
        if planned.over:
            return batches


def together(batches):
    parts = [rows for _, parts in batches for rows in parts]
    return Rows(pl.concat([rows.frame for rows in parts]), pl.concat([rows.dead for rows in parts]))


def read_all(source, columns=("ts", "key", "value")):
    with source:
        source.open(columns, 1)
        return together(drain(source))


def one(broker, topic, payload, **arguments):
    """What a topic with one message gives."""
    name = topic()
    broker.produce(name, [{"value": payload}])
    return name, read_all(kafka(name, servers=broker.servers, until="latest", **arguments), ("ts", "value"))


def test_every_message_of_every_partition_is_read_once(broker, topic):
    name = topic(4)
    broker.produce(name, messages(1000, 4))
    source = kafka(name, servers=broker.servers, schema=SCHEMA, until="latest")
    with source:
        source.open(["ts", "key", "value"], 2)
        batches = drain(source, rows=300)
        assert source.channels == tuple(f"{name}/{i}" for i in range(4))
        assert source.schema == pl.Schema(SCHEMA)
    assert together(batches).frame.sort("value").equals(expected(1000))
    assert together(batches).dead.is_empty()
    assert len(batches) == 5, "one to settle the start, then four of about 300 rows"
    assert [planned.lag for planned, _ in batches] == [1000, 700, 400, 100, 0]
    assert batches[-1][0].after == {"0": 250, "1": 250, "2": 250, "3": 250}
    assert batches[-1][0].finished == {f"{name}/{i}" for i in range(4)}


def test_partitions_advance_together_whatever_they_hold(broker, topic):
    name = topic(2)
    broker.produce(name, [{"value": b"{}", "partition": int(i % 10 == 0)} for i in range(1000)])
    with kafka(name, servers=broker.servers, schema=SCHEMA, until="latest") as source:
        source.open(["ts"], 1)
        settled = source.plan(None, 100, 0.0)
        assert source.plan(settled.after, 100, 0.0).after == {"0": 90, "1": 10}


def test_a_part_reads_the_same_in_another_process(broker, topic, tmp_path):
    name = topic(2)
    broker.produce(name, messages(100, 2))
    with kafka(name, servers=broker.servers, schema=SCHEMA, until="latest") as source:
        source.open(["ts", "key", "value"], 2)
        parts = source.parts({"0": 10, "1": 20}, {"0": 15, "1": 20})
        assert [part.channel for part in parts] == [f"{name}/0"]
        (tmp_path / "part").write_bytes(pickle.dumps(parts[0]))
        here = parts[0].read()
    code = "import pickle, sys; pickle.load(open('part', 'rb')).read().frame.write_parquet('rows')"
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=True, timeout=60)
    assert here.frame["value"].to_list() == [10.0, 11.0, 12.0, 13.0, 14.0]
    assert pl.read_parquet(tmp_path / "rows").equals(here.frame)


def test_what_cannot_be_read_becomes_a_dead_letter_and_stops_nothing(broker, topic):
    name = topic()
    good = json.dumps(event(0)).encode()
    payloads = [
        good,
        b"no json",
        b"[1]",
        b'{"ts":"2024-01-01","key":"a","value":"high"}',
        b'{"key":"a","value":1}',
        None,
        b"\xff\xfe",
        b'"' + b"x" * 20_000 + b'"',
        good,
    ]
    broker.produce(name, [{"value": payload, "key": b"k"} for payload in payloads])
    rows = read_all(kafka(name, servers=broker.servers, schema=SCHEMA, until="latest"))
    assert rows.frame.height == 2
    assert rows.dead["offset"].to_list() == ["1", "2", "3", "4", "5", "6", "7"]
    assert set(rows.dead["channel"]) == {f"{name}/0"}
    reasons = rows.dead["reason"].to_list()
    json_fault, utf8_fault, no_object = "not JSON: Expecting", "not JSON: 'utf-8'", "not a JSON object"
    parts = [json_fault, no_object, "column 'value'", "no 'ts'", "no value", utf8_fault, no_object]
    for reason, part in zip(reasons, parts, strict=True):
        assert part in reason
    assert rows.dead["value"][0] == "no json"
    assert rows.dead["value"].str.len_chars().max() == 10_000


def test_new_messages_are_waited_for_and_each_position_says_how_far(broker, topic):
    name = topic(2)
    with kafka(name, servers=broker.servers, schema=SCHEMA) as source:
        source.open(["ts", "key", "value"], 1)
        first = source.plan(None, 100, 0.0)
        assert first.after == {"0": 0, "1": 0}
        assert source.plan(first.after, 100, 0.1).after == first.after, "nothing is there"
        got, position = [], first.after
        broker.produce(name, messages(10, 2))
        while sum(rows.frame.height for rows in got) < 10:
            planned = source.plan(position, 100, 5.0)
            assert planned.after != position
            assert not planned.over
            assert not planned.finished
            got += [part.read() for part in source.parts(position, planned.after)]
            position = planned.after
        assert pl.concat([rows.frame for rows in got]).sort("value").equals(expected(10))


def test_latest_begins_behind_what_is_there(broker, topic):
    name = topic()
    broker.produce(name, messages(7, 1))
    with kafka(name, servers=broker.servers, schema=SCHEMA, start="latest") as source:
        source.open(["ts"], 1)
        assert source.plan(None, 100, 0.0).after == {"0": 7}
        broker.produce(name, messages(1, 1))
        assert source.plan({"0": 7}, 100, 5.0).after == {"0": 8}


def test_offsets_without_a_message_are_passed_over(broker, topic):
    """A transaction takes an offset for its end."""
    from confluent_kafka import Producer

    name = topic()
    producer = Producer({"bootstrap.servers": broker.servers, "transactional.id": name, "log_level": 0})
    producer.init_transactions(10)
    for _ in range(3):
        producer.begin_transaction()
        for i in range(3):
            producer.produce(name, json.dumps(event(i)).encode())
        producer.commit_transaction(10)
    producer.close()
    with kafka(name, servers=broker.servers, schema=SCHEMA, until="latest") as source:
        source.open(["ts", "key", "value"], 1)
        batches = drain(source)
        assert batches[-1][0].after == {"0": 12}
        assert together(batches).frame.height == 9
        inner = source.parts({"0": 2}, {"0": 8})[0].read()
        assert inner.frame["value"].to_list() == [1.0, 0.0, 0.5, 1.0]
        assert source.parts({"0": 3}, {"0": 4})[0].read().frame.is_empty(), "nothing but the end of a transaction"


def test_a_group_is_told_how_far_the_stream_has_come(broker, topic):
    from confluent_kafka import Consumer, TopicPartition

    name = topic(2)
    broker.produce(name, messages(10, 2))
    with kafka(name, servers=broker.servers, schema=SCHEMA, group="readers") as source:
        source.open(["ts"], 1)
        source.committed({"0": 3, "1": 5})
    consumer = Consumer({"bootstrap.servers": broker.servers, "group.id": "readers", "log_level": 0})
    places = consumer.committed([TopicPartition(name, 0), TopicPartition(name, 1)], timeout=10)
    consumer.close()
    assert [place.offset for place in places] == [3, 5]


AVRO = {
    "type": "record",
    "name": "Event",
    "fields": [
        {"name": "ts", "type": {"type": "long", "logicalType": "timestamp-micros"}},
        {"name": "value", "type": ["null", "double"]},
        {"name": "tags", "type": {"type": "array", "items": "string"}},
        {"name": "before", "type": ["null", "Event"]},
    ],
}


@pytest.mark.parametrize("header", [b"", b"\0\0\0\0\7"])
def test_avro_gives_its_types(broker, topic, header):
    import fastavro

    buffer = io.BytesIO()
    fastavro.schemaless_writer(buffer, AVRO, {"ts": START, "value": 1.5, "tags": ["a", "b"], "before": None})
    name = topic()
    payload = header + buffer.getvalue()
    broker.produce(name, [{"value": payload}, {"value": payload[:-1]}, {"value": payload + b"x"}])
    source = kafka(name, servers=broker.servers, value="avro", avro_schema=AVRO, until="latest")
    rows = read_all(source, ("ts", "value", "tags"))
    assert rows.frame.schema == {"ts": TS, "value": pl.Float64, "tags": pl.List(pl.String)}
    assert rows.frame.rows() == [(START, 1.5, ["a", "b"])]
    assert rows.dead["offset"].to_list() == ["1", "2"]
    assert rows.dead["reason"].str.starts_with("not Avro").all()


def protobuf_class():
    kinds = descriptor_pb2.FieldDescriptorProto
    file = descriptor_pb2.FileDescriptorProto(name="event.proto", package="test", syntax="proto3")
    file.dependency.append("google/protobuf/timestamp.proto")
    entry = file.message_type.add(name="Event")
    entry.field.add(name="ts", number=1, type=kinds.TYPE_MESSAGE, type_name=".google.protobuf.Timestamp", label=1)
    entry.field.add(name="value", number=2, type=kinds.TYPE_INT64, label=1)
    entry.field.add(name="tags", number=3, type=kinds.TYPE_STRING, label=3)
    entry.field.add(name="before", number=4, type=kinds.TYPE_MESSAGE, type_name=".test.Event", label=1)
    pool = descriptor_pool.DescriptorPool()
    stamp = descriptor_pb2.FileDescriptorProto()
    timestamp_pb2.DESCRIPTOR.CopyToProto(stamp)
    pool.Add(stamp)
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("test.Event"))


@pytest.mark.parametrize("header", [b"", b"\0\0\0\0\7\0", b"\0\0\0\0\7\2\0"])
def test_protobuf_gives_its_types(broker, topic, header):
    event_class = protobuf_class()
    message = event_class(value=2**40, tags=["a"])
    message.ts.FromDatetime(START)
    timeless = event_class(value=0).SerializeToString()
    name = topic()
    payloads = [header + message.SerializeToString(), header + timeless, header + b"\xff\xff"]
    broker.produce(name, [{"value": payload} for payload in payloads])
    source = kafka(name, servers=broker.servers, value="protobuf", message=event_class, until="latest")
    with source:
        source.open(["ts", "value", "tags"], 1)
        part = pickle.loads(pickle.dumps(source.parts({"0": 0}, {"0": 3})[0]))
        rows = part.read()
    assert rows.frame.schema == {"ts": TS, "value": pl.Int64, "tags": pl.List(pl.String)}
    assert rows.frame.rows() == [(START, 2**40, ["a"])]
    assert rows.dead["offset"].to_list() == ["1", "2"]
    assert rows.dead["reason"][0] == "no 'ts'"
    assert rows.dead["reason"][1].startswith("not Protobuf")


def split(payload):
    at, value = payload.decode().split(";")
    return {"ts": at, "value": int(value)}


def test_a_function_reads_values(broker, topic):
    schema = {"ts": TS, "value": pl.Int64}
    _, rows = one(broker, topic, b"2024-01-01;7", schema=schema, value=split)
    assert rows.frame.rows() == [(START, 7)]
    _, rows = one(broker, topic, b"2024-01-01;seven", schema=schema, value=split)
    assert rows.frame.is_empty()
    assert rows.dead["reason"][0].startswith("the value function failed: invalid literal")


def test_times_may_be_milliseconds(broker, topic):
    _, rows = one(broker, topic, b'{"ts":1704067200000,"value":1}', schema=SCHEMA)
    assert rows.frame.rows() == [(START, 1.0)]


def test_a_broker_that_is_stopped_and_started_again_costs_nothing(lasting_broker):
    lasting_broker.create("t", 2)
    lasting_broker.produce("t", messages(100, 2))
    with kafka("t", servers=lasting_broker.servers, schema=SCHEMA) as source:
        source.open(["ts", "key", "value"], 1)
        got, position = [], {"0": 0, "1": 0}
        for first in (100, 200):
            planned = source.plan(position, 1000, 5.0)
            parts = source.parts(position, planned.after)
            lasting_broker.stop()
            lasting_broker.start()
            got += [part.read() for part in parts]
            position = planned.after
            lasting_broker.produce("t", messages(100, 2, first))
        while sum(rows.frame.height for rows in got) < 300:
            planned = source.plan(position, 1000, 10.0)
            got += [part.read() for part in source.parts(position, planned.after)]
            position = planned.after
    assert pl.concat([rows.frame for rows in got]).sort("value").equals(expected(300))


def test_a_broker_that_stays_away_is_named_in_time(lasting_broker):
    lasting_broker.create("t", 1)
    lasting_broker.produce("t", messages(10, 1))
    with kafka("t", servers=lasting_broker.servers, schema=SCHEMA, timeout_s=3.0) as source:
        source.open(["ts"], 1)
        part = source.parts({"0": 0}, {"0": 10})[0]
        lasting_broker.stop()
        with pytest.raises(
            DataError, match="no Kafka broker at 127.0.0.1:.* for 3 s .*check servers= and that it runs"
        ):
            part.read()
        with pytest.raises(DataError, match="check servers= and that it runs"):
            source.plan({"0": 0}, 100, 0.0)


def test_a_frozen_broker_is_waited_for_no_longer_than_said():
    with running_broker() as broker:
        broker.create("t", 1)
        broker.produce("t", messages(10, 1))
        with kafka("t", servers=broker.servers, schema=SCHEMA, timeout_s=3.0) as source:
            source.open(["ts"], 1)
            part = source.parts({"0": 0}, {"0": 10})[0]
            broker.freeze()
            with pytest.raises(DataError, match="check servers= and that it runs"):
                part.read()
            broker.thaw()
            assert part.read().frame.height == 10


def test_a_topic_that_was_made_anew_is_told(broker, topic):
    name = topic()
    broker.produce(name, messages(5, 1))
    with kafka(name, servers=broker.servers, schema=SCHEMA, timeout_s=3.0) as source:
        source.open(["ts"], 1)
        with pytest.raises(DataError, match="ends at offset 5, but was read or planned up to 50: .*new checkpoint"):
            source.plan({"0": 50}, 100, 0.0)
        with pytest.raises(DataError, match="is gone: .*new checkpoint"):
            source.plan({"0": 0, "1": 3}, 100, 0.0)


@pytest.fixture
def forgetful():
    """A broker inside of the client library that keeps no more than 5 MiB of each partition."""
    from confluent_kafka import Producer

    producer = Producer({"test.mock.num.brokers": 1, "log_level": 0})
    broker = next(iter(producer.list_topics(timeout=10).brokers.values()))
    yield f"{broker.host}:{broker.port}"
    producer.close()


def test_messages_that_are_no_longer_kept_are_told(forgetful):
    payload = json.dumps({**event(0), "padding": "x" * 100_000}).encode()
    produce(forgetful, "t", [{"value": payload, "partition": 0} for _ in range(200)])
    with kafka("t", servers=forgetful, schema=SCHEMA, timeout_s=5.0, until="latest") as source:
        source.open(["ts"], 1)
        first = source.plan(None, 1000, 0.0).after["0"]
        assert 0 < first < 200, "the stream begins at what is kept"
        assert source.parts({"0": first}, {"0": 200})[0].read().frame.height == 200 - first
        fault = f"offsets 3 to {first - 1} of t/0 are no longer kept.*raise the topic's retention"
        with pytest.raises(DataError, match=fault):
            source.plan({"0": 3}, 1000, 0.0)
        with pytest.raises(DataError, match=fault):
            source.parts({"0": 3}, {"0": 10})[0].read()
        with pytest.raises(DataError, match="ends at offset 200"):
            source.parts({"0": 500}, {"0": 510})[0].read()


def test_wrong_servers_are_told_within_the_time():
    servers = f"127.0.0.1:{free_port()}"
    source = kafka("t", servers=servers, schema=SCHEMA, timeout_s=0.5)
    with pytest.raises(DataError, match=f"no Kafka broker at {servers} has answered for 0.5 s .*refused") as caught:
        source.open(["ts"], 1)
    assert caught.value.servers == servers


def test_a_missing_topic_or_column_is_told(broker, topic):
    with pytest.raises(DataError, match="there is no topic 'nowhere' at .*create it first"):
        kafka("nowhere", servers=broker.servers, schema=SCHEMA).open(["ts"], 1)
    with pytest.raises(DataError, match="unknown column 'valu'; did you mean 'value'"):
        kafka(topic(), servers=broker.servers, schema=SCHEMA).open(["ts", "valu"], 1)


@pytest.mark.parametrize(
    ("arguments", "fault"),
    [
        ({}, "give schema="),
        ({"schema": SCHEMA, "value": "xml"}, "unknown value format 'xml'"),
        ({"value": "avro"}, "needs avro_schema"),
        ({"value": "avro", "avro_schema": {"type": "recrd"}}, "no Avro schema"),
        ({"value": "avro", "avro_schema": '"long"'}, "must be a record"),
        ({"value": "protobuf"}, "needs message"),
        ({"schema": SCHEMA, "avro_schema": AVRO}, "goes with value='avro'"),
        ({"schema": {"ts": "time"}}, "a Polars type for 'ts'"),
        ({"schema": SCHEMA, "start": "now"}, "unknown start 'now'"),
        ({"schema": SCHEMA, "until": "noon"}, "unknown until 'noon'"),
        ({"schema": SCHEMA, "timeout_s": 0}, "timeout_s must be above 0"),
        ({"schema": SCHEMA, "options": {"group.id": "g"}}, "leave the option 'group.id' out: give group="),
    ],
)
def test_wrong_arguments_name_the_fix(arguments, fault):
    with pytest.raises(WindowError, match=fault):
        kafka("t", servers="localhost:9092", **arguments)


def test_a_wrong_option_is_told_without_secrets():
    options = {"sasl.passwort": "hunter2", "sasl.password": "hunter3"}
    with pytest.raises(DataError, match="sasl.passwort.*check options=") as caught:
        kafka("t", servers="localhost:9092", schema=SCHEMA, options=options).open(["ts"], 1)
    assert "hunter" not in str(caught.value)
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__


def test_a_refused_login_is_told_at_once_without_the_password():
    """The broker keeps no users, so that it can refuse a login and never take one."""
    login = {"sasl.mechanism": "SCRAM-SHA-256", "sasl.username": "alice", "sasl.password": "hunter2"}
    options = {"security.protocol": "SASL_PLAINTEXT", **login}
    with running_broker(arguments=["--authentication"]) as broker:
        source = kafka("t", servers=broker.servers, schema=SCHEMA, options=options)
        with pytest.raises(DataError, match="refuses: .*unknown-user.*check the login in options=") as caught:
            source.open(["ts"], 1)
    shown = repr(source) + str(caught.value) + repr(caught.value.facts) + repr(source.parts({"0": 0}, {"0": 1}))
    assert "127.0.0.1" in shown
    assert "hunter2" not in shown
    assert "alice" not in shown


def test_tls_is_passed_through(tmp_path):
    cert, key = certificate(tmp_path)
    front = free_port()
    with running_broker(advertised=front) as broker, in_front_of(broker.port, front, cert, key):
        safe = {"security.protocol": "SSL", "ssl.ca.location": str(cert)}
        servers = f"127.0.0.1:{front}"
        create(servers, "t", options=safe)
        produce(servers, "t", messages(3, 1), safe)
        source = kafka("t", servers=servers, schema=SCHEMA, until="latest", options=safe)
        assert read_all(source).frame.height == 3
        distrustful = kafka("t", servers=servers, schema=SCHEMA, options={"security.protocol": "SSL"}, timeout_s=2.0)
        with pytest.raises(DataError, match="certificate"):
            distrustful.open(["ts"], 1)


def test_a_closed_source_can_be_opened_again(broker, topic):
    name = topic()
    broker.produce(name, messages(3, 1))
    source = kafka(name, servers=broker.servers, schema=SCHEMA, until="latest")
    for _ in range(2):
        assert read_all(source).frame.height == 3
        source.close()
    with pytest.raises(DataError, match="not open; call open"):
        source.plan(None, 10, 0.0)


def test_the_public_name_makes_the_source():
    from lepton_nb.windowing import sources

    for _ in range(2):
        assert isinstance(sources.kafka("t", servers="localhost:9092", schema=SCHEMA), KafkaSource)
