"""Training rows: a numeric matrix and a target, checked, from `Prepared` or any frame."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from lepton_nb.data.frames import eager
from lepton_nb.data.prepare import Preparation
from lepton_nb.data.transform import Prepared, Transform
from lepton_nb.errors import TrainingError

Floats = npt.NDArray[np.floating[Any]]


@dataclass(frozen=True, slots=True, eq=False)
class Rows:
    """`features` (rows, columns) float32 or float64, C order; `target` (rows,), or None for rows to predict."""

    features: Floats
    target: Floats | None
    names: tuple[str, ...]
    target_name: str | None

    def __len__(self) -> int:
        return int(self.features.shape[0])


@dataclass(frozen=True, slots=True, eq=False)
class Reader:
    """How the rows of one run are read, so that later rows (to validate, test, predict) come out alike."""

    names: tuple[str, ...]
    target_name: str | None
    dtype: str
    transform: Transform | None

    def read(self, data: Any, *, need_target: bool, what: str) -> Rows:
        """`data` as Rows with the columns of the training rows; `what` names it in errors.

        Raises TrainingError for rows that were prepared otherwise than the training rows, or lack what is needed.
        """
        if isinstance(data, Preparation):
            raise TrainingError(
                f"{what} is all of what lnb.prepare returned; give one part of it, "
                "such as parts.validation or parts.test"
            )
        if isinstance(data, Prepared):
            rows = _from_prepared(data)
        elif self.transform is not None:
            table = eager(data)
            if not need_target and self.target_name in table.columns:
                # Rows without a target would be left out, and predictions no longer match the frame's rows.
                table = table.drop(self.target_name)
            rows = _from_prepared(self.transform(table))
        else:
            table = eager(data)
            target = self.target_name if need_target else None
            rows = _from_table(table, self.names, target, self.dtype, what)
        if rows.names != self.names:
            raise TrainingError(
                f"{what} has other features than the training rows: {_difference(rows.names, self.names)}; "
                "prepare both with one lnb.prepare call"
            )
        if isinstance(data, Prepared):
            self._check_preparation(data, need_target=need_target, what=what)
        _check(rows, need_target=need_target, what=what)
        return rows

    def _check_preparation(self, data: Prepared, *, need_target: bool, what: str) -> None:
        """The names of features say nothing of how they were scaled, nor of what is to be predicted."""
        if self.transform is None:
            raise TrainingError(
                f"{what} was prepared, but the training rows were a frame as it is; give {what} as such a frame too, "
                "or train on lnb.prepare(...).train"
            )
        if need_target and data.target != self.target_name:
            raise TrainingError(
                f"{what} was prepared for the target {data.target!r}, the training rows for {self.target_name!r}; "
                "prepare both with one lnb.prepare call",
                target=self.target_name,
                prepared=data.target,
            )
        if data.transform.columns != self.transform.columns:
            raise TrainingError(
                f"{what} was standardised with other figures than the training rows; prepare both with one lnb.prepare "
                "call, or give the frame from before its preparation"
            )


def training_rows(data: Any, target: str | None, precision: str) -> tuple[Rows, Reader]:
    """The rows of `Prepared`, or of a frame with numeric columns and the column `target`, and their reader.

    Raises TrainingError for a missing target, features that are not numbers, nulls or NaN, and no rows at all.
    """
    if isinstance(data, Prepared):
        if target is not None and target != data.target:
            raise TrainingError(
                f"target={target!r}, but the data was prepared for {data.target!r}; leave target out or prepare again",
                target=target,
                prepared=data.target,
            )
        rows = _from_prepared(data)
        transform: Transform | None = data.transform
    elif isinstance(data, Preparation):
        raise TrainingError(
            "data is all of what lnb.prepare returned; give its part to learn from, and another as validation: "
            "lnb.train(model, data.train, validation=data.validation)"
        )
    else:
        if target is None:
            raise TrainingError("which column is to be learnt? give target='its name'")
        table = eager(data)
        if target not in table.columns:
            raise TrainingError.unknown("target column", target, table.columns)
        names = tuple(name for name in table.columns if name != target)
        rows = _from_table(table, names, target, precision, "the training data")
        transform = None
    _check(rows, need_target=True, what="the training data")
    reader = Reader(rows.names, rows.target_name, precision, transform)
    return rows, reader


def _from_prepared(data: Prepared) -> Rows:
    return Rows(data.features, data.target_values, tuple(data.feature_names), data.target)


def _from_table(table: pl.DataFrame, names: Sequence[str], target: str | None, dtype: str, what: str) -> Rows:
    wanted = [*names] if target is None else [*names, target]
    for name in wanted:
        if name not in table.columns:
            raise TrainingError.unknown("column", name, table.columns)
    if table.height == 0:
        raise TrainingError(f"{what} has no rows; look at the filters before it")
    schema = table.schema
    hollow = [name for name in wanted if table[name].null_count() == table.height]
    if hollow:
        raise TrainingError(f"{what} holds only nulls in {_list(hollow)}; drop the column", columns=tuple(hollow))
    strange = [name for name in wanted if not (schema[name].is_numeric() or schema[name] == pl.Boolean)]
    if strange:
        listed = _list([f"{name} ({schema[name]})" for name in strange])
        raise TrainingError(
            f"{what} is not numeric in {listed}; lnb.prepare(frame, target=...) turns columns into numbers",
            columns=tuple(strange),
        )
    matrix = np.empty((table.height, len(names)), dtype=dtype)
    for position, name in enumerate(names):
        matrix[:, position] = _column(table[name], what)
    values = None if target is None else _column(table[target], what).astype(dtype)
    return Rows(matrix, values, tuple(names), target)


def _column(series: pl.Series, what: str) -> npt.NDArray[Any]:
    if series.null_count():
        raise TrainingError(
            f"{what} has {series.null_count():,} nulls in {series.name}; drop those rows, or use lnb.prepare",
            columns=(series.name,),
        )
    return series.to_numpy()


def _check(rows: Rows, *, need_target: bool, what: str) -> None:
    if len(rows) == 0:
        raise TrainingError(f"{what} has no rows; look at the filters before it")
    if not rows.names:
        raise TrainingError(f"{what} has no feature columns beside the target")
    if need_target and rows.target is None:
        raise TrainingError(f"{what} has no column {rows.target_name!r}, which is the target; add it")
    bad = [name for name, finite in zip(rows.names, _finite_columns(rows.features), strict=True) if not finite]
    if rows.target is not None and not np.isfinite(rows.target).all():
        bad.append(str(rows.target_name))
    if bad:
        raise TrainingError(
            f"{what} has NaN or infinite values in {_list(bad)}; drop those rows, or use lnb.prepare",
            columns=tuple(bad),
        )


def _finite_columns(features: Floats) -> npt.NDArray[np.bool_]:
    # One sum a column is not finite as soon as one value is not; a mask of the whole matrix would double the memory.
    # A sum that overflows sends its column to the exact test.
    with np.errstate(over="ignore", invalid="ignore"):
        finite: npt.NDArray[np.bool_] = np.isfinite(features.sum(axis=0))
    for position in np.flatnonzero(~finite):
        finite[position] = np.isfinite(features[:, position]).all()
    return finite


def _difference(got: Sequence[str], want: Sequence[str]) -> str:
    missing = [name for name in want if name not in got]
    added = [name for name in got if name not in want]
    parts = [f"missing {_list(missing)}"] if missing else []
    parts += [f"not wanted {_list(added)}"] if added else []
    return ", ".join(parts) or "another order"


def _list(names: Sequence[str]) -> str:
    shown = ", ".join(names[:5])
    return shown if len(names) <= 5 else f"{shown} and {len(names) - 5} more"
