"""What a live chart sends to its views; a view is played by the messages that the browser sends."""

import numpy as np
import plotly.graph_objects as go
import pytest

from lepton_nb.errors import LeptonError
from lepton_nb.widgets.chart import PLOTLY, LiveChart


class View:
    """Holds what a chart sent, as the browser does."""

    def __init__(self, chart, monkeypatch, *, width=400):
        self.chart, self.frames, self.traces = chart, [], {}
        monkeypatch.setattr(chart, "send", self.take)
        state = chart.get_state()["_frame"]
        for part in state["traces"]:
            self.traces[part["index"]] = {name: np.frombuffer(part[name]["data"]) for name in "xy" if name in part}
        self.tell(kind="ready", seen=state["revision"], width=width)

    def tell(self, **message):
        self.chart._handle_custom_msg(message, [])

    def take(self, frame, buffers):
        self.frames.append(frame)
        for part in frame["traces"]:
            for name in "xy":
                if name in part:
                    points = np.frombuffer(buffers[part[name]["buffer"]])
                    old = self.traces[part["index"]][name][: part["at"]] if "at" in part else []
                    self.traces.setdefault(part["index"], {})[name] = np.concatenate([old, points])

    def answer(self):
        self.tell(kind="shown", number=self.frames[-1]["number"])


@pytest.fixture
def chart():
    made = LiveChart(go.Figure([go.Scatter(y=[1, 2], name="a"), go.Scatter(y=[3], name="b")]))
    yield made
    made.close()


@pytest.fixture
def view(chart, monkeypatch):
    return View(chart, monkeypatch)


def test_a_view_begins_with_the_state_and_is_not_sent_it_twice(view):
    assert view.frames == []
    assert view.traces[0]["y"].tolist() == [1, 2]


def test_only_what_is_new_is_sent(chart, view):
    chart.append(0, [2], [5])
    view.answer()
    chart.append(0, [3, 4], [6, 7])
    assert [part["index"] for part in view.frames[-1]["traces"]] == [0]
    assert view.frames[-1]["traces"][0]["at"] == 3
    assert "layout" not in view.frames[-1]
    assert view.traces[0]["y"].tolist() == [1, 2, 5, 6, 7]


def test_frames_wait_for_the_browser_and_then_have_all(chart, view):
    for number in range(50):
        chart.append(0, [2 + number], [number])
        chart.append(1, [1 + number], [number])
    assert len(view.frames) == 1
    view.answer()
    assert len(view.frames) == 2
    view.answer()
    assert len(view.frames) == 2
    assert len(view.traces[0]["y"]) == 52
    assert len(view.traces[1]["y"]) == 51


def test_a_figure_that_grew_is_sent_as_its_new_points(chart, view):
    chart.append(0, [2], [5])
    view.answer()
    figure = chart.figure
    figure.data[0].x, figure.data[0].y = [0, 1, 2, 3], [1, 2, 5, 9]
    chart.show(figure)
    (part,) = view.frames[-1]["traces"]
    assert part["at"] == 3
    assert view.traces[0]["y"].tolist() == [1, 2, 5, 9]


def test_an_equal_figure_is_not_sent(chart, view):
    chart.show(chart.figure)
    assert view.frames == []


def test_a_view_whose_width_changes_nothing_is_not_sent_its_points_again(chart, monkeypatch):
    few = View(chart, monkeypatch, width=1200)
    few.tell(kind="width", width=300)
    assert few.frames == []
    long = LiveChart(go.Figure(go.Scatter(y=np.arange(100_000) % 7)))
    view = View(long, monkeypatch, width=1100)
    assert view.frames == []
    view.tell(kind="width", width=400)
    assert len(view.traces[0]["x"]) <= 800
    long.close()


def test_a_zoom_that_needs_no_points_sends_nothing_and_one_that_does_no_words(chart, view, monkeypatch):
    chart.set_state({"x_range": [0, 1]})
    assert view.frames == []
    long = LiveChart(go.Figure(go.Scatter(y=np.arange(100_000) % 7)))
    far = View(long, monkeypatch)
    far.answer()
    long.set_state({"x_range": [0, 100]})
    assert "text" not in far.frames[-1]
    far.answer()
    long.append(0, [100_000], [1])
    assert "100,001 points" in far.frames[-1]["text"]
    long.close()


