"""Streams from real sources to real sinks: what they promise while they run, when they stop, and when they go on."""

import os
import signal
import tempfile
import threading
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import duckdb
import polars as pl
import pytest
import reference
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal
from scripted import BrokenPart, Scripted

import lepton_nb as lnb
from lepton_nb.events import Failed, Finished, Progress, Started, Status
from lepton_nb.windowing import WindowState
from lepton_nb.windowing.sinks.database import DuckDBSink
from lepton_nb.windowing.sinks.dataset import ParquetSink
from lepton_nb.windowing.spec import SessionShape
from lepton_nb.windowing.watermarks import Watermarks

pytestmark = pytest.mark.filterwarnings("ignore::lepton_nb.errors.WindowWarning")

START = datetime(1970, 1, 1, tzinfo=UTC)
SCHEMA = {"key": pl.String, "ts": pl.Int64, "v": pl.Int64}


def frame_of(rows):
    """Rows (key, seconds) or (key, seconds, value)."""
    frame = pl.DataFrame([(*row, 1)[:3] for row in rows], schema=SCHEMA, orient="row")
    return frame.with_columns((pl.lit(START) + pl.duration(seconds=pl.col("ts"))).alias("ts"))


def at(seconds):
    return START + timedelta(seconds=seconds)


def on(frame=None, **lateness):
    query = lnb.windows(frame, time="ts", key="key").agg(n=lnb.count(), v=lnb.sum("v"))
    return query.lateness(**lateness)


def walk(count, keys=3):
    """Rows in order, one a second."""
    return [(f"k{n % keys}", n, n % 7) for n in range(count)]


def seconds(table):
    """Windows as (key, start, end, ...) in seconds since START."""
    first = int(START.timestamp())
    flat = table.with_columns(pl.col("window_start", "window_end").dt.epoch("s") - first)
    return [tuple(row) for row in flat.rows()]


def progress_of(run):
    return [event for event in run.events if isinstance(event, Progress)]


def run_in_pieces(make, batches=2):
    """Start, stop after some batches, start again with the same checkpoint, until the source has ended."""
    for _ in range(100):
        run = make()
        seen = []

        def count(event, run=run, seen=seen):
            if isinstance(event, Progress):
                seen.append(event)
                if len(seen) == batches and not event.values["over"]:
                    run.stop()

        run.watch(count)
        run.start().wait(60)
        if run.status == Status.FINISHED:
            return run
        assert run.status == Status.STOPPED
    raise AssertionError("the stream does not get to its end")


class Gate:
    """A sink that holds the stream up until it is opened."""

    def __init__(self):
        self.reached = threading.Event()
        self.open = threading.Event()
        self.batches = []

    def __call__(self, table, batch):
        self.reached.set()
        assert self.open.wait(30)
        self.batches.append(batch)


SINKS = {
    "own": lambda folder: None,
    "parquet": lambda folder: lnb.sinks.parquet(folder / "results"),
    "duckdb": lambda folder: lnb.sinks.duckdb(folder / "results.duckdb"),
}
SOURCES = {
    "table": lambda frame, folder: frame,
    "one file": lambda frame, folder: written(frame, folder / "one", 1),
    "files": lambda frame, folder: written(frame, folder / "many", 4),
    "rows": lambda frame, folder: lambda: frame.to_dicts(),
}


