"""The window panel, driven from Python over real sources, and its form."""

import threading
from datetime import UTC, datetime, timedelta

import polars as pl
import pytest
from polars.testing import assert_frame_equal

import lepton_nb as lnb
from lepton_nb.events import Progress, Status
from lepton_nb.widgets.window_form import FILES, KAFKA
from lepton_nb.widgets.window_panel import WindowPanel
from lepton_nb.windowing.choices import AggregateRow, QueryChoices
from lepton_nb.windowing.offers import FilesChoice, KafkaChoice
from lepton_nb.windowing.query import WindowQuery

START = datetime(2020, 1, 1, tzinfo=UTC)
FRAME = pl.DataFrame(
    {
        "ts": [START + timedelta(minutes=20 * n) for n in range(60)],
        "key": [("a", "b", "b")[n % 3] for n in range(60)],
        "v": [float(n) for n in range(60)],
    }
)
CHOICES = QueryChoices(
    "ts", ["key"], "sliding", {"size": "2h", "every": "1h"}, "10m",
    aggregates=[AggregateRow("mean", "v", "delay"), AggregateRow("count", "", "rows")],
)  # fmt: skip
QUERY = lnb.windows(time="ts", key="key").sliding("2h", every="1h").lateness(out_of_order="10m")
QUERY = QUERY.agg(delay=lnb.mean("v"), rows=lnb.count())


@pytest.fixture
def panels():
    """Makes panels that are closed after the test."""
    made = []

    def make(*arguments, **options):
        made.append(WindowPanel(*arguments, **options))
        return made[-1]

    yield make
    for panel in made:
        panel.close()


def settled(panel):
    """The panel once what it does beside the kernel is done."""
    while panel.busy:
        threading.Event().wait(0.01)
    return panel


def first_batch(stream):
    """Wait for a batch of a stream that runs."""
    seen = threading.Event()
    unwatch = stream.watch(lambda event: seen.set() if isinstance(event, Progress) else None)
    assert seen.wait(60)
    unwatch()


def endless():
    """A stream that has read all of FRAME, and then waits for more until it is stopped."""
    slow = FRAME.with_columns(came=pl.when(pl.col("v") < 59).then(START).otherwise(START + timedelta(days=1)))
    return lnb.sources.replay(slow, "came")


def shown(panel):
    """All the words that the panel shows, without its inputs."""
    return " ".join(
        widget.value for widget in (panel._status, panel._results.facts, panel._results.which, panel._results.rows)
    )


def test_the_form_starts_a_stream_and_shows_what_it_finds(panels):
    panel = settled(panels(sources={"events": FRAME}))
    assert (panel.stream, panel.query, panel.code) == (None, None, "")
    assert "Nothing runs yet" in panel.summary()
    assert panel.figures() == []
    assert panel.form.query.value("time") == "ts"
    panel.choose("events", CHOICES, pace="once", batch_rows=20)
    panel._start.click()
    panel.wait()
    assert panel._faults.texts == ()
    assert panel.query.spec == QUERY.spec
    expected = lnb.windows(FRAME, time="ts", key="key").sliding("2h", every="1h").agg(
        delay=lnb.mean("v"), rows=lnb.count())  # fmt: skip
    assert_frame_equal(panel.stream.table(), expected.collect())
    for words in ("The source has ended.", "sliding 2h every 1h", "<dd>60</dd>", "the last 60 windows of each key"):
        assert words in shown(panel)
    assert '<th scope="col" class="number">delay</th>' in panel._results.rows.value
    assert '<th scope="col">window_end (UTC)</th>' in panel._results.rows.value
    assert "<td>2020-01-01 21:00:00</td>" in panel._results.rows.value
    assert [trace.name for trace in panel._results.chart.figure.data] == ["a", "b"]
    assert [len(figure.data) for figure in panel.figures()] == [2, 4]
    panel._results.choice.set(value="rows")
    settled(panel)
    assert panel._results.chart.figure.layout.yaxis.title.text == "rows"
    assert "Rows read: 60" in panel.summary()
    said, figure, rows, *_ = panel.report()
    assert "Rows read: 60; Results given: " in said["text/plain"]
    assert "Drawn: all " in said["text/plain"]
    assert figure["application/vnd.plotly.v1+json"]["data"]
    assert "<caption>The windows that ended last</caption>" in rows["text/html"]
    assert "2020-01-01 19:00:00  2020-01-01 21:00:00" in panel.summary()
    assert panel._stop.disabled
    assert not panel._start.disabled
    # The results are what is looked at now.
    assert (panel._asking.open, panel._asking._content.layout.display) == (False, "none")
    panel._asking._button.set_state({"unfolded": True})
    assert panel._asking._content.layout.display == ""