def test_another_layout_is_sent_with_its_dates(chart, view):
    chart.show(go.Figure([go.Scatter(y=[1, 2], name="a"), go.Scatter(y=[3], name="b")], layout={"title": "New"}))
    assert view.frames[-1]["layout"]["title"] == {"text": "New"}
    view.answer()
    days = ["2013-01-01", "2013-01-02"]
    chart.show(
        go.Figure([go.Scatter(x=days, y=[1, 2], name="a"), go.Scatter(y=[3], name="b")], layout={"title": "New"})
    )
    assert view.frames[-1]["layout"]["xaxis"]["type"] == "date"
    view.answer()
    chart.show(chart.figure)
    assert len(view.frames) == 2


def test_another_number_of_traces_is_sent_whole(chart, view):
    chart.show(go.Figure(go.Bar(x=["a"], y=[1])))
    assert view.frames[-1]["whole"]
    assert view.frames[-1]["traces"][0]["options"]["type"] == "bar"


def test_another_colour_keeps_the_points(chart, view):
    figure = chart.figure
    figure.data[1].line.color = "#123456"
    chart.show(figure)
    (part,) = view.frames[-1]["traces"]
    assert part["options"]["line"] == {"color": "#123456"}
    assert view.traces[1]["y"].tolist() == [3]


def test_a_long_line_is_thinned_to_the_pixels_and_zoom_sends_what_is_there(monkeypatch):
    y = np.sin(np.arange(1_000_000) / 50)
    chart = LiveChart(go.Figure(go.Scatter(y=y)))
    view = View(chart, monkeypatch, width=400)
    view.answer()
    assert len(view.traces[0]["x"]) <= 800
    chart.set_state({"x_range": [500_000, 500_100]})
    view.answer()
    shown = view.traces[0]["x"]
    assert shown.tolist() == [float(value) for value in range(499_999, 500_102)]
    assert (view.traces[0]["y"] == y[499_999:500_102]).all()
    chart.set_state({"x_range": None})
    view.answer()
    assert view.traces[0]["x"][[0, -1]].tolist() == [0, 999_999]
    assert len(chart.figure.data[0].y) == 1_000_000
    chart.close()


def test_times_are_zoomed_by_their_text(monkeypatch):
    start = np.datetime64("2013-01-01T00:00", "ms")
    x = start + np.arange(100_000) * np.timedelta64(1, "m")
    chart = LiveChart(go.Figure(go.Scatter(x=x, y=np.arange(100_000))))
    assert chart.over_time
    view = View(chart, monkeypatch)
    chart.set_state({"x_range": ["2013-01-03 00:00:00.5", "2013-01-03 01:00"]})
    view.answer()
    assert len(view.traces[0]["x"]) == 62
    chart.close()


def test_a_view_that_lost_something_is_sent_all(chart, view):
    chart.append(0, [2], [5])
    view.answer()
    view.tell(kind="again")
    assert view.frames[-1]["whole"]
    assert view.traces[0]["y"].tolist() == [1, 2, 5]


def test_a_view_whose_last_answer_was_lost_is_sent_what_came_since(chart, view):
    chart.append(0, [2], [5])
    chart.append(0, [3], [6])
    view.tell(kind="idle", number=view.frames[-1]["number"])
    assert view.traces[0]["y"].tolist() == [1, 2, 5, 6]
    frames = len(view.frames)
    view.tell(kind="idle", number=view.frames[-1]["number"])
    assert len(view.frames) == frames


def test_a_view_that_a_frame_did_not_reach_is_sent_all(chart, view):
    chart.append(0, [2], [5])
    number = view.frames[-1]["number"]
    view.answer()
    chart.append(0, [3], [6])
    view.tell(kind="idle", number=number)
    assert view.frames[-1]["whole"]
    assert view.traces[0]["y"].tolist() == [1, 2, 5, 6]


