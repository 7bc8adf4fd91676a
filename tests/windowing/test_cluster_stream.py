"""Streams on a real cluster: the same results, state divided by key, and workers that die on the way."""

import os
import signal
from datetime import UTC, date, datetime

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal
from scripted import BrokenPart, DeadlyPart, Scripted

import lepton_nb as lnb
from lepton_nb.events import Progress, Status
from lepton_nb.windowing import blobs, tasks

START = datetime(2024, 1, 1, tzinfo=UTC)


@pytest.fixture
def breakable():
    """A cluster whose workers may be killed: one for each test, as new workers come in their place."""
    with lnb.Cluster(workers=2, threads=1) as running:
        yield running


def frame_of(rows):
    frame = pl.DataFrame(rows, schema={"key": pl.String, "ts": pl.Int64, "v": pl.Int64}, orient="row")
    return frame.with_columns((pl.lit(START) + pl.duration(seconds=pl.col("ts"))).alias("ts"))


def rows_of(count, keys=7):
    """Up to 3 s out of order, with breaks between."""
    return [(f"k{n % keys}", n + (5 * n) % 4 + 20 * (n // 30), n % 5) for n in range(count)]


def on(frame=None, **lateness):
    query = lnb.windows(frame, time="ts", key="key").agg(n=lnb.count(), v=lnb.sum("v"))
    return query.lateness(**lateness)


SHAPES = {
    "tumbling": lambda q: q.tumbling("10s"),
    "sliding": lambda q: q.sliding("10s", "3s"),
    "cumulating": lambda q: q.cumulating("20s", "5s"),
    "session": lambda q: q.session("3s"),
    "rolling": lambda q: q.rolling("4s"),
    "last rows": lambda q: q.rolling(rows=3),
    "counting": lambda q: q.counting(4, 3),
}


def batches_of(run):
    return [event.values["batch"] for event in run.events if isinstance(event, Progress)]


def stopped_after(run, batches):
    """Run it until so many batches are done, and stop it."""
    run.watch(lambda event: run.stop() if isinstance(event, Progress) and len(batches_of(run)) == batches else None)
    run.start().wait(120)
    assert run.status == Status.STOPPED
    return run


@pytest.mark.parametrize("shape", SHAPES)
def test_the_same_result_as_without(cluster, shape):
    frame = frame_of(rows_of(120))
    run = SHAPES[shape](on(out_of_order="4s")).stream(frame, cluster=cluster, batch_rows=31)
    run.wait()
    assert_frame_equal(run.table(), SHAPES[shape](on(frame)).collect())
    assert run.late().height == 0
    assert run.early().height == 0


@pytest.mark.parametrize("shape", [name for name in SHAPES if name not in ("last rows", "counting")])
def test_late_rows_on_the_cluster(cluster, shape):
    """The same rows are late, and the same windows come again, as in one process."""
    rows = [(f"k{n % 5}", n % 40 if n % 3 else n, n) for n in range(120)]
    script = [[("x", frame_of(rows[n : n + 12])), ("y", frame_of(rows[n + 12 : n + 24]))] for n in range(0, 120, 24)]
    query = SHAPES[shape](on(allowed="9s"))
    here, there = query.stream(Scripted(script)), query.stream(Scripted(script), cluster=cluster)
    here.wait()
    there.wait()
    assert_frame_equal(there.table(), here.table())
    assert here.late().height > 0
    assert_frame_equal(there.late(), here.late(), check_row_order=False)


@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(st.tuples(st.sampled_from("abcd"), st.integers(-60, 60), st.integers(-5, 5)), max_size=40),
    st.sampled_from(sorted(SHAPES)),
    st.integers(5, 40),
)
def test_any_rows_in_batches_of_any_size(cluster, rows, shape, batch_rows):
    run = SHAPES[shape](on(out_of_order="1h")).stream(frame_of(rows), cluster=cluster, batch_rows=batch_rows)
    run.wait()
    assert_frame_equal(run.table(), SHAPES[shape](on(frame_of(rows))).collect())


KEYS = {
    "String": lambda n: n.cast(pl.String),
    "Categorical": lambda n: n.cast(pl.String).cast(pl.Categorical),
    "Enum": lambda n: n.cast(pl.String).cast(pl.Enum([str(i) for i in range(9)])),
    "Int8": lambda n: n.cast(pl.Int8),
    "Float64": lambda n: (n.cast(pl.Float64) - 4) / 0.5,
    "Boolean": lambda n: n % 2 == 0,
    "Date": lambda n: pl.lit(date(2024, 1, 1)) + pl.duration(days=n),
    "Decimal": lambda n: n.cast(pl.Decimal(10, 2)),
}


@pytest.mark.parametrize("key", KEYS)
def test_keys_of_every_type(cluster, tmp_path, key):
    frame = frame_of(rows_of(90)).with_columns(KEYS[key](pl.int_range(pl.len()) % 9).alias("key"))
    if key == "Float64":
        frame = frame.with_columns(pl.when(pl.col("v") == 1).then(float("nan")).otherwise(pl.col("key")).alias("key"))
        frame = frame.with_columns(pl.when(pl.col("key") == 0).then(-0.0).otherwise(pl.col("key")).alias("key"))
    query = on(out_of_order="4s").sliding("20s", "5s")
    run = query.stream(frame, cluster=cluster, checkpoint=tmp_path / "c", batch_rows=25)
    stopped_after(run, 2)
    run = query.stream(frame, cluster=cluster, checkpoint=tmp_path / "c", batch_rows=25)
    run.wait()
    assert_frame_equal(run.table(), on(frame).sliding("20s", "5s").collect())


def test_without_keys_and_with_several(cluster):
    frame = frame_of(rows_of(90))
    for key in (None, ["key", "v"]):
        query = lnb.windows(frame, time="ts", key=key).session("3s").agg(n=lnb.count()).lateness(out_of_order="4s")
        run = query.stream(cluster=cluster, batch_rows=25)
        run.wait()
        assert_frame_equal(run.table(), query.collect())


def test_state_is_divided_by_key_and_let_go_at_the_end(cluster, tmp_path):
    frame = frame_of([(f"k{n}", n // 10, 1) for n in range(100)])
    run = on().tumbling("1h").stream(frame, cluster=cluster, checkpoint=tmp_path / "c", batch_rows=40)
    stopped_after(run, 2)
    files = sorted((tmp_path / "c" / "state").iterdir())
    assert len(files) == sum(cluster.client.nthreads().values()) > 1
    keys = [blobs.unpacked(file.read_bytes())[1].get("table") for file in files]
    held = [set(table["key:key"]) if table is not None else set() for table in keys]
    assert set.union(*held) == {f"k{n}" for n in range(80)}
    assert sum(map(len, held)) == 80
    assert all(held)
    assert run.early().height == 80
    assert set(cluster.client.run(_stores_held).values()) == {0}


def _stores_held():
    return len(tasks._warm)


def test_from_one_process_to_a_cluster_and_back(cluster, tmp_path):
    frame = frame_of(rows_of(200))
    for shape in ("sliding", "session", "counting", "rolling"):
        folder = tmp_path / shape
        query = SHAPES[shape](on(out_of_order="4s"))
        stopped_after(query.stream(frame, checkpoint=folder, batch_rows=23), 2)
        stopped_after(query.stream(frame, checkpoint=folder, batch_rows=23, cluster=cluster), 2)
        stopped_after(query.stream(frame, checkpoint=folder, batch_rows=23), 2)
        run = query.stream(frame, checkpoint=folder, batch_rows=23, cluster=cluster)
        run.wait()
        assert_frame_equal(run.table(), SHAPES[shape](on(frame)).collect())
        assert run.late().height == 0


def test_a_worker_that_is_killed_takes_nothing_with_it(breakable, tmp_path):
    frame = frame_of(rows_of(200))
    killed = []

    def kill(event):
        if isinstance(event, Progress) and event.values["batch"] in (2, 5):
            pids = breakable.client.run(os.getpid)
            address = sorted(pids)[len(killed) % len(pids)]
            killed.append(pids[address])
            os.kill(pids[address], signal.SIGKILL)

    run = on(out_of_order="4s").session("3s").stream(
        frame, tmp_path / "results.duckdb", cluster=breakable, checkpoint=tmp_path / "c", batch_rows=25
    )  # fmt: skip
    run.watch(kill)
    run.start().wait(120)
    assert len(killed) == 2
    assert_frame_equal(run.table(), on(frame).session("3s").collect())
    assert batches_of(run) == list(range(1, 9))


def test_workers_that_die_while_they_read_are_replaced(breakable, tmp_path):
    frame = frame_of(rows_of(80))
    script = [
        [("x", frame[n : n + 10]), DeadlyPart("x", frame[n + 10 : n + 20], str(tmp_path / f"died-{n}"))]
        for n in range(0, 80, 20)
    ]
    query = on(out_of_order="4s").sliding("10s", "3s")
    run = query.stream(Scripted(script), cluster=breakable, checkpoint=tmp_path / "c")
    run.wait(120)
    assert len(list(tmp_path.glob("died-*"))) == 4
    assert_frame_equal(run.table(), on(frame).sliding("10s", "3s").collect())


def test_another_number_of_workers(breakable, tmp_path):
    frame = frame_of(rows_of(150))
    query = on(out_of_order="4s").counting(4, 3)
    stopped_after(query.stream(frame, checkpoint=tmp_path / "c", batch_rows=25, cluster=breakable), 2)
    before = len(list((tmp_path / "c" / "state").iterdir()))
    breakable.scale(3)
    breakable.client.wait_for_workers(3)
    stopped_after(query.stream(frame, checkpoint=tmp_path / "c", batch_rows=25, cluster=breakable), 1)
    assert len(list((tmp_path / "c" / "state").iterdir())) > before
    breakable.scale(1)
    run = query.stream(frame, checkpoint=tmp_path / "c", batch_rows=25, cluster=breakable)
    run.wait()
    assert_frame_equal(run.table(), on(frame).counting(4, 3).collect())


def test_a_batch_that_kills_its_workers_ends_in_an_error_with_a_fix(breakable, tmp_path):
    frame = frame_of(rows_of(20))
    query = on(out_of_order="4s").tumbling("10s")
    scheduler = breakable.client.cluster.scheduler
    usual, scheduler.allowed_failures = scheduler.allowed_failures, 0
    try:
        run = query.stream(
            Scripted([[("x", frame)], [DeadlyPart("x", frame)]]), cluster=breakable, checkpoint=tmp_path / "c"
        )
        with pytest.raises(lnb.ClusterError, match="workers died while they did a batch.*give the workers more memory"):
            run.wait(120)
    finally:
        scheduler.allowed_failures = usual
    # What was done before is there, and with a part that can be read it goes on.
    breakable.client.wait_for_workers(1)
    more = frame_of([("k1", 60, 1)])
    run = query.stream(Scripted([[("x", frame)], [("x", more)]]), cluster=breakable, checkpoint=tmp_path / "c")
    run.wait(120)
    assert_frame_equal(run.table(), on(pl.concat([frame, more])).tumbling("10s").collect())


def test_an_error_on_a_worker_comes_back_as_it_is(cluster):
    script = [[("x", frame_of(rows_of(20)))], [BrokenPart("x", "the disk with these rows is gone")]]
    with pytest.raises(lnb.DataError, match="the disk with these rows is gone"):
        on().tumbling("10s").stream(Scripted(script), cluster=cluster).wait()


def test_a_cluster_that_is_closed_or_none_is_refused():
    with pytest.raises(lnb.ClusterError, match="must be an lnb.Cluster or a distributed.Client"):
        on(frame_of([])).tumbling("10s").stream(cluster="two workers")
    with lnb.Cluster(workers=1, threads=1) as closing:
        frame = frame_of(rows_of(60))
        run = on().tumbling("10s").stream(frame, cluster=closing, batch_rows=10)
        run.watch(lambda event: closing.close() if isinstance(event, Progress) else None)
        with pytest.raises(lnb.ClusterError, match="the cluster was closed while the stream ran"):
            run.wait(120)
    with pytest.raises(lnb.ClusterError, match="cluster is closed"):
        on(frame_of([])).tumbling("10s").stream(cluster=closing).wait()
