import base64
import gzip

import numpy as np
import plotly.graph_objects as go
import pytest

from lepton_nb.figures import plotly_js
from lepton_nb.reports.drawing import PLAIN_POINTS, UNKNOWN, in_words, library, plain, types, types_in_html

PART = frozenset({"scatter", "bar"})


def test_the_part_is_taken_while_it_draws_all():
    found = library([("A", PART), ("B", frozenset({"heatmap"}))])
    assert gzip.decompress(base64.b64decode(found.packed)).decode() == plotly_js.script()
    assert found.reason == ""


def test_all_of_it_is_taken_for_one_figure_that_needs_it():
    found = library([("A", PART), ("Hill", frozenset({"bar", "surface"}))])
    assert b"surface" in gzip.decompress(base64.b64decode(found.packed))
    assert found.reason == "the figure 'Hill' is of the type surface, which a smaller part lacks"


def test_all_of_it_is_taken_for_scripts_that_cannot_be_read():
    assert library([("", frozenset({UNKNOWN}))]).reason == "a script of an output draws what cannot be told before"


def test_nothing_is_taken_for_no_figures():
    assert library([]) is None


def as_list(points):
    return [{"type": "scattergl", "y": [0.5] * points}, {"type": "bar"}]


def as_packed(points):
    return go.Figure([go.Scattergl(y=np.full(points, 0.5)), go.Bar()]).to_dict()["data"]


@pytest.mark.parametrize("data", [as_list, as_packed])
def test_few_points_need_no_graphics_processor(data):
    assert types(plain(data(PLAIN_POINTS))) == {"scatter", "bar"}
    assert types(plain(data(PLAIN_POINTS + 10))) == {"scattergl", "bar"}


@pytest.mark.parametrize(
    ("html", "found"),
    [
        (go.Figure([go.Bar(y=[1]), go.Scatter(y=[1])]).to_html(include_plotlyjs=False), {"bar", "scatter"}),
        ('Plotly.newPlot("a", [{"type": "pie"}], {}); Plotly.newPlot("b", [{}])', {"pie", "scatter"}),
        ("Plotly.newPlot(place, traces)", {UNKNOWN}),
        ('Plotly.newPlot("a", [1])', {UNKNOWN}),
        ("<p>Made with Plotly. (It is a library.)</p>", set()),
    ],
)
def test_traces_of_calls_in_html(html, found):
    assert types_in_html(html) == found


def test_words_for_a_figure_and_none_for_what_cannot_be_told():
    assert in_words([{"type": "bar", "x": ["a", "b"], "y": [1, 2]}], {}).startswith("Bar chart. 2 bars")
    assert in_words([{"type": "bar", "y": {"bdata": "?", "dtype": "none"}}], {}) == ""
