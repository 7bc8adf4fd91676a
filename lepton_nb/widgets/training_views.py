"""What is seen of training runs: their curves, their ranks, and how well the trained model does."""

from __future__ import annotations

import html
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import ipywidgets
import polars as pl

from lepton_nb.figures import evaluation as evaluation_figures
from lepton_nb.figures import training as training_figures
from lepton_nb.figures.drawing import compact
from lepton_nb.training.checkpoint import listing
from lepton_nb.training.evaluation import Evaluation
from lepton_nb.widgets.chart import LiveChart
from lepton_nb.widgets.style import fitting_columns, side_by_side
from lepton_nb.widgets.tables import facts_html, table_html

if TYPE_CHECKING:
    import plotly.graph_objects as go

    from lepton_nb.training.run import TrainingRun

SAMPLE_ROWS = 8
SAMPLE_COLUMNS = 8
OF_STEPS = ("gradient_norm", "learning_rate")
NO_METRICS = ("epoch", "step", "loss", "validation_loss", "elapsed_s")


class CurvesView:
    """Losses of the chosen runs against the step, and one more column, chosen among those that there are."""

    def __init__(self) -> None:
        import plotly.graph_objects as go

        self._runs: dict[str, TrainingRun] = {}
        self._seen: Any = None
        self.loss = LiveChart(compact(go.Figure(), 340), label="Loss of the chosen runs")
        self.other = LiveChart(compact(go.Figure(), 300), label="Another curve of the chosen runs")
        self.column = ipywidgets.Dropdown(
            options=[(_words(name), name) for name in OF_STEPS], description="Curve", tooltip="What the chart shows"
        )
        self.chosen = ipywidgets.SelectMultiple(description="Runs", tooltip="The runs whose curves are compared")
        self.column.observe(lambda _: self._draw(), "value")
        self.chosen.observe(lambda _: self._draw(), "value")
        self._beside = side_by_side([self.column, self.chosen])
        self.view = ipywidgets.VBox([self.loss, self._beside, self.other])

    def show(self, runs: Mapping[str, TrainingRun]) -> None:
        """Follow these runs; those that are new are chosen."""
        if list(runs) != list(self._runs):
            fresh = [name for name in runs if name not in self._runs]
            kept = [name for name in self.chosen.value if name in runs]
            self._runs = dict(runs)
            self.chosen.options = tuple(runs)
            self.chosen.value = tuple(name for name in runs if name in kept or name in fresh)
            self.chosen.layout.display = "" if len(runs) > 1 else "none"
            self.chosen.layout.height = f"{1.6 * min(5, max(2, len(runs)))}rem"
        seen = tuple((name, run.step, run.history.height) for name, run in self._compared().items())
        if seen != self._seen:
            self._seen = seen
            self._offer_columns()
            self._draw()

    def figures(self) -> list[go.Figure]:
        """The curves as they stand."""
        return [self.loss.figure, self.other.figure] if self._compared() else []

    def _compared(self) -> dict[str, TrainingRun]:
        return {name: self._runs[name] for name in self.chosen.value if name in self._runs}

    def _offer_columns(self) -> None:
        found = dict.fromkeys(
            name
            for run in self._compared().values()
            for name, values in run.history.to_dict().items()
            if name not in NO_METRICS and values.count()
        )
        names = [*found, *OF_STEPS]
        if names != [name for _, name in self.column.options]:
            # A metric says more than the norm that is there from the beginning.
            wanted = self.column.value if len(self.column.options) > len(OF_STEPS) else names[0]
            self.column.options = [(_words(name), name) for name in names]
            self.column.value = wanted if wanted in names else names[0]

    def _draw(self) -> None:
        runs = self._compared()
        if not runs:
            return
        histories = {name: run.history for name, run in runs.items()}
        steps = {name: run.steps for name, run in runs.items()}
        self.loss.show(compact(training_figures.compare(histories, steps), 340))
        column = self.column.value
        tables = steps if column in OF_STEPS else histories
        having = {name: one for name, one in tables.items() if column in one.columns}
        if having:
            figure = training_figures.curves(having, column)
            if not figure.layout.annotations:
                figure.update_xaxes(rangemode="tozero")
            self.other.show(compact(figure, 300))


class RanksView:
    """What each rank does and prints, what was decided for the run, why it started again, and its checkpoints."""

    def __init__(self) -> None:
        import plotly.graph_objects as go

        self.throughput = LiveChart(compact(go.Figure(), 200), label="Rows that each rank trains on in a second")
        self._usage, self._notes, self._checkpoints = ipywidgets.HTML(), ipywidgets.HTML(), ipywidgets.HTML()
        self.rank = ipywidgets.Dropdown(options=(), description="Output of", tooltip="Whose output is shown")
        self.rank.observe(lambda _: self._show_output(), "value")
        self._output = ipywidgets.HTML()
        self._outputs: dict[int, str] = {}
        self._ended: str | None = None
        self.view = ipywidgets.VBox(
            [self.throughput, self._usage, self._notes, self._checkpoints, self.rank, self._output]
        )

    def show(self, run: TrainingRun) -> None:
        """Show how `run` stands now."""
        if self._ended == run.name:
            return
        # Nothing more comes of one that is over.
        self._ended = run.name if run.status.over else None
        usage = run.usage
        figure = training_figures.throughput(usage)
        self.throughput.show(compact(figure, 120 + 36 * max(1, usage.height)))
        _put(self._usage, _usage_table(usage))
        _put(self._notes, _listed("Notes", run.notes) + _listed("Started again, because", run.restarts))
        _put(self._checkpoints, _checkpoint_table(run))
        self._outputs = run.output
        ranks = [(f"rank {rank}", rank) for rank in sorted(self._outputs)]
        if ranks != list(self.rank.options):
            kept = self.rank.value
            self.rank.options = ranks
            self.rank.index = next((place for place, one in enumerate(ranks) if one[1] == kept), 0 if ranks else None)
        self._show_output()

    def _show_output(self) -> None:
        self.rank.layout.display = "" if self._outputs else "none"
        text = self._outputs.get(self.rank.value, "")
        log = f'<pre class="lepton-log" tabindex="0" aria-label="Output">{html.escape(text)}</pre>'
        _put(self._output, log if text.strip() else '<p class="lepton-note">No rank has printed anything.</p>')


