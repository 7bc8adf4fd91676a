"""How good predictions are: exact figures from all rows, in NumPy."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from lepton_nb.errors import TrainingError
from lepton_nb.training.spec import Task

Array = npt.NDArray[Any]


class Roc(NamedTuple):
    """A ROC curve from (0, 0) to (1, 1), one point after each distinct score, highest first."""

    false_positive_rate: npt.NDArray[np.float64]
    true_positive_rate: npt.NDArray[np.float64]

    @property
    def area(self) -> float:
        """Area under the curve: the chance that a random 1 scores above a random 0, ties counting one half."""
        return float(np.trapezoid(self.true_positive_rate, self.false_positive_rate))


class PrecisionRecall(NamedTuple):
    """A precision-recall curve from recall 0 to 1, one point after each distinct score, highest first.

    The first point lies at recall 0 and the precision of the point after it, and has no score of its own.
    """

    recall: npt.NDArray[np.float64]
    precision: npt.NDArray[np.float64]
    score: npt.NDArray[np.float64]

    @property
    def average(self) -> float:
        """Average precision: the precision at each point, weighted by the recall gained there."""
        return float(np.sum(np.diff(self.recall) * self.precision[1:]))


class Calibration(NamedTuple):
    """Per bin that holds rows: mean predicted probability, share of ones, rows."""

    predicted: npt.NDArray[np.float64]
    observed: npt.NDArray[np.float64]
    rows: npt.NDArray[np.int64]


def roc_curve(target: Array, scores: Array) -> Roc:
    """The ROC curve of `scores` (rows,), higher meaning 1, for a `target` (rows,) of 0 and 1; ties are one point.

    Raises TrainingError unless both classes occur.
    """
    truth, values = _binary(target, scores)
    _require_classes(truth, "a ROC curve needs both classes")
    true, chosen, _ = _ranked(truth, values)
    false = chosen - true
    return Roc(np.append(0.0, false / false[-1]), np.append(0.0, true / true[-1]))


def precision_recall_curve(target: Array, scores: Array) -> PrecisionRecall:
    """Precision against recall of `scores` (rows,), higher meaning 1, for a `target` (rows,) of 0 and 1.

    Ties are one point. Raises TrainingError unless both classes occur.
    """
    truth, values = _binary(target, scores)
    _require_classes(truth, "a precision-recall curve needs both classes")
    return _precision_recall(truth, values)


def confusion(target: Array, scores: Array, threshold: float = 0.5) -> npt.NDArray[np.int64]:
    """How many rows of each class (row) were taken for each class (column).

    target: (rows,) of class numbers. scores: (rows,) for the classes 0 and 1, of which 1 is chosen from `threshold`
    on; or (rows, classes), of which the highest is chosen (the first of equal ones), whatever the threshold.
    Raises TrainingError for shapes that do not fit, and for a target that holds no class numbers.
    """
    truth, values = np.asarray(target), np.asarray(scores, dtype=np.float64)
    if values.ndim == 1:
        truth, values = _binary(truth, values)
        classes, chosen = 2, values >= threshold
    else:
        if values.ndim != 2 or truth.shape != values.shape[:1] or values.shape[1] < 2:
            raise TrainingError(
                f"the target has the shape {truth.shape}, the scores {values.shape}; give one score for each row, or "
                "(rows, classes)"
            )
        if not np.isfinite(values).all():
            raise TrainingError("the scores hold NaN or infinite values; drop those rows")
        classes, chosen = values.shape[1], values.argmax(axis=1)
        if not np.isin(truth, np.arange(classes)).all():
            raise TrainingError(f"the target must hold class numbers from 0 to {classes - 1} only")
    pairs = truth.astype(np.int64) * classes + chosen
    return np.bincount(pairs, minlength=classes**2).reshape(classes, classes)


def auc(target: Array, scores: Array) -> float:
    """Area under the ROC curve; see Roc.area."""
    return roc_curve(target, scores).area


def calibration_bins(target: Array, scores: Array, bins: int = 10) -> Calibration:
    """Predicted against observed share of ones in `bins` bins of equal width over [0, 1], the last one closed.

    Raises TrainingError for scores outside [0, 1] or fewer than one bin.
    """
    truth, values = _binary(target, scores)
    if isinstance(bins, bool) or not isinstance(bins, int) or bins < 1:
        raise TrainingError(f"bins is {bins!r}; give a whole number of 1 or more", bins=bins)
    if values.size == 0 or values.min() < 0 or values.max() > 1:
        raise TrainingError("calibration needs probabilities from 0 to 1; give what run.predict returns")
    position = np.minimum((values * bins).astype(np.int64), bins - 1)
    rows = np.bincount(position, minlength=bins)
    filled = rows > 0
    predicted = np.bincount(position, weights=values, minlength=bins)[filled] / rows[filled]
    observed = np.bincount(position, weights=truth, minlength=bins)[filled] / rows[filled]
    return Calibration(predicted, observed, rows[filled])


def predictions(task: Task, outputs: Array) -> npt.NDArray[np.float64]:
    """What raw model `outputs` (rows,) or (rows, classes) predict.

    binary: the probability of 1 (rows,); multiclass: probabilities (rows, classes); regression: the outputs. With a
    target of several steps a row, (rows, steps) and (rows, steps, classes).
    """
    raw = np.asarray(outputs, dtype=np.float64)
    if task == "binary":
        return np.exp(-np.logaddexp(0.0, -raw))
    if task == "multiclass":
        return np.exp(raw - np.logaddexp.reduce(raw, axis=-1, keepdims=True))
    return raw


def evaluate(task: Task, target: Array, outputs: Array) -> dict[str, float]:
    """Figures for raw model `outputs`, (rows,) or (rows, classes), against `target` (rows,).

    binary: rows, loss (binary cross-entropy), accuracy (threshold 0.5), auc (left out where one class is absent).
    multiclass: rows, loss (cross-entropy), accuracy. regression: rows, loss (mean squared error), mae, r2 (left
    out for a constant target).
    """
    truth = np.asarray(target, dtype=np.float64)
    raw = np.asarray(outputs, dtype=np.float64)
    found: dict[str, float] = {"rows": len(truth)}
    # With several steps a row, each step counts alike.
    raw = raw.reshape(-1, raw.shape[-1]) if task == "multiclass" else raw.reshape(-1)
    truth = truth.reshape(-1)
    if task == "regression":
        error = raw - truth
        found |= {"loss": float(np.mean(error**2)), "mae": float(np.mean(np.abs(error)))}
        spread = float(np.mean((truth - truth.mean()) ** 2))
        return found | ({"r2": 1 - found["loss"] / spread} if spread > 0 else {})
    if task == "multiclass":
        chosen = raw[np.arange(truth.size), truth.astype(np.int64)]
        found["loss"] = float(np.mean(np.logaddexp.reduce(raw, axis=1) - chosen))
        found["accuracy"] = float(np.mean(raw.argmax(axis=1) == truth))
        return found
    # From the logits, as a probability rounded to 0 or 1 would make the loss infinite.
    found["loss"] = float(np.mean(np.logaddexp(0.0, raw) - truth * raw))
    found["accuracy"] = float(np.mean((raw > 0) == truth))
    if 0 < truth.sum() < truth.size:
        found["auc"] = auc(truth, raw)
    return found


def further(name: str, task: Task, target: Array, outputs: Array) -> float:
    """One of the metrics that can be wanted besides, for raw `outputs` (values,) or (values, classes); exact.

    Of more than two classes it is the mean over the classes that occur, each against the others. NaN where it is not
    defined, as the area under a curve is where one class is absent.
    """
    truth, raw = np.asarray(target, dtype=np.float64), np.asarray(outputs, dtype=np.float64)
    if task == "regression":
        error = truth - raw
        spread = float(np.var(truth))
        if name == "rmse":
            return float(np.sqrt(np.mean(error**2)))
        left = float(np.mean(error**2) if name == "r2" else np.var(error))
        return 1 - left / spread if spread else float("nan")
    if task == "binary":
        return _of_two(name, truth, raw, raw > 0)
    chosen = raw.argmax(axis=1)
    found = [_of_two(name, truth == k, raw[:, k], chosen == k) for k in np.unique(truth).astype(int)]
    return float(np.mean(found))


def _of_two(name: str, truth: Array, scores: Array, chosen: Array) -> float:
    positive = truth > 0.5
    if name in ("auc", "average_precision"):
        if positive.all() or not positive.any():
            return float("nan")
        if name == "auc":
            return auc(positive.astype(np.int64), scores)
        return _precision_recall(positive.astype(np.int64), scores).average
    hits = float((positive & chosen).sum())
    precision = hits / chosen.sum() if chosen.any() else 0.0
    recalled = hits / positive.sum() if positive.any() else 0.0
    if name == "f1":
        return float(2 * hits / (chosen.sum() + positive.sum())) if chosen.any() or positive.any() else 0.0
    return float(precision if name == "precision" else recalled)


def _ranked(truth: Array, scores: Array) -> tuple[Array, Array, Array]:
    """After each distinct score, highest first: ones so far, rows so far, and the score."""
    order = np.argsort(-scores, kind="stable")
    ranked = scores[order]
    last_of_tie = np.append(np.flatnonzero(np.diff(ranked)), ranked.size - 1)
    return np.cumsum(truth[order])[last_of_tie], last_of_tie + 1, ranked[last_of_tie]


def _precision_recall(truth: Array, scores: Array) -> PrecisionRecall:
    true, chosen, score = _ranked(truth, scores)
    precision = true / chosen
    recall = np.append(0.0, true / true[-1])
    return PrecisionRecall(recall, np.append(precision[0], precision), np.append(np.nan, score))


def _require_classes(truth: npt.NDArray[np.int64], why: str) -> None:
    ones = int(truth.sum())
    if not 0 < ones < truth.size:
        raise TrainingError(f"the target holds {ones} ones in {truth.size} rows; {why}")


def _binary(target: Array, scores: Array) -> tuple[npt.NDArray[np.int64], Array]:
    truth = np.asarray(target)
    values = np.asarray(scores, dtype=np.float64)
    if truth.shape != values.shape or truth.ndim != 1:
        raise TrainingError(
            f"the target has the shape {truth.shape}, the scores {values.shape}; give one score for each row"
        )
    if not np.isfinite(values).all():
        raise TrainingError("the scores hold NaN or infinite values; drop those rows")
    if not np.isin(truth, (0, 1)).all():
        raise TrainingError("the target must hold 0 and 1 only")
    return truth.astype(np.int64), values
