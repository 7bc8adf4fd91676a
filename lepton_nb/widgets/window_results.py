"""What is seen of a stream that runs: its numbers, the last windows as a chart and as rows, and how it ran."""

from __future__ import annotations

import html
from collections.abc import Callable

import ipywidgets
import plotly.graph_objects as go

from lepton_nb.figures.watched import Watched
from lepton_nb.widgets.chart import LiveChart
from lepton_nb.widgets.form import Field, Form
from lepton_nb.widgets.tables import facts_html, table_html

ROWS_SHOWN = 8
# Before that a run has no course to speak of.
FEWEST_BATCHES = 3
COURSE_HEIGHT = 400


class ResultsView:
    """`view` shows what `draw` was given last. on_choice: called when another column is to be drawn."""

    def __init__(self, on_choice: Callable[[], None]) -> None:
        self.facts, self.which, self.rows = ipywidgets.HTML(), ipywidgets.HTML(), ipywidgets.HTML()
        self.choice = Form([Field(name="value", label="Show", choices=[], help="the column that is drawn")], columns=2,
                           on_change=lambda _: on_choice())  # fmt: skip
        self.chart = LiveChart(go.Figure(), label="Results of the last windows")
        self.course = LiveChart(go.Figure(), label="How the stream runs")
        self.view = ipywidgets.VBox(
            [self.facts, self.choice.view, self.chart, self.which, self.rows, self.course],
            layout=ipywidgets.Layout(display="none"),
        )

    @property
    def chosen(self) -> str | None:
        """The column that was chosen to be drawn."""
        value = self.choice.value("value")
        return None if value is None else str(value)

    def value(self, watched: Watched) -> str:
        """The column that is drawn: the chosen one, or the first; "" where none can be."""
        known = watched.drawable
        return self.chosen if self.chosen in known else next(iter(known), "")

    def figures(self, watched: Watched) -> list[go.Figure]:
        """The last windows, and how the stream ran."""
        value = self.value(watched)
        results = [watched.results(value)[0]] if value else []
        return [*results, *([watched.progress()] if watched.batches >= FEWEST_BATCHES else [])]

    def draw(self, watched: Watched) -> None:
        """Show how a stream stands."""
        facts, last = facts_html(watched.facts()), watched.last_rows(ROWS_SHOWN)
        known = watched.drawable
        if [value for _, value in self.choice.fields[0].choices or ()] != known:
            self.choice.choose("value", [(name, name) for name in known])
        self.choice.view.layout.display = "" if len(known) > 1 else "none"
        value = self.value(watched)
        self.chart.layout.display = "" if value else "none"
        if value:
            figure, which = watched.results(value)
            self.chart.show(figure)
            self.which.value = f'<div class="lepton-note">Shown: {html.escape(which)}.</div>'
        self.facts.value = facts
        self.rows.value = table_html(last, "The windows that ended last")
        self.course.layout.display = "" if watched.batches >= FEWEST_BATCHES else "none"
        course = watched.progress()
        course.update_layout(height=COURSE_HEIGHT)
        self.course.show(course)

    def close(self) -> None:
        """End the charts."""
        self.chart.close()
        self.course.close()
