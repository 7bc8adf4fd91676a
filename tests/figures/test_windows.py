import json
from datetime import UTC, date, datetime, timedelta

import numpy as np
import polars as pl
import pytest

import lepton_nb as lnb

START = datetime(2020, 1, 1, tzinfo=UTC)


def result(starts, values, **columns):
    """A window result: hours since START, and values."""
    times = [START + timedelta(hours=h) for h in starts]
    frame = pl.DataFrame({**columns, "window_start": times, "delay": values})
    return frame.with_columns(window_end=pl.col("window_start") + timedelta(hours=1))


def test_one_line_a_key_with_titles_units_and_utc():
    table = result([0, 1, 0, 1], [1.0, 2.0, 3.0, 4.0], carrier=["AA", "AA", "UA", "UA"])
    figure = lnb.figures.windows.lines(table, "delay", key="carrier", unit="min", title="Delays")
    assert [trace.name for trace in figure.data] == ["AA", "UA"]
    assert [list(trace.y) for trace in figure.data] == [[1, 2], [3, 4]]
    assert figure.layout.xaxis.title.text == "window start (UTC)"
    assert figure.layout.yaxis.title.text == "delay (min)"
    assert figure.layout.legend.title.text == "carrier"
    assert figure.layout.title.text == "Delays"
    assert "UTC" in figure.data[0].hovertemplate
    assert "min" in figure.data[0].hovertemplate


def test_missing_and_null_windows_break_the_line():
    figure = lnb.figures.windows.lines(result([0, 1, 3, 4, 5, 6], [1.0, 2.0, 3.0, 4.0, None, 6.0]), "delay")
    line, dots = figure.data
    np.testing.assert_array_equal(line.y, np.float32([1, 2, np.nan, 3, 4, np.nan, 6]))
    assert line.connectgaps is False
    assert (line.x0, line.dx) == ("2020-01-01T00:00:00", 3_600_000)
    assert list(dots.x) == ["2020-01-01T06:00:00"]
    assert list(dots.y) == [6]


def test_windows_without_any_neighbour_are_dots():
    line, dots = lnb.figures.windows.lines(result([0, 3, 6, 9], [1.0, 2.0, 3.0, 4.0]), "delay").data
    nothing = [np.nan, np.nan]
    np.testing.assert_array_equal(line.y, np.float32([1, *nothing, 2, *nothing, 3, *nothing, 4]))
    assert line.dx == 3_600_000
    assert list(dots.y) == [1, 2, 3, 4]


def test_without_window_ends_the_shortest_step_counts():
    (line,) = lnb.figures.windows.lines(result([0, 3, 6, 9], [1.0, 2.0, 3.0, 4.0]).drop("window_end"), "delay").data
    assert list(line.y) == [1, 2, 3, 4]


def test_overlapping_windows_are_one_line_and_a_missing_one_breaks_it():
    table = result([0, 1, 2, 4], [1.0, 2.0, 3.0, 4.0]).with_columns(pl.col("window_end") + timedelta(hours=5))
    line, dots = lnb.figures.windows.lines(table, "delay").data
    np.testing.assert_array_equal(line.y, np.float32([1, 2, 3, np.nan, 4]))
    assert list(dots.y) == [4]


@pytest.mark.parametrize(("unit", "step_ns", "second"), [("us", 100_000, "000100"), ("ns", 500, "000000500")])
def test_windows_shorter_than_a_millisecond_stay_apart(unit, step_ns, second):
    times = pl.Series([0, step_ns, 4 * step_ns, 50 * step_ns]).cast(pl.Datetime("ns")).cast(pl.Datetime(unit))
    query = lnb.windows(pl.DataFrame({"t": times}), time="t").tumbling(f"{step_ns}ns").agg(n=lnb.count())
    line, _ = lnb.figures.windows.lines(query.collect(), "n").data
    assert line.x[1] == f"1970-01-01T00:00:00.{second}"
    assert len(set(line.x)) == len(line.x)
    assert "%S.%6f" in line.hovertemplate
    (line,) = lnb.figures.windows.lines(query.collect().head(2), "n").data
    assert line.dx == step_ns / 1e6


def test_windows_far_apart_do_not_fill_the_space_between():
    figure = lnb.figures.windows.lines(result([0, 1, 100_000], [1.0, 2.0, 3.0]), "delay")
    line, dots = figure.data
    assert list(line.x) == ["2020-01-01T00:00:00", "2020-01-01T01:00:00", "2020-01-01T02:00:00", "2031-05-29T16:00:00"]
    np.testing.assert_array_equal(line.y, np.float32([1, 2, np.nan, 3]))
    assert list(dots.y) == [3]


def test_times_are_drawn_in_utc():
    table = result([0, 1], [1.0, 2.0]).with_columns(pl.col("window_start").dt.convert_time_zone("America/New_York"))
    assert lnb.figures.windows.lines(table, "delay").data[0].x0 == "2020-01-01T00:00:00"


