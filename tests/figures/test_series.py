"""Traces that grow, and what of them a chart needs."""

from datetime import UTC, date, datetime, timedelta, timezone

import numpy as np
import plotly.graph_objects as go
import polars as pl
import pytest

from lepton_nb.errors import LeptonError
from lepton_nb.figures.series import Series, equal, jsonable, numbers, raw, times
from lepton_nb.figures.words import describe


def series(**trace):
    return Series(go.Scatter(**trace).to_plotly_json())


def test_numbers_and_times_as_floats():
    assert numbers([1, None, 2.5]).tolist()[::2] == [1, 2.5]
    assert np.isnan(numbers([1, None])[1])
    assert numbers(["a"]) is None
    assert numbers(np.array([[1.0]])) is None
    noon = datetime(2013, 1, 1, 12)
    ms = noon.replace(tzinfo=UTC).timestamp() * 1e3
    east = noon.replace(tzinfo=timezone(timedelta(hours=5)))
    assert times(["2013-01-01T12:00:00", "2013-01-01 12:00:00.001"]).tolist() == [ms, ms + 1]
    assert times([noon, east]).tolist() == [ms, ms - 5 * 3_600_000]
    assert times([date(1970, 1, 2), None])[0] == 86_400_000
    assert times(np.array(["2013-01-01T12:00"], dtype="datetime64[ns]")).tolist() == [ms]
    assert times(["noon"]) is None
    assert times([1.0]) is None
    assert times([None]) is None


def test_a_line_grows_and_gives_back_all_points():
    one = series(y=[1, 2], name="a")
    for number in range(2, 3000):
        one.append([number], [number])
    assert one.rows == 3000
    assert one.trace()["x"].tolist() == list(range(3000))
    assert one.trace()["name"] == "a"


def test_times_grow_by_times_alone():
    one = series(x=["2013-01-01T00:00:00"], y=[1])
    one.append([datetime(2013, 1, 2)], [2])
    assert one.dates
    assert one.trace()["x"].tolist() == [datetime(2013, 1, 1), datetime(2013, 1, 2)]
    one.append(pl.Series([datetime(2013, 1, 3)]), pl.Series([3]))
    assert one.trace()["x"].tolist()[-1] == datetime(2013, 1, 3)
    with pytest.raises(LeptonError, match="need times for x and numbers for y"):
        one.append([5.0], [2])
    with pytest.raises(LeptonError, match="as many times"):
        one.append([datetime(2013, 1, 2)], [2, 3])


def test_what_has_no_numbers_does_not_grow():
    for trace in (go.Bar(x=["a"], y=[1]), go.Scatter(x=["a"], y=[1]), go.Heatmap(z=[[1]])):
        with pytest.raises(LeptonError, match="cannot grow"):
            Series(trace.to_plotly_json()).append([1], [1])


def test_only_plain_ascending_lines_are_thinned():
    many = np.arange(10_000.0)
    assert len(series(y=many).drawn(1000)[0]) <= 1000
    for kept in (
        series(x=many[::-1], y=many),
        series(y=many, mode="markers"),
        series(y=many, text=["t"] * 10_000),
        series(y=many, mode="lines+markers", marker={"size": many}),
    ):
        assert len(kept.drawn(1000)[0]) == 10_000


def test_what_is_shown_of_a_span_is_finer_than_the_whole():
    one = series(y=np.sin(np.arange(100_000) / 7))
    x, y = one.drawn(1000, (50_000.0, 50_900.0))
    assert x.tolist() == [float(value) for value in range(49_999, 50_902)]
    assert (y == np.sin(x / 7)).all()


def test_an_unsorted_addition_ends_thinning_and_loses_nothing():
    one = series(y=np.arange(5000.0))
    one.append([0], [7])
    x, _ = one.drawn(1000)
    assert len(x) == 5001


def test_json_of_arrays_is_what_plotly_reads():
    assert jsonable({"z": np.array([[1, 2]], dtype=np.int64)})["z"]["shape"] == "1,2"
    assert jsonable([np.float32(1.5), float("nan"), datetime(2013, 1, 1)]) == [1.5, None, "2013-01-01T00:00:00"]
    assert jsonable(np.array(["a"])) == ["a"]


def test_a_figure_in_words():
    figure = go.Figure(layout={"title": {"text": "<b>Loss</b>"}, "xaxis": {"title": {"text": "step"}}})
    figure.add_scatter(x=[1, 2, 3], y=[3, 1, None], name="a &lt; b")
    figure.add_scatter(x=["2013-01-01T06:00:00"], y=[2], name="times")
    figure.add_scatter(x=[0, 1], y=[0, 1], hoverinfo="skip", name="guide")
    words = describe([Series(trace.to_plotly_json()) for trace in figure.data], figure.layout.to_plotly_json())
    assert words == (
        "Line chart: Loss. x axis: step. a < b: 3 points, the last 1 at 2, lowest 1, highest 3. "
        "times: 1 point, the last 2 at 2013-01-01 06:00:00, lowest 2, highest 2."
    )


def test_an_empty_figure_says_what_its_note_says():
    figure = go.Figure().add_annotation(text="no batch yet")
    assert describe([], figure.layout.to_plotly_json()) == "Empty chart. no batch yet."


def test_parts_with_arrays_are_never_surely_equal():
    assert equal({"a": [1, {"b": "c"}]}, {"a": [1, {"b": "c"}]})
    assert not equal({"a": [1]}, {"a": [2]})
    assert not equal({"a": np.arange(3)}, {"a": np.arange(3)})


def test_raw_bytes_are_those_of_64_bit_floats():
    assert np.frombuffer(raw(np.arange(6.0)[::2])).tolist() == [0, 2, 4]