def test_a_late_view_gets_the_state_of_now(chart, view, monkeypatch):
    chart.append(0, [2], [5])
    late = View(chart, monkeypatch)
    assert late.traces[0]["y"].tolist() == [1, 2, 5]


def test_what_a_notebook_keeps_is_thinned_and_has_words():
    still = LiveChart.still(go.Figure(go.Scatter(y=np.arange(1_000_000), name="a")))
    assert len(still[PLOTLY]["data"][0]["y"]["bdata"]) < 50_000
    assert "a: 1,000,000 points" in still["text/plain"]


def test_what_cannot_be_drawn_is_named(chart):
    with pytest.raises(LeptonError, match="a live chart draws bar, .*, not surface; display the figure itself"):
        LiveChart(go.Figure(go.Surface(z=[[1]])))
    with pytest.raises(LeptonError, match="there is no trace 2; the chart has 2, counted from 0"):
        chart.append(2, [1], [1])
    with pytest.raises(LeptonError, match="there is no trace 'a'"):
        chart.append("a", [1], [1])
    with pytest.raises(LeptonError, match="shows a figure of Plotly .*, not a dict"):
        LiveChart({})


def test_a_range_is_two_numbers_or_two_times(chart):
    for wrong in ([1], [1, "x"], ["2013-01-01", "2013-01-02"], [0, float("nan")]):
        with pytest.raises(LeptonError, match="must be two numbers; None shows all"):
            chart.x_range = wrong
    over_time = LiveChart(go.Figure(go.Scatter(x=["2013-01-01", "2013-01-02"], y=[1, 2])))
    with pytest.raises(LeptonError, match="must be two times, such as '2013-01-31 06:00'"):
        over_time.x_range = [5, "x"]
    over_time.x_range = ["2013-01-01", "2013-01-02 12:00:00.5"]
    over_time.close()


def axes(layout):
    """Whether the axes of a layout have numbers."""
    return [(layout.get(name) or {}).get("showticklabels", True) for name in ("xaxis", "yaxis")]


def notes(layout):
    return [note["text"] for note in layout.get("annotations") or ()]


def test_an_empty_chart_says_so_until_its_first_point(monkeypatch):
    chart = LiveChart(go.Figure(go.Scatter(x=[], y=[], name="a"), layout={"yaxis": {"title": {"text": "loss"}}}))
    layout = chart.get_state()["_frame"]["layout"]
    assert (notes(layout), axes(layout)) == (["No data yet"], [False, False])
    assert layout["yaxis"]["title"] == {"text": "loss"}
    assert chart.text == "Empty chart. y axis: loss. No data yet."
    assert chart.figure.layout.annotations == ()
    view = View(chart, monkeypatch)
    # A point without a value is none yet.
    chart.append(0, [0], [None])
    assert "layout" not in view.frames[-1]
    view.answer()
    chart.append(0, [1], [5])
    layout = view.frames[-1]["layout"]
    assert (notes(layout), axes(layout)) == ([], [True, True])
    view.answer()
    chart.append(0, [2], [6])
    assert "layout" not in view.frames[-1]
    view.answer()
    chart.show(go.Figure(go.Scatter(x=[], y=[], name="a"), layout={"yaxis": {"title": {"text": "loss"}}}))
    assert notes(view.frames[-1]["layout"]) == ["No data yet"]
    chart.close()


def test_what_a_notebook_keeps_of_an_empty_figure_says_so_too():
    layout = LiveChart.still(go.Figure())[PLOTLY]["layout"]
    assert (notes(layout), axes(layout)) == (["No data yet"], [False, False])
    # Words of its own stay, and so does an axis whose range is given.
    own = LiveChart.still(go.Figure(layout={"annotations": [{"text": "none came"}], "xaxis": {"range": [0, 1]}}))
    assert (notes(own[PLOTLY]["layout"]), axes(own[PLOTLY]["layout"])) == (["none came"], [True, False])
    full = LiveChart.still(go.Figure(go.Bar(x=["a"], y=[1])))[PLOTLY]["layout"]
    assert (notes(full), axes(full)) == ([], [True, True])
