"""What the ranks of a training do and print, what was decided for it, and its checkpoints."""

from __future__ import annotations

import html
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import ipywidgets
import polars as pl

from lepton_nb.figures import training as training_figures
from lepton_nb.figures.drawing import compact
from lepton_nb.training.checkpoint import listing
from lepton_nb.widgets.chart import LiveChart
from lepton_nb.widgets.tables import put, table_html

if TYPE_CHECKING:
    from lepton_nb.training.run import TrainingRun


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

    def show(self, run: TrainingRun, test_note: str | None = None) -> None:
        """Show how `run` stands now; test_note: which rows test its model, where that is known."""
        if self._ended == run.name:
            return
        # Nothing more comes of one that is over.
        self._ended = run.name if run.status.over else None
        usage = run.usage
        figure = training_figures.throughput(usage)
        self.throughput.show(compact(figure, 120 + 36 * max(1, usage.height)))
        put(self._usage, _usage_table(usage))
        parts, others = run.row_notes, run.notes[len(run.row_notes) :]
        notes = (*parts, *([test_note] if test_note else []), *others)
        put(self._notes, _listed("Notes", notes) + _listed("Started again, because", run.restarts))
        put(self._checkpoints, _checkpoint_table(run))
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
        put(self._output, log if text.strip() else '<p class="lepton-note">No rank has printed anything.</p>')


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
