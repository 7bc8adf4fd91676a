import json
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import polars as pl
import pytest

import lepton_nb as lnb
from lepton_nb.background import BackgroundRun
from lepton_nb.events import Progress, Started

START = datetime(2020, 1, 1, tzinfo=UTC)
streams = lnb.figures.streams


def rows(minutes, delays=None, **columns):
    """Input rows in their order of arrival: minutes after START."""
    times = [START + timedelta(minutes=m) for m in minutes]
    return pl.DataFrame({"ts": times, "delay": delays or [1.0] * len(times), **columns})


def hours(frame, key=None, bound="0s"):
    query = lnb.windows(frame, time="ts", key=key).tumbling("1h").lateness(out_of_order=bound)
    return query.agg(n=lnb.count(), delay=lnb.mean("delay"))


def ran(query, **options):
    """A stream of the query's own rows, to its end."""
    stream = query.stream(batch_rows=1, **options)
    stream.wait()
    return stream


def traces(figure, name, panel):
    """The traces of a name in a panel that have points: "y" is the upper panel, "y2" the lower one."""
    return [t for t in figure.data if t.name == name and (t.yaxis or "y") == panel and t.x and t.x != (None,)]


# A row of the first hour comes when the watermark is past its end.
LATE = rows([10, 70, 130, 20, 190], key=["a", "b", "a", "a", "b"])


def test_windows_are_bars_from_start_to_end_at_their_value_one_colour_a_key():
    table = rows([10, 20, 70, 190, 15], [1.0, 3.0, 5.0, 7.0, 9.0], key=["a", "a", "a", "a", "b"])
    figure = streams.timeline(hours(table, "key").collect(), "delay", "key", unit="min", title="Delays")
    a, b = figure.data
    assert (a.name, b.name) == ("a", "b")
    # The first two windows of "a" touch; the third is apart from them.
    at = [None if x is None else x[11:16] for x in a.x]
    assert list(zip(at, a.y, strict=True)) == [
        ("00:00", 2), ("01:00", 2), ("01:00", 5), ("02:00", 5), (None, None), ("03:00", 7), ("04:00", 7),
    ]  # fmt: skip
    assert list(a.customdata[0]) == ["2020-01-01 00:00:00", "2020-01-01 01:00:00"]
    assert a.line.color != b.line.color
    assert "min" in a.hovertemplate
    assert "UTC" in a.hovertemplate
    assert figure.layout.yaxis.title.text == "delay (min)"
    assert figure.layout.xaxis.title.text == "event time (UTC)"
    assert figure.layout.title.text == "Delays"
    assert figure.layout.legend.title.text == "key"
    assert not figure.layout.shapes


def test_a_stream_is_drawn_with_its_late_rows_beside_the_way_of_the_watermark():
    stream = ran(hours(LATE, "key"))
    assert stream.late().height == 1
    figure = streams.timeline_of(stream, "delay", "ts", unit="min")
    assert [t.line.color for t in traces(figure, "a", "y")] == ["#0072B2"]
    assert len(traces(figure, "b", "y")) == 1
    (watermark,) = traces(figure, "watermark", "y2")
    # One tick behind the latest time; it never goes back, and a batch without news leaves it where it is.
    way = ["00:09:59.999999", "01:09:59.999999", "02:09:59.999999", "02:09:59.999999", None]
    assert [None if x is None else x[11:] for x in watermark.x] == way
    assert list(watermark.y) == sorted(watermark.y)
    (seen,) = traces(figure, "latest time seen", "y2")
    assert seen.x[-1] == "2020-01-01T03:10:00"
    (late,) = traces(figure, "a", "y2")
    assert list(late.x) == ["2020-01-01T00:20:00"]
    # It came with the fourth batch, when the watermark stood at 02:09.
    assert late.y[0] == watermark.y[3]
    assert list(late.customdata[0]) == [
        "late row",
        "2020-01-01 00:20:00",
        "<br>came 1 h 49 min behind the watermark",
    ]
    assert late.marker.color == "#0072B2"
    assert "and when 1 late row came" in figure.layout.annotations[0].text
    assert figure.layout.xaxis.matches == "x2"
    assert figure.layout.yaxis2.title.text == "seconds into the run"


