"""Figures of training: plain data in, a Plotly figure out. Those of predictions are in `figures.evaluation`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import polars as pl

from lepton_nb.errors import TrainingError
from lepton_nb.figures.drawing import lay_out, say, style, text
from lepton_nb.figures.evaluation import calibration, roc
from lepton_nb.figures.palette import COLOURS
from lepton_nb.figures.reduce import thin

if TYPE_CHECKING:
    import plotly.graph_objects as go

__all__ = ["calibration", "compare", "curves", "loss_curves", "roc", "throughput"]

LINE_POINTS = 2_000

LABELS = {
    "rows_per_s": "rows / s",
    "elapsed_s": "time (s)",
    "mae": "mean absolute error",
    "rmse": "root mean squared error",
    "r2": "R²",
    "auc": "AUC",
    "f1": "F1",
}


def loss_curves(history: pl.DataFrame, *, title: str = "") -> go.Figure:
    """Loss against the epoch, on the training rows and, where they were measured, the validation rows.

    history: `TrainingRun.history`. Raises TrainingError if a column is missing.
    """
    import plotly.graph_objects as go

    for column in ("epoch", "loss"):
        if column not in history.columns:
            raise TrainingError.unknown("column", column, history.columns)
    figure = go.Figure()
    for number, (column, name) in enumerate((("loss", "training"), ("validation_loss", "validation"))):
        if column in history.columns:
            known = history.filter(pl.col(column).is_not_null())
            if known.height:
                figure.add_scatter(
                    x=known["epoch"].to_numpy(),
                    y=known[column].to_numpy(),
                    mode="lines+markers",
                    name=name,
                    line={"color": COLOURS[number], "width": 2, "dash": ("solid", "dash")[number]},
                    hovertemplate="epoch %{x}: %{y:.4f}<extra>" + name + "</extra>",
                )
    lay_out(figure, title, "epoch", "loss")
    figure.update_xaxes(tickformat="d", dtick=1 if history.height <= 12 else None)
    if not history.height:
        say(figure, "no epoch has ended yet")
    return figure


def compare(
    histories: Mapping[str, pl.DataFrame],
    steps: Mapping[str, pl.DataFrame] | None = None,
    *,
    current: str | None = None,
    title: str = "",
) -> go.Figure:
    """Loss of several runs against the optimizer step: a colour for each, solid in training, dashed in validation.

    histories: name → `TrainingRun.history`; steps: name → `TrainingRun.steps`, drawn faintly behind, so that something
    is seen before the first epoch is over. current: the run to look at, by default the last; the lines of the others
    are thin and light, and lie above its own, so that they show on the same numbers too.
    Raises TrainingError if there is no run, a name in `steps` or `current` that is not in `histories`, or a column is
    missing.
    """
    import plotly.graph_objects as go

    if not isinstance(histories, Mapping) or not histories:
        raise TrainingError("histories must name at least one run; give {'name': run.history}")
    for name in steps or {}:
        if name not in histories:
            raise TrainingError.unknown("run", name, [*histories])
    current = _current(current, histories)
    figure = go.Figure()
    for number, (name, history) in enumerate(histories.items()):
        colour, weight = COLOURS[number % len(COLOURS)], _weight(name == current)
        if steps and name in steps:
            line = {"color": colour, "width": 1}
            # A legend with lines of each older run would leave little room for the curves.
            look: dict[str, Any] = {"opacity": 0.45 if name == current else 0.25, "showlegend": name == current}
            _add_loss(figure, steps[name], "loss", f"{name}, step by step", mode="lines", line=line, **look)
        line = {"color": colour, "width": weight["width"]}
        look = {"mode": "lines+markers", "opacity": weight["opacity"], "zorder": weight["zorder"]}
        look["marker"] = {"size": weight["marker"]}
        _add_loss(figure, history, "loss", f"{name}, training", line=line, **look)
        if "validation_loss" in history.columns and history["validation_loss"].count():
            _add_loss(figure, history, "validation_loss", f"{name}, validation", line={**line, "dash": "dash"}, **look)
    lay_out(figure, title, "step", "loss")
    figure.update_xaxes(rangemode="tozero")
    return figure


def curves(
    tables: Mapping[str, pl.DataFrame] | pl.DataFrame,
    *columns: str,
    against: Literal["step", "epoch", "elapsed_s"] = "step",
    current: str | None = None,
    title: str = "",
) -> go.Figure:
    """Any columns of one or several runs' histories, such as "gradient_norm" or "validation_auc".

    tables: `run.history` or `run.steps`, or name → such a table; current: the run to look at, as in `compare`. What is
    null leaves no gap. A line of more than 2,000 points is thinned so that it looks the same; numbers above 0 that
    differ a hundredfold are on a logarithmic axis. Raises TrainingError if there is no run, no column or no `current`
    of that name, or a table lacks a column.
    """
    import plotly.graph_objects as go

    runs = {"": tables} if isinstance(tables, pl.DataFrame) else tables
    if not isinstance(runs, Mapping) or not runs:
        raise TrainingError("tables must name at least one run; give {'name': run.history}, or run.history alone")
    if not columns:
        raise TrainingError("which column is to be drawn? give its name, such as 'loss'")
    current = _current(current, runs)
    figure = go.Figure()
    drawn = []
    for name, table in runs.items():
        weight = _weight(name == current)
        for column in columns:
            for needed in (against, column):
                if needed not in table.columns:
                    raise TrainingError.unknown("column", needed, table.columns)
            known = table.drop_nulls([against, column])
            y = known[column].to_numpy()
            x = known[against].cast(pl.Float64).to_numpy()
            kept = thin(x, y, LINE_POINTS)
            drawn.append(y[kept])
            label = _label(column)
            figure.add_scatter(
                x=x[kept],
                y=y[kept],
                mode="lines+markers" if kept.size <= 50 else "lines",
                name=(f"{text(name)}, {label}" if len(columns) > 1 else text(name)) if name else label,
                line={**style(len(figure.data)), "width": weight["width"]},
                marker={"size": weight["marker"]},
                opacity=weight["opacity"],
                zorder=weight["zorder"],
                hovertemplate=f"{_label(against)} %{{x:,.4~g}}: %{{y:,.4~g}}",
            )
    wanted = dict.fromkeys(_label(column.removeprefix("validation_")) for column in columns)
    alone = _label(columns[0]) if len(columns) == 1 else ", ".join(wanted)
    lay_out(figure, title, _label(against), alone)
    every = np.concatenate(drawn)
    if not every.size:
        say(figure, "nothing was measured yet")
    elif every.min() == every.max():
        around = 0.1 * abs(every[0]) or 1.0
        figure.update_yaxes(range=[every[0] - around, every[0] + around])
    elif every.min() > 0 and every.max() >= 100 * every.min():
        figure.update_yaxes(type="log")
    return figure


def throughput(usage: pl.DataFrame, *, title: str = "") -> go.Figure:
    """Rows that each rank trains on in a second, a bar each; hovering tells its processor time and memory.

    usage: `TrainingRun.usage`. Raises TrainingError if a column is missing.
    """
    import plotly.graph_objects as go

    figure = go.Figure()
    if usage.height:
        for needed in ("rank", "host", "rows", "rows_per_s", "cpu_s", "elapsed_s", "memory_bytes"):
            if needed not in usage.columns:
                raise TrainingError.unknown("column", needed, usage.columns)
        # The first rank at the top.
        usage = usage.sort("rank", descending=True)
        cores = usage["cpu_s"] / usage["elapsed_s"].clip(1e-9)
        figure.add_bar(
            x=usage["rows_per_s"].fill_null(0).to_numpy(),
            y=[f"rank {rank}" for rank in usage["rank"]],
            orientation="h",
            customdata=list(
                zip(map(text, usage["host"]), usage["rows"], cores, usage["memory_bytes"] / 1e9, strict=True)
            ),
            marker_color=COLOURS[0],
            hovertemplate=(
                "%{y} on %{customdata[0]}: %{x:,.0f} rows / s<br>%{customdata[1]:,} rows so far<br>"
                "%{customdata[2]:.2f} cores busy on average<br>%{customdata[3]:.2f} GB of memory<extra></extra>"
            ),
        )
    else:
        say(figure, "no rank has reported yet")
    lay_out(figure, title, "rows / s", "")
    figure.update_layout(showlegend=False, height=180 + 40 * usage.height)
    figure.update_xaxes(rangemode="tozero")
    return figure


def _current(name: str | None, runs: Mapping[str, pl.DataFrame]) -> str:
    if name is not None and name not in runs:
        raise TrainingError.unknown("run", name, [*runs])
    return [*runs][-1] if name is None else name


def _weight(current: bool) -> dict[str, float]:
    """How a line of the run to look at is drawn, or of another: thin, light, and above."""
    if current:
        return {"width": 3.0, "marker": 7, "opacity": 1.0, "zorder": 1}
    return {"width": 1.2, "marker": 3.5, "opacity": 0.85, "zorder": 2}


def _label(column: str) -> str:
    """A column's name for people, with its unit."""
    bare = column.removeprefix("validation_")
    words = LABELS.get(bare, bare.replace("_", " "))
    return f"{words} of validation rows" if bare != column else words


def _add_loss(figure: go.Figure, table: pl.DataFrame, column: str, name: str, **style: Any) -> None:
    for needed in ("step", column):
        if needed not in table.columns:
            raise TrainingError.unknown("column", needed, table.columns)
    known = table.drop_nulls(column)
    figure.add_scatter(
        x=known["step"].to_numpy(),
        y=known[column].to_numpy(),
        name=text(name),
        hovertemplate="step %{x}: %{y:.4f}",
        **style,
    )
