"""Names of columns are data: whatever they hold, a panel shows them as text and computes with just them."""

import threading
from datetime import UTC, datetime, timedelta

import ipywidgets
import polars as pl
import pytest
from polars.testing import assert_frame_equal

import lepton_nb as lnb
from lepton_nb.widgets.chart import LiveChart
from lepton_nb.widgets.window_panel import WindowPanel
from lepton_nb.windowing.choices import AggregateRow, QueryChoices

MARKUP = "<img src=x onerror=alert(1)>"
PATTERN = "^a.*$"
NAMES = (
    MARKUP,
    "<b>x</b>",
    "it's",
    'a"b',
    "a\nb",
    "a, b",
    "ünï→💥",
    "x" * 300,
    PATTERN,
    "*",
    "%{x}",
    "&lt;",
    "size='1'",
)
ROWS = 120
TIME = "<i>when</i>\n's"
TABLE = pl.DataFrame(
    {
        TIME: [datetime(2020, 1, 1, tzinfo=UTC) + timedelta(minutes=n) for n in range(ROWS)],
        **{name: [float((n * 7 + at) % 13) for n in range(ROWS)] for at, name in enumerate(NAMES)},
        "^late$": [n % 3 == 0 for n in range(ROWS)],
        **{f"column {n}": [float(n)] * ROWS for n in range(300)},
    }
)


def settled(panel):
    while panel.busy:
        threading.Event().wait(0.01)
    return panel


def pieces(widget):
    """All widgets that one holds."""
    yield widget
    for child in getattr(widget, "children", ()):
        yield from pieces(child)


def check(panel):
    """Nothing of a name came through as markup, neither into the page nor into a chart."""
    found = [one for one in pieces(panel.view) if isinstance(one, ipywidgets.HTML)]
    for one in found:
        for tag in ("<img", "<b>", "<i>", "<script"):
            assert tag not in one.value, one.value
    for chart in pieces(panel.view):
        if isinstance(chart, LiveChart):
            drawn = [trace.name or "" for trace in chart.figure.data] + [
                str(axis.title.text or "") for axis in (*chart.figure.select_xaxes(), *chart.figure.select_yaxes())
            ]
            assert not [text for text in drawn if "<img" in text or "<i>" in text]
            assert "&lt;" not in chart.text.replace("mean_&lt;", "")


@pytest.mark.parametrize("name", [MARKUP, PATTERN, "*", "a\nb", NAMES[7]])
def test_the_window_panel_computes_by_any_column_and_shows_its_name(name):
    panel = settled(WindowPanel(sources={"<script>alert(1)</script>": TABLE}))
    try:
        query = QueryChoices(TIME, [name], aggregates=[AggregateRow("mean", name), AggregateRow("count")])
        panel.choose("<script>alert(1)</script>", query, pace="once")
        panel._start.click()
        settled(panel).wait()
        assert panel._faults.texts == ()
        wanted = lnb.windows(TABLE, time=TIME, key=name).tumbling("1h")
        wanted = wanted.agg(**{f"mean_{name}": lnb.mean(name), "rows": lnb.count()}).collect()
        assert_frame_equal(panel.stream.table(), wanted)
        assert len(panel._results.chart.figure.data) == 6
        assert f"mean_{name}".replace("\n", " ")[:50] in panel._results.chart.text
        assert "x" * 100 not in panel._results.rows.value + panel._results.chart.figure.layout.yaxis.title.text
        check(panel)
        compile(panel.code, "code", "exec")
    finally:
        panel.close()


def test_a_column_without_a_name_is_told_with_the_fix():
    panel = settled(WindowPanel(sources={"table": TABLE.rename({"it's": ""})}))
    try:
        panel.choose("table", QueryChoices(TIME, [""]), pace="once")
        panel._start.click()
        (fault,) = settled(panel)._faults.texts
        assert "would have no name; give one to the key or the aggregate, such as frame.rename({'': 'key'})" in fault
    finally:
        panel.close()


@pytest.mark.slow
def test_the_training_panel_learns_from_any_columns(cluster):
    table = TABLE.with_columns(pl.Series("^text$", ["<b>u</b>", "v", "w"] * (ROWS // 3)))
    panel = lnb.TrainingPanel(data={MARKUP: table}, cluster=cluster)
    try:
        panel.set(target="^late$", features=(*NAMES, "^text$"), time=TIME, epochs=1, workers=1, batch_size=20)
        panel.start()
        panel.wait()
        assert panel._faults.texts == ()
        assert panel.run.step
        assert panel.evaluation.sample().columns[:2] == ["observed", "predicted"]
        check(panel)
    finally:
        panel.close()
