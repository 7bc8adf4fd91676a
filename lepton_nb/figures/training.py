"""Figures of training and of predictions: plain data in, a Plotly figure out."""

from __future__ import annotations

import html
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import polars as pl

from lepton_nb.errors import TrainingError
from lepton_nb.figures.palette import COLOURS, GREY
from lepton_nb.training.metrics import Roc, calibration_bins, roc_curve

if TYPE_CHECKING:
    import plotly.graph_objects as go

ROC_POINTS = 400

Scores = Mapping[str, npt.NDArray[Any]]


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
    _lay_out(figure, title, "epoch", "loss")
    figure.update_xaxes(tickformat="d", dtick=1 if history.height <= 12 else None)
    if not history.height:
        figure.add_annotation(text="no epoch has ended yet", showarrow=False, xref="paper", yref="paper", x=0.5, y=0.5)
    return figure


def compare(
    histories: Mapping[str, pl.DataFrame], steps: Mapping[str, pl.DataFrame] | None = None, *, title: str = ""
) -> go.Figure:
    """Loss of several runs against the optimizer step: a colour for each, solid in training, dashed in validation.

    histories: name → `TrainingRun.history`; steps: name → `TrainingRun.steps`, drawn faintly behind, so that something
    is seen before the first epoch is over. Earlier runs have wider lines, and show below others on the same numbers.
    Raises TrainingError if there is no run, a name in `steps` that is not in `histories`, or a column is missing.
    """
    import plotly.graph_objects as go

    if not isinstance(histories, Mapping) or not histories:
        raise TrainingError("histories must name at least one run; give {'name': run.history}")
    for name in steps or {}:
        if name not in histories:
            raise TrainingError.unknown("run", name, [*histories])
    figure = go.Figure()
    for number, (name, history) in enumerate(histories.items()):
        colour, width = COLOURS[number % len(COLOURS)], 2 + 2 * (len(histories) - 1 - number)
        if steps and name in steps:
            line = {"color": colour, "width": 1}
            _add_loss(figure, steps[name], "loss", f"{name}, step by step", mode="lines", opacity=0.45, line=line)
        line = {"color": colour, "width": width}
        _add_loss(figure, history, "loss", f"{name}, training", mode="lines+markers", line=line)
        if "validation_loss" in history.columns and history["validation_loss"].count():
            line = {"color": colour, "width": width, "dash": "dash"}
            _add_loss(figure, history, "validation_loss", f"{name}, validation", mode="lines+markers", line=line)
    _lay_out(figure, title, "step", "loss")
    figure.update_xaxes(rangemode="tozero")
    return figure


def _add_loss(figure: go.Figure, table: pl.DataFrame, column: str, name: str, **style: Any) -> None:
    for needed in ("step", column):
        if needed not in table.columns:
            raise TrainingError.unknown("column", needed, table.columns)
    known = table.drop_nulls(column)
    figure.add_scatter(
        x=known["step"].to_numpy(),
        y=known[column].to_numpy(),
        name=html.escape(name, quote=False),
        hovertemplate="step %{x}: %{y:.4f}",
        **style,
    )


def roc(target: npt.NDArray[Any], scores: Scores, *, title: str = "") -> go.Figure:
    """ROC curves of several models on the same rows, each with its area under the curve in the legend.

    target: (rows,) of 0 and 1; scores: name → (rows,), higher meaning 1. The area counts every row; the line is
    drawn through at most 400 points of the exact curve, both ends among them.
    Raises TrainingError for shapes that do not fit, and for a target of one class only.
    """
    import plotly.graph_objects as go

    figure = go.Figure()
    _add_diagonal(figure, "chance")
    for number, (name, values) in enumerate(_named(scores).items()):
        curve = roc_curve(target, values)
        drawn = _thinned(curve, ROC_POINTS)
        figure.add_scatter(
            x=drawn.false_positive_rate.astype(np.float32),
            y=drawn.true_positive_rate.astype(np.float32),
            mode="lines",
            name=f"{html.escape(name, quote=False)} (AUC {curve.area:.3f})",
            line={"color": COLOURS[number % len(COLOURS)], "width": 2},
            hovertemplate="false positives %{x:.3f}<br>true positives %{y:.3f}<extra></extra>",
        )
    _lay_out(figure, title, "false positive rate", "true positive rate")
    return _make_square(figure)


def calibration(target: npt.NDArray[Any], scores: Scores, bins: int = 10, *, title: str = "") -> go.Figure:
    """Predicted probability against the observed share of ones, for several models on the same rows.

    target: (rows,) of 0 and 1; scores: name → probabilities (rows,). Bins are of equal width over [0, 1], the last
    one closed; each point lies at the mean prediction of its rows, and its area grows with their number.
    Raises TrainingError for shapes that do not fit, and for scores that are not probabilities.
    """
    import plotly.graph_objects as go

    figure = go.Figure()
    _add_diagonal(figure, "perfect")
    for number, (name, values) in enumerate(_named(scores).items()):
        found = calibration_bins(target, values, bins)
        colour = COLOURS[number % len(COLOURS)]
        figure.add_scatter(
            x=found.predicted,
            y=found.observed,
            customdata=found.rows,
            mode="lines+markers",
            name=html.escape(name, quote=False),
            line={"color": colour, "width": 1.5},
            marker={"size": 4 + 12 * np.sqrt(found.rows / found.rows.max()), "color": colour, "opacity": 0.8},
            hovertemplate="predicted %{x:.3f}<br>observed %{y:.3f}<br>%{customdata:,} rows<extra></extra>",
        )
    _lay_out(figure, title, "predicted probability", "observed share of ones")
    return _make_square(figure)


def _named(scores: Scores) -> Scores:
    if not isinstance(scores, Mapping) or not scores:
        raise TrainingError("scores must name at least one model; give {'name': scores}")
    return scores


def _thinned(curve: Roc, points: int) -> Roc:
    """At most `points` of the curve's own points, evenly spread along it, the ends among them."""
    way = curve.false_positive_rate + curve.true_positive_rate
    if way.size <= points:
        return curve
    kept = np.unique(np.searchsorted(way, np.linspace(0.0, way[-1], points)))
    return Roc(curve.false_positive_rate[kept], curve.true_positive_rate[kept])


def _add_diagonal(figure: go.Figure, name: str) -> None:
    figure.add_scatter(
        x=[0, 1], y=[0, 1], mode="lines", name=name, line={"color": GREY, "width": 1, "dash": "dot"}, hoverinfo="skip"
    )


def _lay_out(figure: go.Figure, title: str, x: str, y: str) -> None:
    figure.update_layout(
        template="plotly_white",
        title={"text": html.escape(title, quote=False)} if title else None,
        showlegend=True,
        xaxis={"title": {"text": x}},
        yaxis={"title": {"text": y}},
    )


def _make_square(figure: go.Figure) -> go.Figure:
    figure.update_xaxes(range=[0, 1], constrain="domain")
    figure.update_yaxes(range=[0, 1], scaleanchor="x", scaleratio=1, constrain="domain")
    return figure
