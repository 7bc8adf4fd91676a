"""Figures of predicted numbers beside those that were observed: targets and predictions in, a Plotly figure out.

All figures are counted from every row; what is drawn is thinned, so that a figure stays small.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from lepton_nb.errors import TrainingError
from lepton_nb.figures.drawing import Array, Scores, add_diagonal, lay_out, named, text
from lepton_nb.figures.palette import COLOURS

if TYPE_CHECKING:
    import plotly.graph_objects as go

SCATTER_POINTS = 2_000
RESIDUAL_BINS = 60
MEANS = 20


def predicted_against_observed(target: Array, predictions: Scores, *, unit: str = "", title: str = "") -> go.Figure:
    """Observed numbers over predicted ones, of several models: points, and the mean observed at each prediction.

    target: (rows,) or (rows, steps); predictions: name → the same shape. unit: of both, such as "min". At most 2,000
    points of a model are drawn, chosen at random but always the same; the line of means, in 20 groups of about equal
    size, counts every row. Raises TrainingError for shapes that do not fit, and for what is not finite.
    """
    import plotly.graph_objects as go

    figure = go.Figure()
    lowest, highest = np.inf, -np.inf
    end = f" {text(unit)}" if unit else ""
    for number, (name, truth, values) in enumerate(_numbers(target, predictions)):
        kept = np.arange(truth.size)
        if truth.size > SCATTER_POINTS:
            kept = np.sort(np.random.default_rng(0).choice(truth.size, SCATTER_POINTS, replace=False))
        lowest, highest = min(lowest, values[kept].min()), max(highest, values[kept].max())
        shown = f"{kept.size:,} of {truth.size:,} rows" if kept.size < truth.size else f"{truth.size:,} rows"
        hover = f"predicted %{{x:.4~g}}{end}<br>observed %{{y:.4~g}}{end}<extra></extra>"
        colour = COLOURS[number % len(COLOURS)]
        figure.add_scatter(
            x=values[kept].astype(np.float32),
            y=truth[kept].astype(np.float32),
            mode="markers",
            name=f"{text(name)} ({shown})",
            marker={"size": 4, "color": colour, "opacity": 0.35},
            hovertemplate=hover,
        )
        groups = np.array_split(np.argsort(values, kind="stable"), min(MEANS, truth.size))
        figure.add_scatter(
            x=[values[group].mean() for group in groups],
            y=[truth[group].mean() for group in groups],
            mode="lines+markers",
            name=f"{text(name)}, mean observed",
            line={"color": colour, "width": 2},
            hovertemplate=f"mean {hover}",
        )
    add_diagonal(figure, "perfect", float(lowest), float(highest))
    lay_out(figure, title, _with_unit("predicted", unit), _with_unit("observed", unit))
    return figure


def residuals(target: Array, predictions: Scores, *, unit: str = "", title: str = "") -> go.Figure:
    """How far the predictions of several models lie from what was observed: the distribution of the differences.

    Arguments and errors as of `predicted_against_observed`. The legend has the mean absolute error and the root of the
    mean squared one. The axis covers the middle 99 % of the differences, and the figure says how many lie outside.
    """
    import plotly.graph_objects as go

    found = [(name, truth - values) for name, truth, values in _numbers(target, predictions)]
    together = np.concatenate([differences for _, differences in found])
    low, high = np.quantile(together, (0.005, 0.995))
    if low == high:
        low, high = low - 0.5, high + 0.5
    bins = int(np.clip(np.sqrt(found[0][1].size), 5, RESIDUAL_BINS))
    edges = np.linspace(low, high, bins + 1)
    figure = go.Figure()
    end = f" {text(unit)}" if unit else ""
    for number, (name, differences) in enumerate(found):
        rows = np.histogram(differences, edges)[0]
        figure.add_bar(
            x=(edges[1:] + edges[:-1]) / 2,
            y=100 * rows / differences.size,
            width=edges[1] - edges[0],
            customdata=np.column_stack([edges[:-1], edges[1:], rows]),
            name=(
                f"{text(name)} (MAE {np.mean(np.abs(differences)):.4g}{end}, "
                f"RMSE {np.sqrt(np.mean(differences**2)):.4g}{end})"
            ),
            marker={"color": COLOURS[number % len(COLOURS)], "line": {"width": 0}},
            opacity=1 if len(found) == 1 else 0.6,
            hovertemplate=(
                f"%{{customdata[0]:.4~g}} to %{{customdata[1]:.4~g}}{end}<br>"
                "%{customdata[2]:,} rows, %{y:.2f} %<extra></extra>"
            ),
        )
    lay_out(figure, title, _with_unit("observed − predicted", unit), "rows (%)")  # noqa: RUF001 - a minus
    figure.update_layout(barmode="overlay", bargap=0)
    outside = int(((together < low) | (together > high)).sum())
    if outside:
        words = f"{100 * outside / together.size:.2g} % of the rows lie outside of what is shown"
        figure.add_annotation(text=words, showarrow=False, xref="paper", yref="paper", x=1, y=1, yanchor="top")
    return figure


def _with_unit(words: str, unit: str) -> str:
    return f"{words} ({unit})" if unit else words


def _numbers(target: Array, predictions: Scores) -> Iterator[tuple[str, Array, Array]]:
    """The name of a model, and the target and its predictions, flat."""
    truth = np.asarray(target, dtype=np.float64)
    for name, given in named(predictions).items():
        values = np.asarray(given, dtype=np.float64)
        if truth.shape != values.shape or truth.size == 0:
            raise TrainingError(
                f"the target has the shape {truth.shape}, the predictions {values.shape}; give one for each row"
            )
        if not (np.isfinite(values).all() and np.isfinite(truth).all()):
            raise TrainingError("the target or the predictions hold NaN or infinite values; drop those rows")
        yield name, truth.reshape(-1), values.reshape(-1)