def written(frame, folder, count):
    folder.mkdir(exist_ok=True)
    size = -(-frame.height // count)
    for n in range(count):
        frame[n * size : (n + 1) * size].write_parquet(folder / f"{n}.parquet", row_group_size=7)
    return folder


# Events and values


def test_events_tell_where_a_stream_stands(tmp_path):
    script = [
        [("scripted", frame_of([("a", 0), ("a", 12), (None, 3)]))],
        [("scripted", frame_of([("a", 1), ("b", 25)]))],
        [("scripted", frame_of([]))],
        [("scripted", frame_of([("b", 26)]))],
    ]
    run = on().tumbling("10s").stream(Scripted(script), checkpoint=tmp_path / "c")
    run.wait()
    first, *middle, last = run.events
    assert isinstance(first, Started)
    assert isinstance(last, Finished)
    assert not last.stopped
    assert [event.done for event in middle] == [3, 5, 5, 6]
    names = ("batch", "lag_rows", "windows", "late", "aside", "dead", "over")
    assert [tuple(event.values[name] for name in names) for event in middle] == [
        (1, 3, 1, 0, 1, 0, False),
        (2, 2, 2, 1, 1, 0, False),
        (3, 1, 2, 1, 1, 0, False),
        (4, 0, 3, 1, 1, 0, True),
    ]
    tick = timedelta(microseconds=1)
    assert [event.values["watermark"] for event in middle] == [at(12) - tick, at(25) - tick, at(25) - tick, None]
    assert [event.values["latest"] for event in middle] == [at(12), at(25), at(25), at(26)]
    assert [event.values["state_rows"] for event in middle] == [1, 1, 1, 0]
    assert all(event.values["state_bytes"] > 0 for event in middle[:-1])
    assert all(event.values["batch_s"] > 0 and event.values["rows_per_s"] >= 0 for event in middle)
    assert seconds(run.table()) == [("a", 0, 10, 1, 1), ("a", 10, 20, 1, 1), ("b", 20, 30, 2, 2)]


def test_times_that_python_has_not_stop_nothing():
    years = [-3_000, 9_000]
    frame = pl.DataFrame({"ts": [year * 31_556_952_000 for year in years]}).cast(pl.Datetime("ms"))
    given = []
    run = lnb.windows(frame, time="ts").tumbling("1d").agg(n=lnb.count()).stream(sink=given.append, batch_rows=1)
    run.wait()
    assert pl.concat(given)["n"].to_list() == [1, 1]
    assert [event.values["latest"] for event in progress_of(run)] == [None, None]


@pytest.mark.parametrize("checkpoint", [True, False])
def test_what_can_be_read_while_it_runs_and_after_the_end(tmp_path, checkpoint):
    script = [
        [("scripted", frame_of([("a", 0), ("a", 12), (None, 3)]))],
        [("scripted", frame_of([("a", 1), ("b", 25)]))],
    ]
    run = on().tumbling("10s").stream(Scripted(script, endless=True), checkpoint=tmp_path / "c" if checkpoint else None)
    assert run.watermark is None
    for call in (run.table, run.late, run.aside, run.dead, run.early):
        with pytest.raises(lnb.WindowError, match="read nothing yet; start"):
            call()
    two = threading.Event()
    run.watch(lambda event: two.set() if isinstance(event, Progress) and event.values["batch"] == 2 else None)
    run.start()
    assert two.wait(30)

    def look():
        assert seconds(run.table()) == [("a", 0, 10, 1, 1), ("a", 10, 20, 1, 1)]
        assert seconds(run.early()) == [("b", 20, 30, 1, 1)]
        assert run.late().select("key", "ts").rows() == [("a", at(1))]
        assert run.aside().select("key", "ts").rows() == [(None, at(3))]
        assert run.dead().height == 0
        assert run.dead().columns == ["channel", "offset", "reason", "value"]
        assert run.watermark == at(25) - timedelta(microseconds=1)

    look()
    run.stop()
    assert run.status == Status.STOPPED
    look()
    assert not list(Path(tempfile.gettempdir()).glob("lepton-nb-stream-*"))


def test_after_the_end_nothing_is_open(tmp_path):
    frame = frame_of(walk(40))
    for checkpoint in (tmp_path / "c", None):
        run = on(frame).tumbling("10s").stream(checkpoint=checkpoint, batch_rows=9)
        run.wait()
        assert run.early().height == 0
        assert run.late().height == 0
        assert run.watermark is None
        assert_frame_equal(run.table(), on(frame).tumbling("10s").collect())


def test_what_is_no_row_becomes_a_dead_letter(tmp_path):
    lines = [
        '{"key": "a", "ts": "1970-01-01T00:00:00", "v": 1}',
        "no",
        '{"key": "a", "ts": "1970-01-01T00:00:20", "v": 2}',
    ]
    (tmp_path / "rows.jsonl").write_text("\n".join(lines) + "\n")
    schema = {"key": pl.String, "ts": pl.Datetime("us", "UTC"), "v": pl.Int64}
    source = lnb.sources.files(tmp_path / "rows.jsonl", schema=schema)
    run = on().tumbling("10s").stream(source, checkpoint=tmp_path / "c")
    run.wait()
    assert seconds(run.table()) == [("a", 0, 10, 1, 1), ("a", 20, 30, 1, 2)]
    assert run.dead()["value"].to_list() == ["no"]
    assert progress_of(run)[-1].values["dead"] == 1


def test_an_empty_source_gives_an_empty_result(tmp_path):
    for query in (on(frame_of([])).tumbling("10s"), on(frame_of([])).session("10s"), on(frame_of([])).counting(2)):
        run = query.stream()
        run.wait()
        assert_frame_equal(run.table(), query.collect())
        assert run.early().height == run.late().height == run.aside().height == run.dead().height == 0


# Starting, stopping, going on


def test_start_stop_and_wait():
    run = on(frame_of(walk(30))).tumbling("10s").stream()
    with pytest.raises(lnb.LeptonError, match="never started; call start"):
        run.stop()
    assert run.start() is run
    with pytest.raises(lnb.LeptonError, match="already started; make a new run"):
        run.start()
    assert run.wait() is None
    run.stop()
    run.stop()
    run.wait()
    assert run.status == Status.FINISHED
    # wait() starts what start() has not.
    other = on(frame_of(walk(30))).tumbling("10s").stream()
    other.wait(60)
    assert_frame_equal(other.table(), run.table())


def test_a_stop_ends_an_endless_source_after_the_batch_under_way(tmp_path):
    script = [[("scripted", frame_of([("a", n * 10)]))] for n in range(5)]
    source = Scripted(script, endless=True)
    gate = Gate()
    run = on().tumbling("10s").stream(source, gate, checkpoint=tmp_path / "c")
    run.start()
    assert gate.reached.wait(30)
    with pytest.raises(lnb.LeptonError, match="has not stopped after 0"):
        run.stop(timeout_s=0)
    gate.open.set()
    run.stop()
    assert gate.batches == [2]
    assert run.status == Status.STOPPED
    assert source.done == [1, 2]
    assert source.closed == 1


@pytest.mark.parametrize("sink", SINKS)
@pytest.mark.parametrize("source", SOURCES)
def test_stopped_again_and_again_it_gives_what_the_table_gives(tmp_path, source, sink):
    frame = frame_of(walk(120))
    thing = SOURCES[source](frame, tmp_path)
    query = on().sliding("10s", "5s").lateness(out_of_order="3s")

    def make():
        return query.stream(thing, SINKS[sink](tmp_path), checkpoint=tmp_path / "c", batch_rows=11)

    run = run_in_pieces(make)
    expected = on(frame).sliding("10s", "5s").collect()
    assert_frame_equal(run.table(), expected)
    assert run.late().height == 0
    # The source has ended: started again, it is done at once, and has everything still.
    again = make()
    again.wait()
    assert not progress_of(again)
    assert_frame_equal(again.table(), expected)


SHAPES = {
    "tumbling": lambda q: q.tumbling("10s"),
    "sliding": lambda q: q.sliding("10s", "3s"),
    "gaps": lambda q: q.sliding("3s", "10s"),
    "cumulating": lambda q: q.cumulating("20s", "5s"),
    "session": lambda q: q.session("2s"),
    "rolling": lambda q: q.rolling("4s"),
    "last rows": lambda q: q.rolling(rows=3),
    "counting": lambda q: q.counting(4, 3),
}


@pytest.mark.parametrize("shape", SHAPES)
def test_every_kind_of_windows_goes_on_after_a_stop(tmp_path, shape):
    rows = [(f"k{n % 3}", n + (5 * n) % 4 + 20 * (n // 15), n % 7) for n in range(60)]
    frame = frame_of(rows)
    query = SHAPES[shape](on(out_of_order="4s"))
    run = run_in_pieces(lambda: query.stream(frame, checkpoint=tmp_path / "c", batch_rows=7))
    assert_frame_equal(run.table(), SHAPES[shape](on(frame)).collect())
    assert run.late().height == 0


def test_a_function_sees_every_batch_once(tmp_path):
    frame = frame_of(walk(120))
    given = []
    run_in_pieces(
        lambda: on().tumbling("10s").stream(
            frame, lambda table, batch: given.append((batch, table)), checkpoint=tmp_path / "c", batch_rows=11
        )
    )  # fmt: skip
    numbers = [batch for batch, _ in given]
    assert numbers == sorted(set(numbers))
    whole = pl.concat([table for _, table in given]).sort("key", "window_start")
    assert_frame_equal(whole, on(frame).tumbling("10s").collect())


def test_a_function_cannot_be_read_back(tmp_path):
    run = on(frame_of(walk(20))).tumbling("10s").stream(sink=lambda table: None)
    run.wait()
    with pytest.raises(lnb.WindowError, match="cannot be read back; read its rows where they went"):
        run.table()


def test_batches_may_have_another_size_after_a_restart(tmp_path):
    frame = frame_of(walk(200))
    sizes = iter([7, 50, 3, 1000])
    run = run_in_pieces(
        lambda: on().session("1s").stream(frame, checkpoint=tmp_path / "c", batch_rows=next(sizes)), batches=3
    )
    assert_frame_equal(run.table(), on(frame).session("1s").collect())


def test_ctrl_c_while_waiting_stops_cleanly(tmp_path):
    frame = frame_of(walk(120))
    run = on().tumbling("10s").stream(frame, checkpoint=tmp_path / "c", batch_rows=10)

    def interrupt(event):
        if isinstance(event, Progress) and event.values["batch"] == 2:
            os.kill(os.getpid(), signal.SIGINT)
            # Until the waiting thread has asked for the stop.
            assert run._control.wait_for_stop(30)

    run.watch(interrupt)
    with pytest.raises(KeyboardInterrupt):
        run.wait()
    assert run.status == Status.STOPPED
    again = on().tumbling("10s").stream(frame, checkpoint=tmp_path / "c", batch_rows=10)
    again.wait()
    assert_frame_equal(again.table(), on(frame).tumbling("10s").collect())


# Checkpoint folders


def test_two_streams_cannot_share_a_checkpoint(tmp_path):
    query = on().tumbling("10s")
    first = query.stream(Scripted([[("scripted", frame_of([("a", 1)]))]], endless=True), checkpoint=tmp_path / "c")
    begun = threading.Event()
    first.watch(lambda event: begun.set() if isinstance(event, Progress) else None)
    first.start()
    assert begun.wait(30)
    with pytest.raises(lnb.WindowError, match="another stream is running with the checkpoint .*; stop it first"):
        query.stream(frame_of([("a", 1)]), checkpoint=tmp_path / "c").wait()
    assert first.status == Status.RUNNING
    first.stop()


def test_a_checkpoint_of_another_query_is_refused(tmp_path):
    frame = frame_of(walk(30))
    on(frame).tumbling("10s").stream(checkpoint=tmp_path / "c").wait()
    for other in (on(frame).tumbling("20s"), on(frame, allowed="1s").tumbling("10s"), on(frame).session("10s")):
        run = other.stream(checkpoint=tmp_path / "c")
        with pytest.raises(lnb.WindowError, match="made by another query.*start anew in another place"):
            run.wait()
        assert run.status == Status.FAILED
        assert isinstance(run.events[-1], Failed)


def test_a_foreign_folder_is_left_as_it_is(tmp_path):
    (tmp_path / "thesis.txt").write_text("do not touch")
    with pytest.raises(lnb.WindowError, match=r"holds other files \(thesis.txt\); give a new or an empty folder"):
        on(frame_of(walk(3))).tumbling("10s").stream(checkpoint=tmp_path).wait()
    assert {path.name for path in tmp_path.iterdir()} <= {"thesis.txt", ".lock"}
    with pytest.raises(lnb.WindowError, match="cannot be used"):
        on(frame_of(walk(3))).tumbling("10s").stream(checkpoint=tmp_path / "thesis.txt").wait()


def test_a_checkpoint_of_another_version_is_refused(tmp_path):
    frame = frame_of(walk(30))
    on(frame).tumbling("10s").stream(checkpoint=tmp_path / "c").wait()
    text = (tmp_path / "c" / "stream.json").read_text()
    (tmp_path / "c" / "stream.json").write_text(text.replace('"format": 1', '"format": 99'))
    with pytest.raises(lnb.WindowError, match="written by another version; start anew in another folder"):
        on(frame).tumbling("10s").stream(checkpoint=tmp_path / "c").wait()


@pytest.mark.parametrize("name", ["commit.json", "intent.json", "stream.json"])
def test_a_damaged_checkpoint_says_so(tmp_path, name):
    frame = frame_of(walk(30))
    query = on().tumbling("10s")
    run = query.stream(Scripted([[("scripted", frame)], [BrokenPart("scripted", "gone")]]), checkpoint=tmp_path / "d")
    with pytest.raises(lnb.DataError, match="gone"):
        run.wait()
    (tmp_path / "d" / name).write_text('{"batch": 1')
    with pytest.raises(lnb.WindowError, match=f"{name} is damaged; start anew in another folder"):
        query.stream(frame, checkpoint=tmp_path / "d").wait()


def test_state_that_is_missing_or_damaged_says_so(tmp_path):
    frame = frame_of(walk(30))
    query = on().tumbling("10s")
    script = [[("scripted", frame)], [BrokenPart("scripted", "gone")]]
    with pytest.raises(lnb.DataError, match="gone"):
        query.stream(Scripted(script), checkpoint=tmp_path / "c").wait()
    (state,) = (tmp_path / "c" / "state").iterdir()
    content = state.read_bytes()
    state.write_bytes(content[:-1])
    with pytest.raises(lnb.WindowError, match="it is damaged"):
        query.stream(Scripted([script[0], script[0]]), checkpoint=tmp_path / "c").wait()
    state.unlink()
    with pytest.raises(lnb.WindowError, match=r"the state .* is missing"):
        query.stream(Scripted([script[0], script[0]]), checkpoint=tmp_path / "c").wait()
    state.write_bytes(content)
    run = query.stream(Scripted([script[0], [("scripted", frame_of([("a", 31)]))]]), checkpoint=tmp_path / "c")
    run.wait()
    assert_frame_equal(run.table(), on(frame_of([*walk(30), ("a", 31)])).tumbling("10s").collect())


def test_only_the_state_of_the_last_batch_is_kept(tmp_path):
    run = on(frame_of(walk(100))).tumbling("10s").stream(checkpoint=tmp_path / "c", batch_rows=5)
    run.wait()
    assert len(list((tmp_path / "c" / "state").iterdir())) == 1


# Failures


def test_a_source_that_fails_fails_the_stream_which_then_goes_on(tmp_path):
    frame = frame_of(walk(60))
    whole = [[("scripted", frame[n : n + 20])] for n in (0, 20, 40)]
    broken = [whole[0], [BrokenPart("scripted", "the disk with these rows is gone")], whole[2]]
    run = on().tumbling("10s").stream(Scripted(broken), checkpoint=tmp_path / "c")
    with pytest.raises(lnb.DataError, match="the disk with these rows is gone"):
        run.wait()
    assert run.status == Status.FAILED
    assert seconds(run.table()) == [row for row in seconds(on(frame[:20]).tumbling("10s").collect()) if row[2] <= 19]
    run = on().tumbling("10s").stream(Scripted(whole), checkpoint=tmp_path / "c")
    run.wait()
    assert_frame_equal(run.table(), on(frame).tumbling("10s").collect())


def test_without_a_checkpoint_what_was_done_before_the_failure_can_be_read():
    frame = frame_of(walk(20))
    script = [[("scripted", frame)], [BrokenPart("scripted", "gone")]]
    run = on().tumbling("10s").stream(Scripted(script))
    with pytest.raises(lnb.DataError, match="gone"):
        run.wait()
    assert seconds(run.table())[0][:3] == ("k0", 0, 10)
    assert run.early().height > 0


@pytest.mark.parametrize("batch", [2, 3, 5])
def test_a_sink_that_raises_fails_the_stream_which_then_goes_on(tmp_path, batch):
    frame = frame_of(walk(60))
    given = {}

    def take(table, number):
        if number == batch and number not in given and not recovered:
            raise ValueError("the receiver hung up")
        given[number] = table

    recovered = False
    run = on().tumbling("10s").stream(frame, take, checkpoint=tmp_path / "c", batch_rows=10)
    with pytest.raises(ValueError, match="the receiver hung up"):
        run.wait()
    assert run.status == Status.FAILED
    recovered = True
    on().tumbling("10s").stream(frame, take, checkpoint=tmp_path / "c", batch_rows=10).wait()
    assert_frame_equal(
        pl.concat(given.values()).sort("key", "window_start"), on(frame).tumbling("10s").collect()
    )  # fmt: skip


class Dropping:
    """Stores a batch, and fails before it can say so, once."""

    dropped = False

    def write(self, batch, rows, retracted):
        super().write(batch, rows, retracted)
        if not self.dropped:
            self.dropped = True
            raise ConnectionError("the line went dead")


class DroppingParquet(Dropping, ParquetSink):
    pass


class DroppingDuckDB(Dropping, DuckDBSink):
    pass


@pytest.mark.parametrize("kind", [DroppingParquet, DroppingDuckDB])
def test_a_channel_that_shows_up_between_two_tries_of_a_batch_changes_nothing(tmp_path, kind):
    """What was stored before the failure holds, also where the watermark would now be another."""
    script = [[("a", frame_of([("k", 1), ("k", 30)]))], [("a", frame_of([("k", 31)])), ("b", frame_of([("k", 32)]))]]
    query = on().tumbling("10s")
    path = tmp_path / "results.duckdb"
    with pytest.raises(ConnectionError):
        query.stream(Scripted(script, channels=("a",)), kind(path), checkpoint=tmp_path / "c").wait()
    run = query.stream(Scripted(script, channels=("a", "b")), kind(path), checkpoint=tmp_path / "c")
    run._sink.dropped = True
    run.wait()
    assert seconds(run.table()) == [("k", 0, 10, 1, 1), ("k", 30, 40, 3, 3)]


# Back-pressure


def test_a_slow_sink_holds_up_the_source():
    source = Scripted([[("scripted", frame_of([("a", n * 10)]))] for n in range(50)])
    gate = Gate()
    run = on().tumbling("10s").stream(source, gate)
    run.start()
    assert gate.reached.wait(30)
    # Batch 2 is the first with a result. Behind it, one batch is read ahead, no more.
    with source.news:
        source.news.wait_for(lambda: source.planned >= 3, 10)
    for _ in range(20):
        with source.news:
            assert not source.news.wait_for(lambda: source.planned > 3, 0.01)
    gate.open.set()
    run.wait()
    assert source.planned == 50


def test_a_stream_that_ended_does_not_pass_over_what_has_come_since(tmp_path):
    frame = frame_of([("k", n) for n in range(40)])
    (tmp_path / "rows").mkdir()
    frame[:20].write_parquet(tmp_path / "rows" / "1.parquet")
    query = on().tumbling("10s")
    query.stream(tmp_path / "rows", checkpoint=tmp_path / "c").wait()
    again = query.stream(tmp_path / "rows", checkpoint=tmp_path / "c")
    again.wait()
    assert again.table()["n"].sum() == 20
    frame[20:].write_parquet(tmp_path / "rows" / "2.parquet")
    with pytest.raises(lnb.WindowError, match="ended after 20 rows .* others since; give a new checkpoint"):
        query.stream(tmp_path / "rows", checkpoint=tmp_path / "c").wait()


# Watermarks


def test_the_watermark_is_the_smallest_of_the_channels(tmp_path):
    script = [
        [("a", frame_of([("k", 35)]))],  # b has shown nothing
        [("b", frame_of([("k", 12)]))],  # up to 12
        [("b", frame_of([("k", 21)]))],  # up to 21
        [("a", frame_of([("k", 50)]))],  # still
        [("b", frame_of([("k", 41)]))],
    ]
    given = []
    source = Scripted(script, channels=("a", "b"))
    run = on().tumbling("10s").stream(source, lambda table, batch: given.append((batch, seconds(table))))
    run.wait()
    assert given == [
        (3, [("k", 10, 20, 1, 1)]),
        (5, [("k", 20, 30, 1, 1), ("k", 30, 40, 1, 1), ("k", 40, 50, 1, 1), ("k", 50, 60, 1, 1)]),
    ]
    marks = [event.values["watermark"] for event in progress_of(run)]
    tick = timedelta(microseconds=1)
    assert marks == [None, at(12) - tick, at(21) - tick, at(21) - tick, None]
    assert run.late().height == 0


def test_a_finished_channel_holds_nothing_back():
    script = [[("a", frame_of([("k", 35)])), ("b", frame_of([("k", 3)]))], [("a", frame_of([("k", 60)]))], []]
    given = []
    source = Scripted(script, channels=("a", "b"), finished={"b": 1})
    run = on().tumbling("10s").stream(source, lambda table, batch: given.append((batch, seconds(table))))
    run.wait()
    assert [(batch, [row[1] for row in rows]) for batch, rows in given] == [(1, [0]), (2, [30]), (3, [60])]


def test_an_idle_channel_is_left_behind_and_its_rows_are_then_late(tmp_path):
    script = [[("a", frame_of([("k", 35)]))]]
    query = on().tumbling("10s")
    moved = threading.Event()
    run = query.stream(Scripted(script, channels=("a", "b"), endless=True), checkpoint=tmp_path / "c", idle="1ms")
    run.watch(
        lambda event: moved.set() if isinstance(event, Progress) and event.values["watermark"] is not None else None
    )
    run.start()
    assert moved.wait(30)
    run.stop()
    assert run.watermark == at(35) - timedelta(microseconds=1)
    # It comes back with rows from before: the watermark does not go back.
    script += [[("b", frame_of([("k", 3), ("k", 36)]))], [("a", frame_of([("k", 70)]))], [("b", frame_of([("k", 71)]))]]
    while len(script) < 1 + progress_of(run)[-1].values["batch"]:
        script.insert(1, [])
    again = query.stream(Scripted(script, channels=("a", "b")), checkpoint=tmp_path / "c")
    again.wait()
    assert again.late().select("ts").rows() == [(at(3),)]
    assert seconds(again.table()) == [("k", 30, 40, 2, 2), ("k", 70, 80, 2, 2)]


def test_which_channels_are_idle_by_a_clock_that_is_given():
    marks = Watermarks(5, {}, None, 10.0)
    assert marks.idle(["a", "b"], 100.0) == ()
    latest = marks.with_rows([("a", 50), ("b", None)], 105.0)
    assert marks.watermark(latest, ["a", "b"], (), ()) is None
    assert marks.idle(["a", "b"], 115.0) == ()
    assert marks.idle(["a", "b"], 115.1) == ("a", "b")
    assert marks.watermark(latest, ["a", "b"], (), ("b",)) == 44
    # All are silent: what they have shown counts.
    assert marks.watermark({"a": 60, "b": 50}, ["a", "b"], (), ("a", "b")) == 54
    # It never goes back.
    assert marks.watermark({"a": 90, "b": 10}, ["a", "b"], (), ()) == 54
    assert marks.would_move(["a", "b"], ("b",), ())
    # All have ended: what they have shown counts.
    assert marks.watermark({"a": 90, "b": 10}, ["a", "b"], ("a", "b"), ()) == 84
    assert Watermarks(0, {}, None, None).idle(["a"], 1e9) == ()


# Exactness


def test_several_parts_of_one_batch_are_one(tmp_path):
    frame = frame_of(walk(60))
    written(frame, tmp_path / "in", 3)
    for shape in SHAPES.values():
        run = shape(on(out_of_order="1h")).stream(lnb.sources.files(tmp_path / "in", channels="file"))
        run.wait()
        assert_frame_equal(run.table(), shape(on(frame)).collect())


@pytest.mark.parametrize("sink", SINKS)
@pytest.mark.parametrize("shape", [name for name in SHAPES if name not in ("last rows", "counting")])
def test_late_rows_of_several_parts_bring_a_window_again(tmp_path, shape, sink):
    """Each of two channels starts over in the middle; rows of equal times and keys in both."""
    rows = [("a", n % 30, n) for n in range(60)] + [("a", n % 30, 1) for n in range(60)]
    script = [[("x", frame_of(rows[n : n + 6])), ("y", frame_of(rows[60 + n : 66 + n]))] for n in range(0, 60, 6)]
    query = SHAPES[shape](on(allowed="1h"))
    run = query.stream(Scripted(script), SINKS[sink](tmp_path))
    run.wait()
    assert_frame_equal(run.table(), SHAPES[shape](on(frame_of(rows))).collect())
    assert run.late().height == 0


def test_sides_of_a_join_with_different_allowed_lateness():
    left = lnb.windows(time="ts", key="key").tumbling("10s").agg(n=lnb.count())
    right = lnb.windows(time="ts", key="key").tumbling("10s").agg(m=lnb.count())
    first, second = frame_of([("a", 1), ("a", 50), ("a", 2)]), frame_of([("a", 1), ("a", 50), ("a", 51)])
    for how in ("inner", "left", "full"):
        run = left.lateness(allowed="1h").join(right, how=how).stream(first, second, batch_rows=4)
        run.wait()
        assert run.table().select("n", "m").rows() == [(2, 1), (1, 2)]


@st.composite
def streams(draw):
    """A kind of windows, rows with times in seconds, a bound, and the rows in an order within it."""
    kind = draw(st.sampled_from(sorted(reference.KINDS)))
    size, every = draw(st.integers(1, 30)), draw(st.integers(1, 12))
    offset = draw(st.integers(1 - every, every - 1))
    shape, query = {
        "tumbling": ({"size": every, "offset": offset}, lambda q: q.tumbling(f"{every}s", f"{offset}s")),
        "sliding": (
            {"size": size, "every": every, "offset": offset},
            lambda q: q.sliding(f"{size}s", f"{every}s", f"{offset}s"),
        ),
        "cumulating": ({"size": 3 * every, "every": every}, lambda q: q.cumulating(f"{3 * every}s", f"{every}s")),
        "session": ({"gap": every}, lambda q: q.session(f"{every}s")),
        "rolling": ({"size": size}, lambda q: q.rolling(f"{size}s")),
        "last_rows": ({"count": size}, lambda q: q.rolling(rows=size)),
        "counting": ({"count": size % 5 + 1, "every": every}, lambda q: q.counting(size % 5 + 1, every)),
    }[kind]
    rows = draw(st.lists(st.tuples(st.sampled_from("ab"), st.integers(-60, 60), st.integers(-5, 5)), max_size=30))
    bound = draw(st.integers(0, 9))
    delays = draw(st.lists(st.integers(0, bound), min_size=len(rows), max_size=len(rows)))
    order = sorted(range(len(rows)), key=lambda n: rows[n][1] + delays[n])
    return kind, shape, query, [rows[n] for n in order], bound


@settings(max_examples=40, deadline=None)
@given(streams(), st.integers(1, 12), st.booleans())
def test_any_order_within_the_bound_in_batches_of_any_size(stream, batch_rows, again):
    """Also with allowed lateness, by which nothing is late and nothing changes."""
    kind, shape, query, rows, bound = stream
    again = again and kind not in ("last_rows", "counting")
    expected = [
        (key, start, end, len(mine), sum(v for _, _, v in mine))
        for key, start, end, mine in reference.windows(rows, kind, **shape)
    ]
    table = query(on(frame_of(rows))).collect()
    if kind in ("rolling", "last_rows", "counting"):
        # Their bounds are made of ticks, which are seconds there and microseconds here.
        assert [(row[0], *row[3:]) for row in table.rows()] == [(row[0], *row[3:]) for row in expected]
    else:
        assert seconds(table) == expected
    lateness = {"out_of_order": f"{bound}s", "allowed": "30s" if again else 0}
    run = query(on(**lateness)).stream(frame_of(rows), batch_rows=batch_rows)
    run.wait()
    assert_frame_equal(run.table(), table)
    assert run.late().height == 0


@settings(max_examples=25, deadline=None)
@given(streams(), st.integers(1, 12), st.randoms())
def test_with_enough_allowed_lateness_any_order_gives_the_table(stream, batch_rows, chance):
    kind, _, query, rows, _ = stream
    if kind in ("last_rows", "counting"):
        return
    chance.shuffle(rows)
    run = query(on(allowed="1h")).stream(frame_of(rows), batch_rows=batch_rows)
    run.wait()
    assert_frame_equal(run.table(), query(on(frame_of(rows))).collect())
    assert run.late().height == 0


def row_by_row(query, frame, bound):
    """The last results and the late rows of a state that is given one row at a time, its watermark behind them."""
    state, windows, latest = WindowState(query), {}, None
    state.ingest(frame.clear())
    watermark_behind = timedelta(seconds=bound) + timedelta(microseconds=1)
    if isinstance(query.spec.shape, SessionShape):
        # A row exactly a gap after a session still joins it, so that the session is over a tick later.
        watermark_behind += timedelta(microseconds=1)

    def take(table):
        for window in state.retracted.rows():
            del windows[window]
        fresh = {}
        for row in table.rows():
            fresh.setdefault(row[:3], []).append(row)
        windows.update(fresh)

    for n in range(frame.height):
        row = frame[n : n + 1]
        take(state.ingest(row))
        time = row["ts"].item()
        latest = time if latest is None else max(time, latest)
        take(state.advance(latest - watermark_behind))
    take(state.finish())
    rows = sorted(row for mine in windows.values() for row in mine)
    return rows, state.late


@settings(max_examples=60, deadline=None)
@given(streams(), st.integers(1, 12), st.randoms(), st.integers(0, 20))
def test_which_rows_are_late_does_not_depend_on_batches(stream, batch_rows, chance, allowed):
    """Any order at all: as if every row came alone."""
    kind, _, query, rows, bound = stream
    allowed = 0 if kind in ("last_rows", "counting") else allowed
    chance.shuffle(rows)
    frame = frame_of([(key, ts, n) for n, (key, ts, _) in enumerate(rows)])
    asked = query(on(allowed=f"{allowed}s", out_of_order=f"{bound}s"))
    expected, late = row_by_row(asked, frame, bound)
    run = asked.stream(frame, batch_rows=batch_rows)
    run.wait()
    assert sorted(run.late()["v"]) == sorted(late["v"])
    assert sorted(run.table().rows()) == expected


@settings(max_examples=25, deadline=None)
@given(streams(), st.integers(1, 12), st.randoms(), st.integers(0, 20))
def test_rows_are_in_the_result_or_late_and_never_both(stream, batch_rows, chance, allowed):
    """In any order, one window after the other holds the rows that were not late, and no others."""
    _, _, _, rows, _ = stream
    chance.shuffle(rows)
    numbered = frame_of([(key, ts, n) for n, (key, ts, _) in enumerate(rows)])
    run = on(allowed=f"{allowed}s").tumbling("7s").stream(numbered, batch_rows=batch_rows)
    run.wait()
    late = run.late()
    assert late["v"].n_unique() == late.height
    on_time = numbered.filter(~pl.col("v").is_in(late["v"].to_list()))
    assert_frame_equal(run.table(), on(on_time).tumbling("7s").collect())


@pytest.mark.parametrize("sink", SINKS)
def test_results_of_rows_of_equal_times_stay_in_order(tmp_path, sink):
    """Their windows have the same bounds, and different values."""
    frame = frame_of([("a", 0, n) for n in range(40)])
    query = on(frame).rolling(rows=3)
    run = query.stream(sink=SINKS[sink](tmp_path), batch_rows=7)
    run.wait()
    assert_frame_equal(run.table(), query.collect())


def test_a_row_a_gap_after_a_session_joins_it_wherever_a_batch_ends():
    """The other key's row moves the watermark to the session's last tick before that row comes."""
    frame = frame_of([("a", 0), ("b", 10), ("a", 10), ("b", 50)])
    expected = on(frame).session("10s").collect()
    assert seconds(expected)[0] == ("a", 0, 20, 2, 2)
    for batch_rows in (1, 2, 3, 4):
        run = on().session("10s").stream(frame, batch_rows=batch_rows)
        run.wait()
        assert_frame_equal(run.table(), expected)
        assert run.late().height == 0


def test_a_row_that_comes_after_a_session_was_over_does_not_join_it_wherever_a_batch_ends():
    """Alone it would not be late; the session that it would have joined has been given."""
    frame = frame_of([("a", 0), ("b", 12), ("a", 5), ("b", 50)])
    for batch_rows in (1, 2, 3, 4):
        run = on().session("10s").stream(frame, batch_rows=batch_rows)
        run.wait()
        assert [row[:4] for row in seconds(run.table())] == [
            ("a", 0, 10, 1),
            ("a", 5, 15, 1),
            ("b", 12, 22, 1),
            ("b", 50, 60, 1),
        ]
        assert run.late().height == 0


def test_results_in_duckdb_can_be_read_by_others_as_they_come(tmp_path):
    path = tmp_path / "results.duckdb"
    rows = [("a", n, 1) for n in range(60)]
    seen = []

    def look(event):
        if isinstance(event, Progress):
            with duckdb.connect(str(path), read_only=True) as connection:
                seen.append(connection.sql("SELECT count(*), count(DISTINCT window_start) FROM windows").fetchall()[0])

    run = on(frame_of(rows)).tumbling("10s").stream(sink=path, checkpoint=tmp_path / "c", batch_rows=15)
    run.watch(look)
    run.start().wait()
    assert seen == [(1, 1), (2, 2), (4, 4), (6, 6)]


# What cannot be


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: on(frame_of([])).stream(), "a stream needs windows and aggregates"),
        (lambda: lnb.windows(frame_of([]), time="ts").tumbling("1s").stream(), "a stream needs windows and aggregates"),
        (lambda: on().tumbling("1s").stream(), "the stream has no source; give one"),
        (lambda: on().tumbling("1s").stream(42), "a stream reads a source such as"),
        (lambda: on(frame_of([])).tumbling("1s").stream(sink=42), "a stream writes to a sink such as"),
        (lambda: on(frame_of([])).tumbling("1s").stream(batch_rows=0), "batch_rows=0 must be a whole number"),
        (lambda: on(frame_of([])).tumbling("1s").stream(batch_rows=True), "batch_rows=True must be a whole number"),
        (lambda: on(frame_of([])).tumbling("1s").stream(idle="0s"), "idle='0s' must be above zero"),
    ],
)
def test_what_cannot_be_names_the_fix(make, message):
    with pytest.raises(lnb.WindowError, match=message):
        make()


def test_a_source_without_the_columns_or_types_names_them(tmp_path):
    with pytest.raises(lnb.DataError, match="'v'"):
        on().tumbling("1s").stream(frame_of([]).drop("v")).wait()
    with pytest.raises(lnb.WindowError, match="the time column 'ts' is String"):
        on().tumbling("1s").stream(frame_of([]).with_columns(pl.col("ts").cast(pl.String))).wait()
    script = [[("x", frame_of([("a", 1)]))], [("x", frame_of([("a", 1)]).with_columns(pl.col("v").cast(pl.Float64)))]]
    with pytest.raises(lnb.DataError, match="column 'v' is Int64 in one part of the table and Float64 in another"):
        on().tumbling("1s").stream(Scripted(script)).wait()


def test_date_columns_and_no_key():
    days = pl.DataFrame({"day": [date(2024, 1, 1) + timedelta(days=n) for n in range(70)]})
    query = lnb.windows(days, time="day").tumbling("1mo").agg(n=lnb.count())
    run = query.stream(batch_rows=9)
    run.wait()
    assert_frame_equal(run.table(), query.collect())
    assert progress_of(run)[0].values["watermark"] == date(2024, 1, 8)
