"""A stream as a live view sees it."""

import threading
from datetime import UTC, datetime, timedelta

import polars as pl
import pytest

import lepton_nb as lnb
from lepton_nb.events import Progress
from lepton_nb.figures.watched import Watched

START = datetime(2020, 1, 1, tzinfo=UTC)


def frame_of(minutes):
    times = [START + timedelta(minutes=minute) for minute in minutes]
    keys = [("a", "b", "b")[number % 3] for number in range(len(times))]
    return pl.DataFrame({"ts": times, "key": keys, "v": [float(minute) for minute in minutes]})


def query_of(frame, key="key"):
    query = lnb.windows(frame, time="ts", key=key).tumbling("1h")
    return query.agg(top=lnb.top_k("v", 1), n=lnb.count(), v=lnb.mean("v"))


def test_it_shows_how_a_stream_stands_before_while_and_after_it_runs():
    go_on, reached = threading.Event(), threading.Event()

    def rows():
        yield from frame_of(range(0, 300, 10)).to_dicts()
        reached.set()
        assert go_on.wait(60)
        yield from frame_of(range(300, 420, 10)).to_dicts()

    source = lnb.sources.iterate(rows, schema=frame_of([0]).schema)
    stream = query_of(None).stream(source, batch_rows=10)
    watched = Watched(stream, most_keys=1, windows=2)
    assert (watched.facts(), watched.drawable, watched.recent, watched.batches) == ([], [], None, 0)
    assert watched.last_rows(3).is_empty()
    with pytest.raises(lnb.WindowError, match="has read nothing yet"):
        watched.results("n")
    seen = threading.Event()
    stream.watch(lambda event: seen.set() if isinstance(event, Progress) and event.values["windows"] > 3 else None)
    stream.start()
    assert seen.wait(60)
    assert reached.wait(60)
    assert watched.drawable == ["n", "v"]
    assert dict(watched.facts())["Watermark"].startswith("2020-01-01 0")
    figure, text = watched.results("v", unit="min")
    assert [trace.name for trace in figure.data] == ["b"]
    assert text == "the last 2 windows of each key; the 1 busiest of 2 keys, by n"
    assert figure.layout.shapes[0].x0.startswith("2020-01-01T0")
    go_on.set()
    stream.wait()
    assert dict(watched.facts())["Rows read"] == "42"
    assert watched.last_rows(3)["window_start"].to_list() == [START + timedelta(hours=hour) for hour in (6, 6, 5)]
    assert len(watched.progress().data[0].x) == watched.batches == len(watched.course.batches)
    assert not watched.results("n")[0].layout.shapes
    # A report has what the live view leaves out.
    whole, text = watched.all_results("v")
    assert text == "the 1 busiest of 2 values of key, by n: 7 of 14 windows"
    assert [trace.name for trace in whole.data] == ["b"]
    assert Watched(stream, most_keys=2).all_results("v")[1] == "all 14 windows"


def test_it_adopts_a_stream_that_is_over_and_one_without_keys():
    stream = query_of(frame_of(range(100)), key=None).stream(batch_rows=30)
    stream.wait()
    watched = Watched(stream)
    assert watched.batches == 4
    assert watched.results("n")[1] == "the last 60 windows"
    watched.close()


def test_it_shows_a_join():
    left, right = query_of(frame_of(range(200))), query_of(frame_of(range(100)))
    stream = left.join(right).stream()
    stream.wait()
    watched = Watched(stream)
    assert watched.drawable == ["n", "v", "n_right", "v_right"]
    assert {trace.name for trace in watched.results("v_right")[0].data} == {"a", "b"}