def test_the_code_of_the_panel_does_what_the_panel_did(panels):
    panel = settled(panels(sources={"events": FRAME}))
    panel.choose("events", CHOICES, pace="speed", speed=1e9, batch_rows=7)
    panel.write_code()
    settled(panel)
    code = panel.code
    assert panel._in_code.open
    assert panel._asking.open
    assert panel._code._copy.text == code
    assert 'lnb.sources.replay(events, time="ts", speed=1_000_000_000)' in code
    panel.start()
    panel.wait()
    assert panel.code == code
    names = {"events": FRAME}
    exec(code, names)
    names["stream"].wait()
    assert_frame_equal(names["stream"].table(), panel.stream.table())


def test_a_running_stream_is_stopped_by_its_button_and_another_started(panels):
    panel = panels(sources={"live": endless(), "events": FRAME})
    panel.choose("live", CHOICES)
    panel.start()
    settled(panel)
    first = panel.stream
    first_batch(first)
    panel.opened()
    panel.refresh()
    assert "Running." in shown(panel)
    assert "2020-01-01 19:09:59 UTC" in shown(panel)
    assert panel._start.disabled
    assert panel.form.disabled
    panel.start()
    assert settled(panel).stream is first
    panel._stop.click()
    settled(panel)
    assert first.status is Status.STOPPED
    assert "Stopped." in shown(panel)
    assert not panel.form.disabled
    panel.choose("events", pace="table")
    settled(panel).start()
    panel.wait()
    assert panel.stream is not first
    assert panel.stream.status is Status.FINISHED
    assert panel.code.splitlines()[2] == "source = events"


def test_a_stream_of_code_is_watched_and_left_alone(panels):
    stream = QUERY.stream(endless())
    try:
        panel = panels(stream)
        assert panel.stream is stream
        assert panel.query.spec == QUERY.spec
        assert panel.form is None
        assert "Not started yet." in shown(panel)
        assert eval(panel.code.removeprefix("query = "), {"lnb": lnb}).spec == QUERY.spec
        stream.start()
        first_batch(stream)
        panel.refresh()
        assert "Running." in shown(panel)
        assert "Results given" in panel._results.facts.value
        with pytest.raises(lnb.WindowError, match="has no form; give sources="):
            panel.choose("events")
        panel.close()
        assert stream.status is Status.RUNNING
    finally:
        stream.stop()
    late = panels(stream)
    assert "Stopped." in shown(late)
    # A run of one batch has no course.
    assert len(late.figures()) == 1


def test_a_join_of_code_is_watched_too(panels):
    stream = lnb.windows(FRAME, time="ts").tumbling("1h").agg(n=lnb.count()).join(
        lnb.windows(FRAME, time="ts").tumbling("1h").agg(v=lnb.sum("v"))).stream()  # fmt: skip
    panel = panels(stream)
    panel.wait()
    assert panel.query is None
    assert panel.code.startswith("left = (")
    assert "right = (" in panel.code
    assert [len(figure.data) for figure in panel.figures()] == [1]


