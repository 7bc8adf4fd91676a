"""Columns of a table as numbers, checked."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from lepton_nb.data.transform import check_target
from lepton_nb.errors import DataError, TrainingError
from lepton_nb.training.array_rows import Array


def columns_of(
    table: pl.DataFrame, names: Sequence[str], target: str | None, dtype: str, what: str
) -> tuple[Array, Array | None]:
    """The columns `names` as a matrix (rows, columns), and `target` (rows,), of `dtype`; `what` names the table.

    Raises TrainingError for no rows, columns that are missing or no numbers, and nulls; NaN and infinite values stay.
    """
    wanted = [*names] if target is None else [*names, target]
    require_columns(table.columns, names, target, what)
    if table.height == 0:
        raise TrainingError(f"{what} has no rows; look at the filters before it")
    hollow = [name for name in wanted if table[name].null_count() == table.height]
    if hollow:
        raise TrainingError(f"{what} holds only nulls in {listed(hollow)}; drop the column", columns=tuple(hollow))
    if target is not None:
        try:
            check_target(table, target)
        except DataError as error:
            raise TrainingError(f"{what} cannot be learnt from: {error}", **error.facts) from error
    check_columns({name: table.schema[name] for name in names}, what)
    matrix = np.empty((table.height, len(names)), dtype=dtype)
    for position, name in enumerate(names):
        matrix[:, position] = _column(table[name], what)
    return matrix, None if target is None else _column(table[target], what).astype(dtype)


def require_columns(there: Collection[str], names: Sequence[str], target: str | None, what: str) -> None:
    """Raise TrainingError where the table `what`, with the columns `there`, lacks some that a model was trained with.

    target: the name of its column, None where that is not needed.
    """
    missing = [name for name in names if name not in there]
    if missing:
        raise TrainingError.lacking(what, missing, there, "which the model was trained with")
    if target is not None and target not in there:
        raise TrainingError.lacking(what, [target], there, "which is the target")


def check_columns(known: Mapping[str, pl.DataType], what: str) -> None:
    """Raise TrainingError unless all columns, by name, hold numbers or booleans."""
    strange = [name for name, dtype in known.items() if not (dtype.is_numeric() or dtype == pl.Boolean)]
    if strange:
        shown = listed([f"{name} ({known[name]})" for name in strange])
        raise TrainingError(
            f"{what} is not numeric in {shown}; lnb.prepare(frame, target=...) turns columns into numbers",
            columns=tuple(strange),
        )


def check_finite(
    features: Array, names: Sequence[str], target: Array | None, target_name: str | None, what: str
) -> None:
    """Raise TrainingError, with the columns' names, for NaN and infinite values."""
    bad = [name for name, finite in zip(names, _finite_columns(features), strict=True) if not finite]
    if target is not None and not np.isfinite(target).all():
        bad.append(str(target_name))
    if bad:
        raise TrainingError(
            f"{what} has NaN or infinite values in {listed(bad)}; drop those rows, or use lnb.prepare",
            columns=tuple(bad),
        )


def listed(names: Sequence[str]) -> str:
    """The first five names in words."""
    shown = ", ".join(names[:5])
    return shown if len(names) <= 5 else f"{shown} and {len(names) - 5} more"


def _column(series: pl.Series, what: str) -> npt.NDArray[Any]:
    if series.null_count():
        raise TrainingError(
            f"{what} has {series.null_count():,} nulls in {series.name}; drop those rows, or use lnb.prepare",
            columns=(series.name,),
        )
    return series.to_numpy()


def _finite_columns(features: Array) -> npt.NDArray[np.bool_]:
    # One sum a column is not finite as soon as one value is not; a mask of the whole matrix would double the memory.
    # A sum that overflows sends its column to the exact test.
    with np.errstate(over="ignore", invalid="ignore"):
        finite: npt.NDArray[np.bool_] = np.isfinite(features.sum(axis=0))
    for position in np.flatnonzero(~finite):
        finite[position] = np.isfinite(features[:, position]).all()
    return finite