def test_a_stopped_stream_shows_its_watermark_and_what_is_still_open(tmp_path):
    stream = hours(LATE, "key").stream(checkpoint=tmp_path, batch_rows=1)
    stream.watch(lambda event: stream.stop() if isinstance(event, Progress) and event.done == 3 else None)
    stream.wait()
    figure = streams.timeline_of(stream, "n", "ts")
    (line,) = figure.layout.shapes
    assert line.x0 == line.x1 == "2020-01-01T02:09:59.999999"
    assert "watermark" in [a.text for a in figure.layout.annotations]
    closed, still_open = traces(figure, "a", "y")
    assert (list(closed.y), closed.line.dash) == ([1, 1], "solid")
    assert (list(still_open.y), still_open.line.dash) == ([1, 1], "dot")
    assert still_open.hovertemplate.startswith("still open")
    assert [t.showlegend for t in (closed, still_open)] == [True, False]
    assert "still open" in [t.name for t in figure.data]
    assert "no late rows" in figure.layout.annotations[0].text

    after = ran(hours(LATE, "key"), checkpoint=tmp_path)
    figure = streams.timeline_of(after, "n", "ts", events=[*stream.events, *after.events])
    assert not figure.layout.shapes
    assert "still open" not in [t.name for t in figure.data]
    (watermark,) = traces(figure, "watermark", "y2")
    # The line breaks between the two runs.
    assert list(watermark.y).count(None) == 1
    assert watermark.y[3] is None
    (late,) = traces(figure, "a", "y2")
    assert late.y[0] == watermark.y[4]


def test_without_events_late_rows_have_a_lane_a_key():
    stream = ran(hours(LATE, "key"))
    now = datetime(2020, 1, 1, 2, tzinfo=UTC)
    figure = streams.timeline(stream.table(), "n", "key", late=stream.late(), time="ts", watermark=now)
    (late,) = traces(figure, "a", "y2")
    assert (list(late.x), list(late.y)) == (["2020-01-01T00:20:00"], ["a"])
    assert figure.layout.yaxis2.type == "category"
    assert figure.layout.shapes[0].x0 == "2020-01-01T02:00:00"
    assert [a.text for a in figure.layout.annotations] == ["1 late row", "watermark"]


def test_a_watermark_in_another_zone_is_drawn_in_utc():
    now = datetime(2020, 1, 1, 12, tzinfo=ZoneInfo("Asia/Tokyo"))
    figure = streams.timeline(hours(LATE, "key").collect(), "n", "key", watermark=now)
    assert figure.layout.shapes[0].x0 == "2020-01-01T03:00:00"


def test_no_late_rows_and_no_events_leave_the_lower_panel_out():
    table = rows([10, 70])
    figure = streams.timeline(hours(table).collect(), "n", late=table.clear(), time="ts", early=hours(table).collect())
    assert all((t.yaxis or "y") == "y" for t in figure.data)
    assert "yaxis2" not in figure.to_dict()["layout"]


def test_windows_that_overlap_are_points_at_their_ends():
    table = lnb.windows(rows([10, 70]), time="ts").sliding("2h", every="1h").agg(n=lnb.count()).collect()
    (line,) = streams.timeline(table, "n").data
    assert [x[11:16] for x in line.x] == ["01:00", "02:00", "03:00"]
    assert list(line.y) == [1, 2, 1]


@pytest.mark.parametrize("zone", ["UTC", "Asia/Tokyo"])
def test_since_leaves_out_what_was_before(zone):
    stream = ran(hours(rows([10, 70, 130, 20, 190, 65], key=["a", "a", "a", "b", "b", "b"]), "key"))
    assert stream.late().height == 2
    since = (START + timedelta(hours=1)).astimezone(ZoneInfo(zone))
    figure = streams.timeline_of(stream, "n", "ts", since=since)
    assert [x and x[11:16] for x in traces(figure, "a", "y")[0].x] == ["01:00", "02:00", "02:00", "03:00"]
    (late,) = traces(figure, "b", "y2")
    (watermark,) = traces(figure, "watermark", "y2")
    assert list(late.x) == ["2020-01-01T01:05:00"]
    # Seconds count from the run's first batch, which is not drawn here.
    assert watermark.y[0] > 0
    assert late.y[0] == watermark.y[-1]
    assert "1 late row came" in figure.layout.annotations[0].text


def test_rolling_windows_of_rows_at_the_same_time_are_one_point():
    table = lnb.windows(rows([10, 10, 20]), time="ts").rolling("1h").agg(n=lnb.count()).collect()
    assert table.height == 3
    (line,) = streams.timeline(table, "n").data
    assert list(line.y) == [2, 3]


def test_since_makes_room_for_the_last_of_many_windows():
    starts = pl.date_range(date(1950, 1, 1), date(2020, 1, 1), "1d", eager=True)
    table = pl.DataFrame({"window_start": starts, "window_end": starts.dt.offset_by("1d"), "n": 1})
    (line,) = streams.timeline(table, "n", since=date(2020, 1, 1)).data
    assert list(line.x) == ["2020-01-01T00:00:00", "2020-01-02T00:00:00"]


