"""How well a trained model does: figures, and some rows with their predictions."""

from __future__ import annotations

import html
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

import ipywidgets

from lepton_nb.figures import evaluation as evaluation_figures
from lepton_nb.figures.drawing import compact
from lepton_nb.training.evaluation import Evaluation
from lepton_nb.widgets.chart import LiveChart
from lepton_nb.widgets.style import fitting_columns, side_by_side
from lepton_nb.widgets.tables import facts_html, put, table_html
from lepton_nb.widgets.training_words import column_words, metric_words

if TYPE_CHECKING:
    import plotly.graph_objects as go

SAMPLE_ROWS = 8
SAMPLE_COLUMNS = 8


class EvaluationView:
    """How well a model does on the rows that are chosen: figures, and some rows with their predictions."""

    def __init__(self, ask: Callable[[], None]) -> None:
        import plotly.graph_objects as go

        self.data = ipywidgets.Dropdown(options=(), description="Test data", tooltip="The rows to evaluate on")
        self.button = ipywidgets.Button(description="Evaluate", tooltip="Evaluate the trained model on these rows")
        self.button.layout.width = "auto"
        self.button.on_click(lambda _: ask())
        self.data.observe(lambda _: self._warn(), "value")
        # Before an evaluation, of the chosen rows.
        self.warning = ipywidgets.HTML()
        self._warnings: dict[str, str] = {}
        self._offered_of = ""
        self._words = ipywidgets.HTML()
        self.threshold = ipywidgets.BoundedFloatText(
            value=0.5, min=0, max=1, step=0.05, description="Threshold",
            tooltip="From which probability on a row is taken for a 1",
        )  # fmt: skip
        self.threshold.observe(lambda _: self._draw_confusion(), "value")
        self.charts = [LiveChart(compact(go.Figure(), 360)) for _ in range(4)]
        grid = ipywidgets.GridBox(
            self.charts,
            layout=ipywidgets.Layout(grid_template_columns=fitting_columns("24rem"), grid_gap="8px 16px"),
        )
        self._sample = ipywidgets.HTML()
        ask_row = side_by_side([self.data, self.button])
        self.view = ipywidgets.VBox([ask_row, self.warning, self._words, self.threshold, grid, self._sample])
        self._evaluation: Evaluation | None = None
        self._name = ""
        self._figures: dict[str, go.Figure] = {}
        self.show("", None, "Nothing was evaluated yet.")

    @property
    def chosen(self) -> str | None:
        """The name of the rows to evaluate on."""
        name: str | None = self.data.value
        return name

    def offer(self, run: str, rows: Mapping[str, tuple[str, str]]) -> None:
        """Offer rows to evaluate `run` on, the first ones first: name → their label, and what to know before.

        What somebody chose for this run stays.
        """
        before = list(self._warnings)
        self._warnings = {name: warning for name, (_, warning) in rows.items()}
        options = tuple((label, name) for name, (label, _) in rows.items())
        if options != self.data.options or run != self._offered_of:
            kept = self.chosen if run == self._offered_of and self.chosen != next(iter(before), None) else None
            self._offered_of = run
            self.data.options = options
            self.data.value = kept if kept in rows else next(iter(rows), None)
        self._warn()

    def _warn(self) -> None:
        words = self._warnings.get(self.chosen or "", "")
        put(self.warning, f'<p class="lepton-note" role="status">{html.escape(words)}</p>' if words else "")

    def show(self, name: str, evaluation: Evaluation | None, words: str, caution: str = "") -> None:
        """Show how the model called `name` did, or `words` where it was not evaluated; caution: what to know of it."""
        self._name, self._evaluation = name, evaluation
        self.threshold.layout.display = "none"
        if evaluation is None:
            put(self._words, f'<p class="lepton-note">{html.escape(words)}</p>')
            put(self._sample, "")
        else:
            figures = [
                (metric_words(metric), f"{value:,.0f}" if metric == "rows" else f"{value:.4g}")
                for metric, value in evaluation.metrics.items()
            ]
            heading = f'<h3 class="lepton-heading">{html.escape(f"{name} on {words}")}</h3>'
            beware = f'<p class="lepton-note">{html.escape(caution)}</p>' if caution else ""
            put(self._words, heading + facts_html(figures) + beware)
            sample = evaluation.sample(SAMPLE_ROWS)
            shown = sample[:, :SAMPLE_COLUMNS]
            titles = {name: column_words(name) for name in shown.columns}
            # "a_b" and "a b" may both be there.
            shown = shown.rename(titles) if len({*titles.values()}) == len(titles) else shown
            put(self._sample, table_html(shown, f"{sample.height} of these rows, drawn at random"))
            if evaluation.task == "binary":
                self.threshold.layout.display = ""
        self._draw()

    def figures(self) -> list[go.Figure]:
        """The figures of the evaluation."""
        return list(self._figures.values())

    def _draw_confusion(self) -> None:
        """The one figure that the threshold changes."""
        one = self._evaluation
        if one is not None and one.task == "binary":
            truth, chances = one.target.reshape(-1), one.predictions.reshape(-1)
            matrix = evaluation_figures.confusion_matrix(
                truth, chances, threshold=self.threshold.value, classes=one.classes or None
            )
            self._figures["Confusion"] = _titled(matrix, "Confusion")
            self.charts[list(self._figures).index("Confusion")].show(self._figures["Confusion"])

    def _draw(self) -> None:
        found: dict[str, go.Figure] = {}
        if self._evaluation is not None:
            one = self._evaluation
            answers = {self._name: one.predictions}
            found = evaluation_figures.fitting(
                one.task, one.target, answers, threshold=self.threshold.value, classes=one.classes or None
            )
        self._figures = {title: _titled(figure, title) for title, figure in found.items()}
        for chart, (title, figure) in zip(self.charts, self._figures.items(), strict=False):
            chart.label = f"{title} of {self._name}"
            chart.show(figure)
        for place, chart in enumerate(self.charts):
            chart.layout.display = "" if place < len(self._figures) else "none"


def _titled(figure: go.Figure, title: str) -> go.Figure:
    figure.update_layout(title={"text": title})
    # The shares are written in the cells.
    figure.update_traces(showscale=False, selector={"type": "heatmap"})
    return compact(figure, 380)