def test_closing_ends_what_the_panel_started_whatever_it_is_doing():
    panel = WindowPanel(sources={"live": endless()})
    panel.choose("live", CHOICES)
    panel.start()
    settled(panel)
    stream = panel.stream
    panel.opened()
    panel.close()
    panel.close()
    assert stream.status is Status.STOPPED
    # Closed before the start is done: nothing is started then.
    ready, closed = threading.Event(), threading.Event()

    class Slow(dict):
        def __getitem__(self, name):
            ready.set()
            assert closed.wait(60)
            return endless()

    panel = WindowPanel(sources=Slow(live=endless()))
    assert ready.wait(60)
    panel.choose("live", CHOICES)
    panel.start()
    threading.Timer(0.2, closed.set).start()
    panel.close()
    assert panel.stream is None
    # One that code made, and the panel was asked to start.
    panel = WindowPanel(QUERY.stream(endless()))
    panel._start.click()
    assert panel.stream.status is Status.RUNNING
    panel.close()
    assert panel.stream.status is Status.STOPPED


WRONG = {
    "a size": ({"sizes": {"size": "2 hours"}}, {}, "size_size", "Size: the length '2 hours' is not a duration"),
    "a step": ({"kind": "cumulating", "sizes": {"size": "1h", "every": "25m"}}, {}, "size_size", "Windows: .*multiple"),
    "a lateness": ({"out_of_order": "soon"}, {}, "out_of_order", "Out of order: .*'soon'"),
    "an aggregate": ({"aggregates": [AggregateRow("mean", "key")]}, {}, None, "Aggregate 1: .*'key'"),
    "no aggregate": ({"aggregates": []}, {}, None, "Aggregates: nothing is computed yet"),
    "a speed": ({}, {"pace": "speed", "speed": "fast"}, "speed", "Speed must be a number, not 'fast'"),
    "an order": ({}, {"pace": 60.0, "by": "v"}, "pace", "Pace: .*follows a column of times"),
}


@pytest.mark.parametrize("name", WRONG)
def test_bad_input_is_told_in_the_panel_and_at_its_field(panels, name):
    changes, of_source, field, message = WRONG[name]
    panel = settled(panels(sources={"events": FRAME}))
    if "by" in of_source:
        panel.form.source.choose("by", [("v", "v")])
    choices = QueryChoices(**{"time": "ts", "keys": ["key"], **changes})
    panel.choose("events", choices, **{"pace": "once", **of_source})
    panel._start.click()
    settled(panel)
    assert panel.stream is None
    (fault,) = panel._faults.texts
    assert fault.startswith("Could not start")
    with pytest.raises(AssertionError, match=message):
        raise AssertionError(fault)
    marked = [
        name
        for form in (panel.form.source, panel.form.query)
        for name, entry in form._entries.items()
        if "role" in entry.fault.value
    ]
    assert marked == ([field] if field else [])
    # Mended, it starts, and the error is gone.
    assert not panel._start.disabled
    panel.form.source.choose("by", [("the time column", "")])
    panel.choose("events", CHOICES, pace="once", speed=1.0)
    panel._start.click()
    panel.wait()
    assert panel._faults.texts == ()
    assert panel.stream.status is Status.FINISHED


def test_what_fails_while_it_runs_lands_in_the_panel_with_its_traceback(panels):
    def rows():
        yield from FRAME.to_dicts()
        raise OSError("the sensor is unplugged")

    panel = panels(sources={"sensor": rows, "events": FRAME})
    panel.choose("sensor", CHOICES, batch_rows=10)
    panel.start()
    settled(panel)
    with pytest.raises(Exception, match="the sensor is unplugged"):
        panel.stream.wait()
    panel.refresh()
    (fault,) = panel._faults.texts
    assert fault.startswith("Could not run the stream")
    assert "the sensor is unplugged" in fault
    assert "Failed." in shown(panel)
    panel.choose("events", CHOICES, pace="once")
    settled(panel).start()
    panel.wait()
    assert panel._faults.texts == ()