def test_dates_are_days():
    frame = pl.DataFrame({"day": [date(2020, 1, 1), date(2020, 1, 3), date(2020, 1, 1), date(2020, 1, 4)]})
    stream = ran(lnb.windows(frame, time="day").tumbling("1d").agg(n=lnb.count()))
    assert stream.late().height == 1
    figure = streams.timeline_of(stream, "n", "day")
    bars = figure.data[0]
    assert list(bars.x[:2]) == ["2020-01-01T00:00:00", "2020-01-02T00:00:00"]
    (watermark,) = traces(figure, "watermark", "y2")
    assert watermark.x[0] == "2019-12-31T00:00:00"
    late = [t for t in figure.data if t.mode == "markers" and t.x != (None,)]
    assert [list(t.x) for t in late] == [["2020-01-01T00:00:00"]]
    assert "24 h 0 min behind" in late[0].customdata[0][2]


@pytest.mark.parametrize("unit", ["ms", "ns"])
def test_times_of_any_unit_are_exact(unit):
    table = hours(LATE.with_columns(pl.col("ts").cast(pl.Datetime(unit, "UTC"))), "key")
    figure = streams.timeline_of(ran(table), "n", "ts")
    assert figure.data[0].x[0] == "2020-01-01T00:00:00"
    (late,) = traces(figure, "a", "y2")
    assert list(late.x) == ["2020-01-01T00:20:00"]
    assert "1 h 49 min behind" in late.customdata[0][2]


def test_several_keys_a_null_and_a_key_with_late_rows_only():
    key = pl.Series("key", ["b", None, "b", "a"])
    table = pl.DataFrame({"key": key, "origin": [1, 1, 2, 1], "n": [1, 2, 3, 4]}).with_columns(
        window_start=pl.lit(START), window_end=pl.lit(START + timedelta(hours=1))
    )
    late = pl.DataFrame({"ts": [START], "key": ["c"], "origin": [9]})
    figure = streams.timeline(table, "n", ["key", "origin"], late=late, time="ts")
    assert [t.name for t in figure.data if t.mode != "markers"] == ["null 1", "a 1", "b 1", "b 2"]
    (lane,) = traces(figure, "c 9", "y2")
    assert lane.marker.color not in [t.line.color for t in figure.data if t.mode != "markers"]
    assert figure.layout.legend.title.text == "key, origin"


def test_keys_units_and_names_are_text_not_markup():
    nasty = "<b>A&B</b><a href='x'>%{y}"
    stream = ran(hours(LATE.with_columns(key=pl.lit(nasty)), "key"))
    figure = streams.timeline_of(stream, "n", "ts", unit="<i>x", title="<h1>t")
    shown = "&lt;b&gt;A&amp;B&lt;/b&gt;&lt;a href='x'&gt;%{y}"
    assert [t.name for t in figure.data if t.legendgroup] == [shown, shown]
    assert figure.layout.title.text == "&lt;h1&gt;t"
    assert figure.layout.yaxis.title.text == "n (&lt;i&gt;x)"
    for trace in figure.data:
        # By reference only: text of the data must not be read as part of a template.
        assert "A&" not in (trace.hovertemplate or "")
        assert "<i>" not in (trace.hovertemplate or "")
    lanes = streams.timeline(stream.table(), "n", "key", late=stream.late(), time="ts")
    assert {y for t in lanes.data if t.yaxis == "y2" and t.legendgroup for y in t.y} == {shown}


def test_many_late_rows_become_fewer_and_larger_marks():
    late = rows(range(10_000))
    figure = streams.timeline(hours(late).collect(), "n", late=late, time="ts")
    (marks,) = (t for t in figure.data if t.mode == "markers" and t.x != (None,))
    assert 500 < len(marks.x) <= 2_000
    assert marks.customdata[1][0].endswith("late rows, about")
    assert "10,000 late rows" in figure.layout.annotations[0].text


def test_nulls_and_empty_results():
    table = hours(rows([10, 70])).collect().with_columns(delay=pl.lit(None, dtype=pl.Float64))
    for empty in (table, table.clear()):
        figure = streams.timeline(empty, "delay")
        assert [a.text for a in figure.layout.annotations] == ["no windows"]
    stream = hours(LATE.clear()).stream()
    stream.wait()
    figure = streams.timeline_of(stream, "n", "ts")
    assert "no windows" in [a.text for a in figure.layout.annotations]


def test_the_figures_are_valid_json_without_nan():
    stream = ran(hours(LATE, "key"))
    for figure in (streams.timeline_of(stream, "delay", "ts"), streams.progress(stream.events)):
        json.loads(figure.to_json(), parse_constant=lambda name: pytest.fail(f"{name} in JSON"))