class EvaluationView:
    """How well a model does on rows that it was not trained on: figures, and some rows with their predictions."""

    def __init__(self, ask: Callable[[], None]) -> None:
        import plotly.graph_objects as go

        self.data = ipywidgets.Dropdown(options=(), description="Test data", tooltip="The rows to evaluate on")
        self.button = ipywidgets.Button(description="Evaluate", tooltip="Evaluate the trained model on these rows")
        self.button.layout.width = "auto"
        self.button.on_click(lambda _: ask())
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
        self.view = ipywidgets.VBox([ask_row, self._words, self.threshold, grid, self._sample])
        self._evaluation: Evaluation | None = None
        self._name = ""
        self._figures: dict[str, go.Figure] = {}
        self.show("", None, "Nothing was evaluated yet.")

    def show(self, name: str, evaluation: Evaluation | None, words: str) -> None:
        """Show how the model called `name` did, or `words` where it was not evaluated."""
        self._name, self._evaluation = name, evaluation
        self.threshold.layout.display = "none"
        if evaluation is None:
            _put(self._words, f'<p class="lepton-note">{html.escape(words)}</p>')
            _put(self._sample, "")
        else:
            figures = [
                (_words_of_metric(metric), f"{value:,.0f}" if metric == "rows" else f"{value:.4g}")
                for metric, value in evaluation.metrics.items()
            ]
            heading = f'<h3 class="lepton-heading">{html.escape(f"{name} on {words}")}</h3>'
            _put(self._words, heading + facts_html(figures))
            sample = evaluation.sample(SAMPLE_ROWS)
            shown = sample.select(sample.columns[:SAMPLE_COLUMNS]).rename(_words)
            _put(self._sample, table_html(shown, f"{sample.height} of these rows, drawn at random"))
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
            matrix = evaluation_figures.confusion_matrix(truth, chances, threshold=self.threshold.value)
            self._figures["Confusion"] = _titled(matrix, "Confusion")
            self.charts[list(self._figures).index("Confusion")].show(self._figures["Confusion"])

    def _draw(self) -> None:
        found: dict[str, go.Figure] = {}
        if self._evaluation is not None:
            one = self._evaluation
            answers = {self._name: one.predictions}
            found = evaluation_figures.fitting(one.task, one.target, answers, threshold=self.threshold.value)
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


def _listed(caption: str, lines: Sequence[str]) -> str:
    items = "".join(f"<li>{html.escape(line)}</li>" for line in lines)
    return f'<h3 class="lepton-heading">{caption}</h3><ul style="margin: 0">{items}</ul>' if items else ""


def _usage_table(usage: pl.DataFrame) -> str:
    if not usage.height:
        return ""
    busy = 100 * pl.col("cpu_s") / pl.col("elapsed_s").clip(1e-9)
    shown = usage.select(
        "rank",
        pl.col("host").alias("machine"),
        pl.col("rows").alias("rows so far"),
        pl.col("rows_per_s").round().cast(pl.Int64, strict=False).alias("rows / s"),
        busy.round().cast(pl.Int64).alias("processor (% of a core)"),
        (pl.col("memory_bytes") / 1e6).round().cast(pl.Int64).alias("memory (MB)"),
    )
    return table_html(shown, "Ranks")


def _checkpoint_table(run: TrainingRun) -> str:
    folder = run.spec.checkpoint
    if folder is None or run.has_own_checkpoints:
        return '<p class="lepton-note">No checkpoints are kept: the option Checkpoint names a folder for them.</p>'
    shown = listing(folder).select(
        pl.col("name").alias("file"),
        (pl.col("size_bytes") / 1e3).ceil().cast(pl.Int64).alias("size (kB)"),
        pl.col("written_at").alias("written"),
    )
    return table_html(shown, f"Checkpoints in {Path(folder)}")


def _words_of_metric(name: str) -> str:
    return {"auc": "AUC", "mae": "mean absolute error", "r2": "R²", "f1": "F1"}.get(name, _words(name))


def _words(column: str) -> str:
    """The name of a column for people."""
    return "rows / s" if column == "rows_per_s" else column.replace("_", " ")


def _put(widget: ipywidgets.HTML, value: str) -> None:
    if widget.value != value:
        widget.value = value