def test_results_are_saved_and_no_file_is_written_over_unasked(panels, tmp_path):
    panel = settled(panels(sources={"events": FRAME[::-1]}))
    file = tmp_path / "windows.parquet"
    panel.export.form.set(path=str(file))
    panel.export.save_button.click()
    assert "nothing to save yet" in panel._faults.texts[-1]
    panel.choose("events", CHOICES, pace="table", batch_rows=10)
    panel.start()
    panel.wait()
    panel.export.save_button.click()
    settled(panel)
    assert f"rows saved to {file}" in panel._status.value
    assert_frame_equal(pl.read_parquet(file), panel.stream.table())
    panel.export.save_button.click()
    settled(panel)
    assert "is there already" in panel._faults.texts[-1]
    panel.export.form.set(what="late", replace=True)
    panel.export.save_button.click()
    settled(panel)
    assert_frame_equal(pl.read_parquet(file), panel.stream.late())
    assert panel.stream.late().height
    assert list(tmp_path.iterdir()) == [file]


def test_the_columns_of_files_are_read_when_asked_and_can_be_written_before(panels, tmp_path):
    FRAME.write_parquet(tmp_path / "events.parquet")
    panel = panels(sources={})
    assert panel.form.source.value("source") == FILES
    panel.choose(FILES, CHOICES, path=str(tmp_path / "none.parquet"))
    panel.form.read_columns()
    settled(panel)
    assert "there is no file" in panel._faults.texts[-1]
    panel.choose(path=str(tmp_path))
    assert panel.form.asked().source == FilesChoice(str(tmp_path))
    assert panel.form.asked().query.query().spec == QUERY.spec
    panel.form.read_columns()
    settled(panel)
    # What was written is chosen now.
    assert [value for _, value in panel.form.query.fields[0].choices] == ["ts"]
    assert panel.form.asked().query.query().spec == QUERY.spec
    panel.start()
    panel.wait()
    assert panel._faults.texts == ()
    assert panel.stream.table().height
    panel.choose(KAFKA, topic="events", columns="ts datetime, key text, v float")
    asked = panel.form.asked()
    assert asked.source == KafkaChoice("events", "localhost:9092", "ts datetime, key text, v float")
    panel.form.read_columns()
    assert settled(panel).form.query.value("time") == "ts"


def test_aggregates_are_added_and_left_out(panels):
    panel = settled(panels(sources={"events": FRAME}))
    aggregates = panel.form.aggregates
    assert [row.result_name for row in aggregates.rows] == ["rows"]
    aggregates.form.set(function="quantile", column="v", q=0.5)
    aggregates.add_button.click()
    aggregates.form.set(function="distinct", column="key", name="keys")
    aggregates.add_button.click()
    assert [row.result_name for row in aggregates.rows] == ["rows", "p50_v", "keys"]
    aggregates.add_button.click()
    assert [row.result_name for row in aggregates.rows] == ["rows", "p50_v", "keys", "distinct_key"]
    aggregates.add_button.click()
    assert "'distinct_key' is there already" in panel._faults.texts[-1]
    aggregates.form.set(function="mean", column="")
    aggregates.add_button.click()
    assert "mean needs a column" in panel._faults.texts[-1]
    aggregates.chosen.children[0].click()
    assert aggregates.chosen.children[0].description == "p50_v = quantile(v, 0.5)"
    panel.choose(pace="once")
    panel.start()
    panel.wait()
    assert panel.stream.table().columns == ["window_start", "window_end", "p50_v", "keys", "distinct_key"]


def test_an_unknown_source_is_refused_with_a_hint(panels):
    with pytest.raises(lnb.WindowError, match="did you mean 'events'"):
        panels(sources={"events": FRAME}).choose("evnts")


def test_a_stream_of_the_panel_runs_on_a_cluster(panels, cluster):
    panel = settled(panels(sources={"events": FRAME}, cluster=cluster))
    panel.choose("events", CHOICES, pace="once")
    panel.start()
    panel.wait()
    assert panel._faults.texts == ()
    assert_frame_equal(panel.stream.table(), WindowQuery(QUERY.spec, FRAME).collect())
    assert panel.code.endswith("query.stream(source, batch_rows=20_000, cluster=cluster)\nstream.start()")
