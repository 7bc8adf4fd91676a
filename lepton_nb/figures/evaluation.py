"""Figures of how good predictions are: targets and predictions in, a Plotly figure out.

All figures are counted from every row; what is drawn is thinned, so that a figure stays small.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np

from lepton_nb.errors import TrainingError
from lepton_nb.figures.drawing import Array, Scores, add_diagonal, along, lay_out, make_square, named, style, text
from lepton_nb.figures.palette import COLOURS, GREY
from lepton_nb.figures.regression import predicted_against_observed, residuals
from lepton_nb.training.metrics import calibration_bins, confusion, precision_recall_curve, roc_curve
from lepton_nb.training.spec import Task

if TYPE_CHECKING:
    import plotly.graph_objects as go

CURVE_POINTS = 400
MOST_CELLS_WITH_TEXT = 144


def roc(target: Array, scores: Scores, *, classes: Sequence[str] | None = None, title: str = "") -> go.Figure:
    """ROC curves of several models on the same rows, each with its area under the curve in the legend.

    target: (rows,) of 0 and 1; scores: name → (rows,), higher meaning 1. Of more classes: target (rows,) of class
    numbers, scores (rows, classes), and a curve for each class against the others, with its name from `classes`. The
    area counts every row; the line is drawn through at most 400 points of the exact curve, both ends among them.
    Raises TrainingError for shapes that do not fit, and for a target of one class only.
    """
    import plotly.graph_objects as go

    figure = go.Figure()
    add_diagonal(figure, "chance")
    for number, (name, truth, values) in enumerate(_against_others(target, scores, classes)):
        curve = roc_curve(truth, values)
        _add_curve(
            figure,
            number,
            f"{text(name)} (AUC {curve.area:.3f})",
            curve.false_positive_rate,
            curve.true_positive_rate,
            hover="false positives %{x:.3f}<br>true positives %{y:.3f}",
        )
    lay_out(figure, title, "false positive rate", "true positive rate")
    return make_square(figure)


def precision_recall(
    target: Array, scores: Scores, *, classes: Sequence[str] | None = None, title: str = ""
) -> go.Figure:
    """Precision against recall of several models on the same rows, each with its average precision in the legend.

    Arguments, points and errors as of `roc`. A dotted line shows the precision of guessing: the share of ones.
    """
    import plotly.graph_objects as go

    figure = go.Figure()
    curves = [(name, truth, precision_recall_curve(truth, values)) for name, truth, values
              in _against_others(target, scores, classes)]  # fmt: skip
    if len({float(np.mean(truth)) for _, truth, _ in curves}) == 1:
        share = float(np.mean(curves[0][1]))
        line = {"color": GREY, "width": 1, "dash": "dot"}
        figure.add_scatter(x=[0, 1], y=[share, share], mode="lines", name="chance", line=line, hoverinfo="skip")
    for number, (name, _, curve) in enumerate(curves):
        _add_curve(
            figure,
            number,
            f"{text(name)} (AP {curve.average:.3f})",
            curve.recall,
            curve.precision,
            # The first point has no threshold of its own.
            scores=np.append(curve.score[1:2], curve.score[1:]),
            hover="recall %{x:.3f}<br>precision %{y:.3f}<br>from the score %{customdata:.3f} on",
        )
    lay_out(figure, title, "recall", "precision")
    return make_square(figure)


def _add_curve(
    figure: go.Figure, number: int, name: str, x: Array, y: Array, *, hover: str, scores: Array | None = None
) -> None:
    """Line `number` through at most CURVE_POINTS of the points, the ends among them; scores: one for each point."""
    kept = along(x, y, CURVE_POINTS)
    figure.add_scatter(
        x=x[kept].astype(np.float32),
        y=y[kept].astype(np.float32),
        customdata=None if scores is None else scores[kept].astype(np.float32),
        mode="lines",
        name=name,
        line={**style(number), "width": 2},
        hovertemplate=f"{hover}<extra></extra>",
    )


def calibration(target: Array, scores: Scores, bins: int = 10, *, title: str = "") -> go.Figure:
    """Predicted probability against the observed share of ones, for several models on the same rows.

    target: (rows,) of 0 and 1; scores: name → probabilities (rows,). Bins are of equal width over [0, 1], the last
    one closed; each point lies at the mean prediction of its rows, and its area grows with their number.
    Raises TrainingError for shapes that do not fit, and for scores that are not probabilities.
    """
    import plotly.graph_objects as go

    figure = go.Figure()
    add_diagonal(figure, "perfect")
    for number, (name, values) in enumerate(named(scores).items()):
        found = calibration_bins(target, values, bins)
        colour = COLOURS[number % len(COLOURS)]
        figure.add_scatter(
            x=found.predicted,
            y=found.observed,
            customdata=found.rows,
            mode="lines+markers",
            name=text(name),
            line={"color": colour, "width": 1.5},
            marker={"size": 4 + 12 * np.sqrt(found.rows / found.rows.max()), "color": colour, "opacity": 0.8},
            hovertemplate="predicted %{x:.3f}<br>observed %{y:.3f}<br>%{customdata:,} rows<extra></extra>",
        )
    lay_out(figure, title, "predicted probability", "observed share of ones")
    return make_square(figure)


def confusion_matrix(
    target: Array, scores: Array, *, threshold: float = 0.5, classes: Sequence[str] | None = None, title: str = ""
) -> go.Figure:
    """How many rows of each class were taken for each class, as numbers and as shares of the observed class.

    Arguments and errors as of `metrics.confusion`; classes: names instead of the numbers from 0 on.
    """
    import plotly.graph_objects as go

    counts = confusion(target, scores, threshold)
    names = [text(name) for name in _class_names(classes, len(counts))]
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    figure = go.Figure()
    # The first class at the top, as in a table.
    figure.add_heatmap(
        x=names,
        y=names[::-1],
        z=100 * shares[::-1],
        # A template cannot format customdata in a heatmap.
        text=[[f"{count:,}" for count in row] for row in counts[::-1]],
        zmin=0,
        zmax=100,
        colorscale="Blues",
        colorbar={"title": {"text": "share of the<br>observed class"}, "ticksuffix": " %"},
        texttemplate="%{text}<br>%{z:.1f} %" if counts.size <= MOST_CELLS_WITH_TEXT else None,
        hovertemplate="observed %{y}, predicted %{x}<br>%{text} rows, %{z:.1f} % of them<extra></extra>",
        xgap=2,
        ygap=2,
    )
    one = f" ({names[1]} from {threshold:g} on)" if np.ndim(scores) == 1 else ""
    lay_out(figure, title, "predicted class" + one, "observed class")
    figure.update_xaxes(type="category", constrain="domain", showgrid=False)
    figure.update_yaxes(type="category", scaleanchor="x", scaleratio=1, constrain="domain", showgrid=False)
    return figure


def _class_names(classes: Sequence[str] | None, count: int) -> list[str]:
    if classes is None:
        return [str(number) for number in range(count)]
    if isinstance(classes, str) or len(classes) != count:
        raise TrainingError(f"classes is {classes!r}; give a name for each of the {count} classes")
    return [str(name) for name in classes]


def _against_others(target: Array, scores: Scores, classes: Sequence[str] | None) -> Iterator[tuple[str, Array, Array]]:
    """The name of a line, which rows are of its class, and their scores."""
    truth = np.asarray(target)
    for name, given in named(scores).items():
        values = np.asarray(given)
        if values.ndim != 2:
            yield name, truth, values
            continue
        names = _class_names(classes, values.shape[1])
        for number in np.unique(truth).astype(int) if truth.shape == values.shape[:1] else ():
            if not 0 <= number < len(names):
                raise TrainingError(f"the target holds {number}; it must hold class numbers from 0 to {len(names) - 1}")
            label = names[number] if len(scores) == 1 else f"{name}, {names[number]}"
            yield label, (truth == number).astype(np.int64), values[:, number]
        if truth.shape != values.shape[:1]:
            raise TrainingError(
                f"the target has the shape {truth.shape}, the scores {values.shape}; give one row of scores for each"
            )


def fitting(
    task: Task,
    target: Array,
    predictions: Scores,
    *,
    threshold: float = 0.5,
    classes: Sequence[str] | None = None,
    unit: str = "",
) -> dict[str, go.Figure]:
    """The figures that fit a task, by what they show; the confusion matrix is that of the first model.

    target: (rows,) or (rows, steps); predictions: name → what `predict` gives. A curve that needs both classes is left
    out where one is absent.
    """
    truth = np.asarray(target).reshape(-1)
    flat = {}
    for name, given in named(predictions).items():
        values = np.asarray(given)
        flat[name] = values.reshape(-1, values.shape[-1]) if task == "multiclass" else values.reshape(-1)
    if task == "regression":
        return {
            "Observed and predicted": predicted_against_observed(truth, flat, unit=unit),
            "Residuals": residuals(truth, flat, unit=unit),
        }
    found = {}
    if np.unique(truth).size > 1:
        found["ROC"] = roc(truth, flat, classes=classes)
        found["Precision and recall"] = precision_recall(truth, flat, classes=classes)
    first = next(iter(flat.values()))
    found["Confusion"] = confusion_matrix(truth, first, threshold=threshold, classes=classes)
    if task == "binary":
        found["Calibration"] = calibration(truth, flat)
    return found