def test_civil_days_of_23_hours_do_not_break_the_line():
    hours = pl.datetime_range(datetime(2013, 3, 8), datetime(2013, 3, 14), "1h", time_zone="UTC", eager=True).alias("t")
    query = lnb.windows(hours.to_frame(), time="t").tumbling("1d", tz="America/New_York").agg(n=lnb.count())
    (line,) = lnb.figures.windows.lines(query.collect(), "n").data
    assert not np.isnan(line.y).any()
    assert "2013-03-10T05:00:00" in line.x
    assert "2013-03-11T04:00:00" in line.x


def test_dates():
    frame = pl.DataFrame({"day": [date(2020, 1, 1), date(2020, 1, 2)]})
    table = lnb.windows(frame, time="day").tumbling("1d").agg(n=lnb.count()).collect()
    (line,) = lnb.figures.windows.lines(table, "n").data
    assert (line.x0, line.dx) == ("2020-01-01T00:00:00", 86_400_000)


def test_sixteen_carriers_and_a_year_of_hours_stay_small_and_apart():
    hours = list(range(8_760))
    tables = [
        result(hours, np.random.default_rng(i).normal(size=8_760), carrier=[f"C{i:02}"] * 8_760) for i in range(16)
    ]
    figure = lnb.figures.windows.lines(pl.concat(tables), "delay", key="carrier")
    assert len(figure.to_json()) < 16 * 8_760 * 8
    styles = {(trace.line.color, trace.line.dash) for trace in figure.data}
    assert len(styles) == 16


def test_several_keys_are_named_together():
    table = result([0, 0], [1, 2], carrier=["AA", "AA"], origin=["JFK", "LGA"])
    figure = lnb.figures.windows.lines(table, "delay", key=["carrier", "origin"])
    assert [trace.name for trace in figure.data if trace.mode == "lines"] == ["AA JFK", "AA LGA"]


def test_keys_whose_texts_join_to_the_same_are_two_lines():
    table = result([0, 1, 0, 1], [1.0, 2.0, 3.0, 4.0], a=["x y"] * 2 + ["x"] * 2, b=["z"] * 2 + ["y z"] * 2)
    one, other = lnb.figures.windows.lines(table, "delay", key=["a", "b"]).data
    assert (list(one.y), list(other.y)) == ([3, 4], [1, 2])
    assert one.legendgroup != other.legendgroup


def test_a_null_key_is_a_line_of_its_own():
    table = result([0, 1, 0, 1], [1.0, 2.0, 3.0, 4.0], a=[None, None, "x", "x"])
    assert [trace.name for trace in lnb.figures.windows.lines(table, "delay", key="a").data] == ["null", "x"]


@pytest.mark.parametrize("values", [[2, 10], [0.5, 1.5], [True, False], [[1], [2]], [date(2020, 1, 1), None]])
def test_keys_of_any_type_are_drawn_in_their_order(values):
    figure = lnb.figures.windows.lines(result([0, 0], [1.0, 2.0], a=values), "delay", key="a")
    expected = pl.Series(values).sort().to_list()
    found = [trace.name for trace in figure.data if trace.mode == "lines"]
    assert found == ["null" if key is None else str(key) for key in expected]


def test_keys_and_units_are_text_not_markup():
    table = result([0, 1], [1.0, 2.0], carrier=["<b>A&B</b>%{y}"] * 2)
    (line,) = lnb.figures.windows.lines(table, "delay", key="carrier", unit="<b>x").data
    assert line.name == "&lt;b&gt;A&amp;B&lt;/b&gt;%{y}"
    assert "&lt;b&gt;x<extra>%{fullData.name}</extra>" in line.hovertemplate


def test_one_window_is_a_dot():
    figure = lnb.figures.windows.lines(result([0], [1.5]), "delay")
    assert [trace.mode for trace in figure.data] == ["lines", "markers"]
    assert list(figure.data[1].y) == [1.5]


def test_an_empty_result_says_so():
    figure = lnb.figures.windows.lines(result([0], [1.0]).clear(), "delay")
    assert figure.layout.annotations[0].text == "no windows"


def test_the_figure_is_valid_json_without_nan():
    figure = lnb.figures.windows.lines(result([0, 2], [1.0, 2.0]), "delay")
    json.loads(figure.to_json(), parse_constant=lambda name: pytest.fail(f"{name} in JSON"))


@pytest.mark.parametrize(
    ("change", "value", "key", "message"),
    [
        (lambda t: t, "dellay", None, "did you mean 'delay'"),
        (lambda t: t, "delay", "carier", "did you mean 'carrier'"),
        (lambda t: t.drop("window_start"), "delay", "carrier", "unknown column 'window_start'"),
        (lambda t: t, "carrier", None, "a line needs numbers"),
        (lambda t: t, "delay", None, "several rows share a window; .*'carrier'"),
        (lambda t: t.with_columns(window_start=1), "delay", "carrier", "not a time"),
        (
            lambda t: t.with_columns(window_start=pl.lit(None, dtype=pl.Datetime("us"))),
            "delay",
            "carrier",
            r"has nulls; .*drop_nulls\('window_start'\)",
        ),
    ],
)
def test_what_cannot_be_drawn_names_the_fix(change, value, key, message):
    table = change(result([0, 0], [1.0, 2.0], carrier=["AA", "UA"]))
    with pytest.raises(lnb.WindowError, match=message):
        lnb.figures.windows.lines(table, value, key=key)
