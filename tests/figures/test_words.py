"""Figures in words: what they say is what the figure holds."""

import numpy as np
import plotly.graph_objects as go
import pytest

from lepton_nb import figures
from lepton_nb.figures.series import Series, jsonable
from lepton_nb.figures.words import describe


def words(figure):
    """As a chart tells it."""
    series = [Series(trace.to_plotly_json()) for trace in figure.data]
    return describe(series, jsonable(figure.layout.to_plotly_json()))


@pytest.mark.parametrize(
    ("trace", "said"),
    [
        (go.Bar(x=["UA", "AA", "DL"], y=[3, 10.5, -2]), "3 bars, the largest 10.5 (AA), the smallest -2 (DL)."),
        (go.Bar(y=["a", "b"], x=np.array([1, 2]), orientation="h"), "2 bars, the largest 2 (b), the smallest 1 (a)."),
        (go.Bar(x=["a", "b", "c"], y=[2, 2, 1]), "3 bars, the largest 2 (a and 1 more), the smallest 1 (c)."),
        (go.Bar(x=["a", "b"], y=[2, 2]), "2 bars, all 2."),
        (go.Bar(x=["a"], y=[7]), "1 bar, 7 (a)."),
        (go.Bar(y=[1, 2]), "2 bars, the largest 2, the smallest 1."),
        (go.Bar(x=["a", "b"], y=[None, 5]), "1 bar, 5 (b)."),
        (go.Bar(x=np.array([0.5, 1.5]), y=np.array([1.0, np.nan])), "1 bar, 1 (0.5)."),
        (go.Bar(x=["<b>bold</b> &lt; b", "c"], y=[2, 1]), "the largest 2 (bold < b), the smallest 1 (c)."),
        (
            go.Heatmap(z=[[1, 2, 3], [4, 50, None]], x=["p", "q", "r"], y=["no", "yes"]),
            "3 columns and 2 rows, from 1 to 50, the highest at x q and y yes.",
        ),
        (go.Heatmap(z=np.array([[0.0, 2.0], [2.0, 1.0]])), "from 0 to 2, the highest at x 1 and y 0 and 1 more."),
        (go.Heatmap(z=[[1, 9]], transpose=True), "1 column and 2 rows, from 1 to 9, the highest at x 0 and y 1."),
        (go.Heatmap(z=[[3, 3]]), "2 columns and 1 row, all 3."),
        (
            go.Pie(labels=["a", "b", "a"], values=[1, 1, 2]),
            "2 parts, the largest a with 75 %, the smallest b with 25 %.",
        ),
        (go.Pie(labels=["a", "b", "a"]), "2 parts, the largest a with 66.7 %, the smallest b with 33.3 %."),
        (go.Histogram(x=[1, 2, 3, 10]), "4 values, lowest 1, median 2.5, highest 10."),
        (go.Histogram(x=["u", "v", "u"]), "3 values, most often u (2)."),
        (go.Box(y=np.array([1.0, 5.0, np.nan, 2.0])), "3 values, lowest 1, median 2, highest 5."),
        (
            go.Box(x=["a", "b"], q1=[1, 2], median=[2, 3], q3=[3, 4]),
            "2 boxes, of their medians the largest 3 (b), the smallest 2 (a).",
        ),
    ],
)
def test_largest_smallest_and_where(trace, said):
    assert words(go.Figure(trace)).endswith(said)


def test_a_confusion_matrix_tells_where_the_most_are_and_in_percent():
    figure = figures.evaluation.confusion_matrix(
        [0, 0, 1, 1, 1], [0.1, 0.9, 0.8, 0.7, 0.2], classes=["on time", "late"]
    )
    assert words(figure) == (
        "Heat map. x axis: predicted class (late from 0.5 on); y axis: observed class. 2 columns and 2 rows, from "
        "33.33 % to 66.67 %, the highest at predicted class (late from 0.5 on) late and observed class late."
    )


def test_residuals_tell_at_which_difference_most_rows_lie():
    target = np.array([0.0] * 10 + [5.0] * 2)
    said = words(figures.evaluation.residuals(target, {"model": np.zeros(12)}))
    bars = figures.evaluation.residuals(target, {"model": np.zeros(12)}).data[0]
    assert said.startswith("Bar chart. x axis: observed")
    assert f"{len(bars.y)} bars, the largest 83.33 ({bars.x[0]:.6g})" in said


@pytest.mark.parametrize(
    "figure",
    [
        go.Figure(),
        go.Figure(go.Scatter(x=[], y=[])),
        go.Figure(go.Scatter(x=[1], y=[None])),
        go.Figure(go.Bar(x=[], y=[])),
        go.Figure(go.Heatmap(z=[[]])),
        go.Figure(go.Pie(labels=[], values=[])),
    ],
)
def test_what_holds_nothing_says_so_and_no_number(figure):
    said = words(figure)
    assert said.endswith("No data yet.")
    assert not any(sign.isdigit() for sign in said)


def test_hidden_lines_are_not_taken_for_no_data():
    figure = go.Figure(go.Scatter(y=[1, 2], visible="legendonly"))
    assert "No data yet" not in words(figure)
