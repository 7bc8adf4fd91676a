"""The curves of training runs, drawn together where they say something beside each other."""

from __future__ import annotations

import html
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import ipywidgets

from lepton_nb.figures import training as training_figures
from lepton_nb.figures.drawing import compact
from lepton_nb.widgets.chart import LiveChart
from lepton_nb.widgets.style import side_by_side
from lepton_nb.widgets.tables import put
from lepton_nb.widgets.training_words import column_words

if TYPE_CHECKING:
    import plotly.graph_objects as go

    from lepton_nb.training.run import TrainingRun

OF_STEPS = ("gradient_norm", "learning_rate")
# They mean the same, whatever is learnt.
OF_ALL = ("rows_per_s", "learning_rate")
NO_METRICS = ("epoch", "step", "loss", "validation_loss", "elapsed_s")


class CurvesView:
    """Losses of the chosen runs against the step, and one more column, chosen among those that there are.

    Runs that learn another target than the one that is looked at, or by another loss, are left out and named; those
    with other rows are marked.
    """

    def __init__(self) -> None:
        import plotly.graph_objects as go

        self._runs: dict[str, TrainingRun] = {}
        self._looked_at = ""
        self._seen: Any = None
        self.loss = LiveChart(compact(go.Figure(), 340), label="Loss of the chosen runs")
        self.other = LiveChart(compact(go.Figure(), 300), label="Another curve of the chosen runs")
        self.column = ipywidgets.Dropdown(
            options=[(column_words(name), name) for name in OF_STEPS],
            description="Curve",
            tooltip="What the chart shows",
        )
        self.chosen = ipywidgets.SelectMultiple(description="Runs", tooltip="The runs whose curves are compared")
        self.column.observe(lambda _: self._draw(), "value")
        self.chosen.observe(lambda _: self._draw(), "value")
        self.note = ipywidgets.HTML()
        self._beside = side_by_side([self.column, self.chosen])
        self.view = ipywidgets.VBox([self.loss, self.note, self._beside, self.other])

    def show(self, runs: Mapping[str, TrainingRun], looked_at: str) -> None:
        """Follow these runs, and compare them with the one of the name `looked_at`; those that are new are chosen."""
        self._looked_at = looked_at
        if list(runs) != list(self._runs):
            fresh = [name for name in runs if name not in self._runs]
            kept = [name for name in self.chosen.value if name in runs]
            self._runs = dict(runs)
            self.chosen.options = tuple(runs)
            self.chosen.value = tuple(name for name in runs if name in kept or name in fresh)
            self.chosen.layout.display = "" if len(runs) > 1 else "none"
            self.chosen.layout.height = f"{1.6 * min(5, max(2, len(runs)))}rem"
        compared = self._compared().items()
        seen = (looked_at, [(name, run.step, run.history.height, run.subject.loss) for name, run in compared])
        if seen != self._seen:
            self._seen = seen
            self._offer_columns()
            self._draw()

    def figures(self) -> list[go.Figure]:
        """The curves as they stand."""
        return [self.loss.figure, self.other.figure] if self._compared() else []

    def _compared(self) -> dict[str, TrainingRun]:
        return {name: self._runs[name] for name in self.chosen.value if name in self._runs}

    @property
    def _current(self) -> str:
        """The run that others are compared with: the one looked at, or the newest where that is not chosen."""
        names = [*self._compared()]
        return self._looked_at if self._looked_at in names else names[-1]

    def _alike(self) -> dict[str, str]:
        """The names of the chosen runs whose figures go with those of the current one, as the legend has them."""
        runs = self._compared()
        found = {name: run.subject.like(runs[self._current].subject) for name, run in runs.items()}
        marks = {"same": "", "other rows": " (other rows)"}
        return {name: name + marks[likeness] for name, likeness in found.items() if likeness in marks}

    def _offer_columns(self) -> None:
        runs = self._compared()
        if not runs:
            return
        found = dict.fromkeys(
            name
            for run in self._alike()
            for name, values in runs[run].history.to_dict().items()
            if name not in NO_METRICS and values.count()
        )
        names = [*found, *OF_STEPS]
        if names != [name for _, name in self.column.options]:
            # A metric says more than the norm that is there from the beginning.
            wanted = self.column.value if len(self.column.options) > len(OF_STEPS) else names[0]
            self.column.options = [(column_words(name), name) for name in names]
            self.column.value = wanted if wanted in names else names[0]

    def _draw(self) -> None:
        runs = self._compared()
        if not runs:
            return
        current, alike = self._current, self._alike()
        put(self.note, self._told(alike))
        histories = {label: runs[name].history for name, label in alike.items()}
        steps = {label: runs[name].steps for name, label in alike.items()}
        self.loss.show(compact(training_figures.compare(histories, steps, current=current), 340))
        column = self.column.value
        if column in OF_ALL:
            # In this order each has the colour that it has above.
            ordered = [*alike, *(name for name in runs if name not in alike)]
            tables = {name: runs[name].steps if column in OF_STEPS else runs[name].history for name in ordered}
        else:
            tables = steps if column in OF_STEPS else histories
        having = {name: one for name, one in tables.items() if column in one.columns}
        if having:
            figure = training_figures.curves(having, column, current=current if current in having else None)
            if not figure.layout.annotations:
                figure.update_xaxes(rangemode="tozero")
            self.other.show(compact(figure, 300))

    def _told(self, alike: Mapping[str, str]) -> str:
        """Which runs are left out or marked, and why."""
        runs, current = self._compared(), self._current
        lines = [
            f"{name} learns {run.subject}, and {current} {runs[current].subject}: such losses and metrics cannot be "
            f"compared, so they are not drawn together. To see those of {name}, choose it as the run above."
            for name, run in runs.items()
            if name not in alike
        ]
        marked = [name for name, label in alike.items() if name != label]
        if marked:
            were = "was" if len(marked) == 1 else "were"
            lines.append(
                f"Other rows: {', '.join(marked)} learnt from, or {were} validated on, other rows than {current}, so a "
                "difference may come from the rows."
            )
        return "".join(f'<p class="lepton-note">{html.escape(line)}</p>' for line in lines)
