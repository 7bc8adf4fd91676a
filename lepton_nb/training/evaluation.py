"""How well a model does on some rows: figures, and what they were counted from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

from lepton_nb.data.frames import named
from lepton_nb.training.array_rows import Array
from lepton_nb.training.spec import Task


@dataclass(frozen=True, slots=True, eq=False)
class Evaluation:
    """What `Trained.evaluation` gives.

    metrics: see `metrics.evaluate`. target: (rows,) or (rows, steps); predictions: as `Trained.predict` gives them.
    rows: the table that they are of, row by row, None where there was none. learnt: the share, from 0 to 1, of these
    rows that the model has learnt from, estimated where there are many, None where that is not known.
    classes: the name of each class, by its number; empty where they have none.
    """

    task: Task
    metrics: dict[str, float]
    target: Array
    predictions: Array
    rows: pl.DataFrame | None
    learnt: float | None = None
    classes: tuple[str, ...] = ()

    def sample(self, count: int = 10, seed: int = 0) -> pl.DataFrame:
        """Some rows, drawn at random and in their order: observed, predicted, and the columns of the table.

        predicted: of two classes the probability of 1, of several the likeliest class and its probability. Of a target
        of several steps, lists.
        """
        kept = np.sort(np.random.default_rng(seed).permutation(len(self.target))[:count])
        predictions = self.predictions[kept]
        columns: dict[str, Any] = {"observed": self.target[kept]}
        if self.task != "regression":
            columns["observed"] = labelled(columns["observed"].astype(np.int64), self.classes)
        if self.task == "multiclass":
            columns["predicted"] = labelled(predictions.argmax(axis=-1), self.classes)
            columns["probability"] = predictions.max(axis=-1)
        else:
            columns["predicted"] = predictions
        found = pl.DataFrame(
            {name: values if isinstance(values, pl.Series) else values.tolist() for name, values in columns.items()},
            strict=False,
        )
        if self.rows is None:
            return found
        table = self.rows[kept]
        return found.hstack(table.select(named(name) for name in table.columns if name not in found.columns))


def labelled(numbers: Array, classes: tuple[str, ...]) -> pl.Series:
    """Class numbers (rows,) as the names of the classes, where they have some; of (rows, steps), lists of numbers."""
    if not classes or numbers.ndim > 1:
        return pl.Series(numbers.tolist())
    return pl.Series([classes[number] for number in numbers.tolist()])
