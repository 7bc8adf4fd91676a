"""What a run has learnt so far, step by step and epoch by epoch."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping
from typing import Any

import polars as pl

from lepton_nb.training.spec import Task

EPOCH_SCHEMA = {
    "epoch": pl.Int64,
    "step": pl.Int64,
    "loss": pl.Float64,
    "validation_loss": pl.Float64,
    "validation_accuracy": pl.Float64,
    "validation_mae": pl.Float64,
    "rows_per_s": pl.Float64,
    "elapsed_s": pl.Float64,
}
FIGURE_OF_TASK: dict[Task | None, str] = {
    "binary": "validation_accuracy",
    "multiclass": "validation_accuracy",
    "regression": "validation_mae",
}
STEP_SCHEMA = {
    "step": pl.Int64,
    "epoch": pl.Int64,
    "loss": pl.Float64,
    "gradient_norm": pl.Float64,
    "learning_rate": pl.Float64,
    "elapsed_s": pl.Float64,
}


class History:
    """Grows while a run goes on; safe to read from any thread. A row that arrives twice is kept once."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._epochs: dict[int, Mapping[str, Any]] = {}
        self._steps: dict[int, Mapping[str, Any]] = {}

    def begin_with(self, other: History) -> None:
        """Take the rows of `other`, in place of none; rows of the same steps and epochs may come again."""
        with other._lock:
            epochs, steps = dict(other._epochs), dict(other._steps)
        with self._lock:
            self._epochs = epochs | self._epochs
            self._steps = steps | self._steps

    def add_epoch(self, row: Mapping[str, Any]) -> None:
        """Keep one row of EPOCH_SCHEMA; names that it lacks are null."""
        with self._lock:
            self._epochs[row["epoch"]] = row

    def add_steps(self, rows: Iterable[Mapping[str, Any]]) -> None:
        """Keep rows of STEP_SCHEMA."""
        with self._lock:
            for row in rows:
                self._steps[row["step"]] = row

    def epochs(self, task: Task | None) -> pl.DataFrame:
        """One row for each finished epoch, counted from 1, in order; without figures that `task` does not have."""
        other = {*FIGURE_OF_TASK.values()} - {FIGURE_OF_TASK.get(task)}
        schema: dict[str, Any] = {name: dtype for name, dtype in EPOCH_SCHEMA.items() if name not in other}
        with self._lock:
            rows = [self._epochs[key] for key in sorted(self._epochs)]
        # The wanted metrics come after the other figures of the validation rows.
        further = dict.fromkeys(name for row in rows for name in row if name not in EPOCH_SCHEMA)
        last = {name: schema.pop(name) for name in ("rows_per_s", "elapsed_s")}
        schema |= dict.fromkeys(further, pl.Float64) | last
        return pl.DataFrame([{name: row.get(name) for name in schema} for row in rows], schema=schema)

    def steps(self) -> pl.DataFrame:
        """One row for every few steps: the mean loss since the row before, in order."""
        with self._lock:
            rows = [dict(self._steps[key]) for key in sorted(self._steps)]
        return pl.DataFrame([{name: row.get(name) for name in STEP_SCHEMA} for row in rows], schema=STEP_SCHEMA)
