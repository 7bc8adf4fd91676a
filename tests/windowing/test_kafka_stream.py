"""A stream from Kafka to Kafka: killed in the middle, its broker restarted, it gives what the batch query gives."""

from __future__ import annotations

import json
import random
import subprocess
import sys
from datetime import UTC, datetime, timedelta

import polars as pl
import pytest
from polars.testing import assert_frame_equal

import lepton_nb as lnb

START = datetime(2024, 1, 1, tzinfo=UTC)
SCHEMA = {"ts": pl.Datetime("us", "UTC"), "key": pl.String, "value": pl.Int64}
EVENTS, PARTITIONS = 200_000, 4
POISON = [b"no json", b'{"ts":"2024-01-01","key":"a","value":"high"}', b'{"key":"a","value":1}']


def query(frame):
    return (
        lnb.windows(frame, time="ts", key="key")
        .tumbling("1m")
        .agg(n=lnb.count(), total=lnb.sum("value"), top=lnb.max("value"))
        .lateness(out_of_order="5s")
    )


def run(servers, folder):
    source = lnb.sources.kafka("events", servers=servers, schema=SCHEMA, until="latest")
    return query(None).stream(source, lnb.sinks.kafka("results", servers=servers), checkpoint=folder, batch_rows=10_000)


WORKER = """
import sys
sys.path[:0] = sys.argv[3:]
from test_kafka_stream import run
stream = run(sys.argv[1], sys.argv[2])
stream.watch(lambda event: print(getattr(event, "done", 0), flush=True))
stream.start().wait()
"""


@pytest.mark.slow
def test_every_result_is_there_once_after_a_kill_and_a_restart_of_the_broker(lasting_broker, tmp_path):
    rng = random.Random(1)
    at = [START + timedelta(milliseconds=20 * i - rng.randrange(5000)) for i in range(EVENTS)]
    rows = [{"ts": ts.isoformat(), "key": f"k{i % 7}", "value": i} for i, ts in enumerate(at)]
    lasting_broker.create("events", PARTITIONS)
    lasting_broker.create("results", PARTITIONS)
    messages = [{"value": json.dumps(row).encode(), "partition": i % PARTITIONS} for i, row in enumerate(rows)]
    for i, payload in enumerate(POISON):
        messages.insert(50_000 * (i + 1), {"value": payload, "partition": i})
    lasting_broker.produce("events", messages)

    folders = [folder for folder in sys.path if folder.endswith("support")] + [__file__.rpartition("/")[0]]
    folder = str(tmp_path / "checkpoint")
    command = [sys.executable, "-c", WORKER, lasting_broker.servers, folder, *folders]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as worker:
        done = 0
        for line in worker.stdout:
            done = int(line)
            if done >= 60_000:
                break
        worker.kill()
        worker.stdout.read()
    assert 60_000 <= done < EVENTS
    lasting_broker.stop()
    lasting_broker.start()

    stream = run(lasting_broker.servers, folder)
    stream.start().wait(120)
    frame = pl.DataFrame({"ts": at, "key": [row["key"] for row in rows], "value": [row["value"] for row in rows]})
    expected = query(frame.cast(SCHEMA)).collect()
    assert_frame_equal(stream.table(), expected, check_row_order=False)
    dead = stream.dead().sort("channel")
    assert dead["value"].to_list() == [payload.decode() for payload in POISON]
    assert [reason[:7] for reason in dead["reason"]] == ["not JSO", "column ", "no 'ts'"]
