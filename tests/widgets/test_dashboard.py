"""Dashboards: where parts go, and what they share."""

import ipywidgets
import plotly.graph_objects as go
import pytest

from lepton_nb.errors import LeptonError
from lepton_nb.widgets.chart import LiveChart
from lepton_nb.widgets.dashboard import Dashboard, arrange
from lepton_nb.widgets.panel import Panel


def over_time(*names):
    figure = go.Figure()
    for name in names:
        figure.add_scatter(x=["2013-01-01", "2013-01-02", "2013-01-03"], y=[1, 2, 3], name=name)
    return figure


@pytest.fixture
def board():
    made = Dashboard(over_time("UA", "AA"), LiveChart(over_time("UA", "DL")), go.Figure(go.Bar(x=["a"], y=[1])))
    yield made
    made.close()


@pytest.mark.parametrize(
    ("parts", "layout", "grids"),
    [
        (1, None, {"": ["A"]}),
        (3, None, {"": ["AB", "CC"]}),
        (3, "A B\n C C ", {"": ["AB", "CC"]}),
        (3, {"One": "A.", "Two": "B\nC"}, {"One": ["A."], "Two": ["B", "C"]}),
    ],
)
def test_parts_have_their_places(parts, layout, grids):
    assert arrange(parts, layout) == grids


@pytest.mark.parametrize(
    ("parts", "layout", "message"),
    [
        (2, "A", "the layout leaves B out"),
        (1, "AB", "the layout names B; there are 1 parts: A"),
        (3, "AB\nC", "must be equally long"),
        (1, "", "must be equally long"),
        (27, None, "up to 26 parts, not 27"),
        (1, 5, "layout=5 must be text such as"),
    ],
)
def test_a_layout_that_cannot_be(parts, layout, message):
    with pytest.raises(LeptonError, match=message):
        arrange(parts, layout)


def test_nothing_to_show_and_what_cannot_be_shown():
    with pytest.raises(LeptonError, match="a dashboard needs something to show"):
        Dashboard()
    with pytest.raises(LeptonError, match="a dict cannot be shown on a page; give a panel"):
        Dashboard({})


def test_charts_over_time_show_the_same_time_and_others_do_not(board):
    first, second, third = board.charts
    first.set_state({"x_range": ["2013-01-01 12:00", "2013-01-02"]})
    assert second.x_range == ["2013-01-01 12:00", "2013-01-02"]
    assert third.x_range is None
    assert board.time_range == ("2013-01-01 12:00", "2013-01-02")
    board.time_range = None
    assert first.x_range is second.x_range is None


def test_a_time_from_the_form_is_shown_and_a_wrong_one_is_told(board):
    board._range.set(first="2013-01-02", last="2013-01-03")
    board._set_range()
    assert board.charts[0].x_range == ["2013-01-02", "2013-01-03"]
    board._range.set(first="2013-01-04", last="2013-01-03")
    with pytest.raises(LeptonError, match="the first time, 2013-01-04, is not before the last, 2013-01-03"):
        board._set_range()
    board._range.set(first="noon", last="2013-01-03")
    with pytest.raises(LeptonError, match="is not a time; write it like 2013-01-31 06:00"):
        board._set_range()


def test_lines_that_charts_share_can_be_chosen_in_all_of_them():
    board = Dashboard(over_time("UA", "AA"), over_time("AA", "UA", "DL"))
    assert board._choice.options == ("UA", "AA")
    board.shown_keys = ["AA"]
    assert [chart.hidden for chart in board.charts] == [["UA"], ["UA"]]
    board.shown_keys = []
    assert board.charts[0].hidden == []
    with pytest.raises(LeptonError, match="no chart has a line 'UAA'; did you mean 'UA'?"):
        board.shown_keys = ["UAA"]
    board.close()


def test_a_chart_that_comes_later_follows():
    panel = Panel("Late")
    board = Dashboard(over_time("UA"), panel)
    board.charts[0].x_range = ["2013-01-01", "2013-01-02"]
    panel.body.children = [LiveChart(over_time("UA", "AA"))]
    board.refresh()
    assert board.charts[1].x_range == ["2013-01-01", "2013-01-02"]
    board.charts[1].x_range = None
    assert board.charts[0].x_range is None
    board.close()
    panel.close()


def test_its_report_has_all_figures_and_words(board):
    assert [figure.data[0].type for figure in board.figures()] == ["scatter", "scatter", "bar"]
    assert "UA: 3 points" in board.summary()


def test_tabs_have_their_names():
    board = Dashboard(over_time("a"), ipywidgets.HTML("b"), layout={"One": "A", "Two": "B"})
    tab = board.body.children[1]
    assert tab.titles == ("One", "Two")
    board.close()


def test_a_report_has_each_tab_under_its_name_and_no_control():
    late = Panel("Late *flights* <b>")
    layout = {"How\nlate_": "A", "Who": "CB"}
    board = Dashboard(over_time("UA"), late, ipywidgets.HTML("<em>words</em>"), layout=layout)
    pieces = list(board.report())
    headings = [one["text/markdown"] for one in pieces if "text/markdown" in one]
    assert headings == ["## How late\\_", "## Who", "### Late \\*flights\\* &lt;b&gt;"]
    kinds = [next(iter(one)) for one in pieces]
    assert kinds == [
        "text/markdown", "application/vnd.plotly.v1+json", "text/markdown", "text/html", "text/markdown", "text/html",
    ]  # fmt: skip
    assert pieces[3]["text/html"] == "<em>words</em>"
    assert pieces[5]["text/html"] == "<p>Late *flights* &lt;b&gt;</p>"
    assert not any("widget-view" in kind for one in pieces for kind in one)
    board.close()
    late.close()


def test_a_report_without_tabs_begins_with_the_title(board):
    first, *rest = board.report()
    assert first["text/markdown"] == "## Dashboard"
    assert all("application/vnd.plotly.v1+json" in one for one in rest)
    assert len(rest) == 3
