"""Columns and figures of a training in the words of people."""

from __future__ import annotations


def metric_words(name: str) -> str:
    """The name of a figure of an evaluation."""
    return {"auc": "AUC", "mae": "mean absolute error", "r2": "R²", "f1": "F1"}.get(name, column_words(name))


def column_words(column: str) -> str:
    """The name of a column of a history."""
    return "rows / s" if column == "rows_per_s" else column.replace("_", " ")