@pytest.mark.parametrize(
    ("change", "options", "message"),
    [
        ({}, {"value": "dellay"}, "did you mean 'delay'"),
        ({}, {"key": "kei"}, "did you mean 'key'"),
        ({}, {"value": "key"}, "a line needs numbers"),
        ({}, {"key": None}, r"several rows share a window; .*'key'"),
        ({"window_end": None}, {}, "unknown column 'window_end'"),
        ({"window_end": pl.lit(1)}, {}, "not a time"),
        ({"window_start": pl.lit(None, dtype=pl.Datetime("us"))}, {}, r"drop_nulls\('window_start'\)"),
        ({}, {"late": LATE}, r"time='\.\.\.'"),
        ({}, {"late": LATE, "time": "tz"}, "unknown column 'tz'"),
        ({}, {"late": LATE, "time": "delay"}, "not a time"),
        ({}, {"late": LATE.drop("key"), "time": "ts"}, "unknown column 'key'"),
        ({}, {"late": LATE.with_columns(key=1), "time": "ts"}, "differ in type"),
        ({}, {"watermark": ["x"]}, r"stream\.events, not a str"),
    ],
)
def test_what_cannot_be_drawn_names_the_fix(change, options, message):
    table = hours(rows([10, 20], [1.0, 2.0], key=["a", "b"]), "key").collect()
    table = table.drop([c for c, new in change.items() if new is None])
    table = table.with_columns(**{c: new for c, new in change.items() if new is not None})
    given = {"value": "delay", "key": "key"} | options
    with pytest.raises(lnb.WindowError, match=message):
        streams.timeline(table, **given)


def test_too_many_windows_are_refused_with_another_way():
    starts = pl.datetime_range(START, START + timedelta(minutes=20_000), "1m", eager=True)
    table = pl.DataFrame({"window_start": starts, "window_end": starts.dt.offset_by("1m"), "n": 1})
    with pytest.raises(lnb.WindowError, match=r"20,001 windows .*windows\.lines") as raised:
        streams.timeline(table, "n")
    assert raised.value.windows == 20_001


def test_progress_draws_four_small_figures_over_the_seconds_of_the_run():
    stream = ran(hours(LATE, "key"))
    figure = streams.progress(stream.events, title="The run")
    titles = [a.text for a in figure.layout.annotations]
    assert titles[:3] == ["throughput (rows/s)", "lag (rows not read yet)", "late rows so far"]
    assert titles[3].startswith("state of the open windows (")
    speed, lag, late, state = figure.data
    for trace in figure.data:
        assert list(trace.x) == sorted(trace.x)
        assert trace.x[0] == 0
    assert min(speed.y) > 0
    assert lag.y[-1] == 0
    assert list(late.y)[:5] == [0, 0, 0, 1, 1]
    assert state.y[0] > 0
    assert figure.layout.title.text == "The run"
    assert figure.layout.xaxis3.title.text == "seconds into the run"


def test_progress_of_two_runs_breaks_between_them(tmp_path):
    first = hours(LATE, "key").stream(checkpoint=tmp_path, batch_rows=1)
    first.watch(lambda event: first.stop() if isinstance(event, Progress) and event.done == 2 else None)
    first.wait()
    second = ran(hours(LATE, "key"), checkpoint=tmp_path)
    figure = streams.progress([*second.events, *first.events])
    late = figure.data[2]
    assert late.y[:5] == (0, 0, None, 0, 1)


def test_progress_before_the_first_batch_and_without_a_lag():
    assert "no batch yet" in [a.text for a in streams.progress([Started(run="x")]).layout.annotations]
    (event,) = [e for e in ran(hours(rows([10]))).events if isinstance(e, Progress)][:1]
    unknown = Progress(run="x", done=1, values={**event.values, "lag_rows": None})
    assert "the source cannot tell" in [a.text for a in streams.progress([unknown]).layout.annotations]


def test_progress_of_thousands_of_batches_stays_small_and_keeps_the_last():
    (event,) = [e for e in ran(hours(rows([10]))).events if isinstance(e, Progress)][:1]
    many = [Progress(run="x", at_s=1.0 * i, done=i, values=event.values) for i in range(10_001)]
    figure = streams.progress(many)
    assert len(figure.data[0].x) <= 2_001
    assert figure.data[0].x[-1] == 10_000


def test_events_of_another_run_are_refused():
    run = BackgroundRun(lambda control: control.progress(1, loss=0.5)).start()
    run.wait()
    with pytest.raises(lnb.WindowError, match=r"not those of a stream .*give stream\.events"):
        streams.progress(run.events)
