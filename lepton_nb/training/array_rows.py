"""Rows that are given as arrays: (features, target), of numbers, with features of any number of dimensions."""

from __future__ import annotations

import os
from typing import Any, TypeGuard

import numpy as np
import numpy.typing as npt

from lepton_nb.errors import TrainingError

Array = npt.NDArray[Any]
# Images are uint8, and models want small numbers.
IMAGE_DIVISOR = 255.0
LOOKED_AT_BYTES = 32 * 2**20


def is_pair(data: Any) -> TypeGuard[tuple[Any, Any]]:
    """True for two things that are no paths: (features, target)."""
    return isinstance(data, tuple | list) and len(data) == 2 and not any(_is_path(item) for item in data)


def is_array(data: Any) -> bool:
    """True for a NumPy array, and what becomes one (a CPU tensor); frames are none."""
    if isinstance(data, np.ndarray):
        return True
    return hasattr(data, "__array__") and hasattr(data, "shape") and not hasattr(data, "columns")


def row_of(shape: tuple[int, ...]) -> str:
    """What a row of this shape has, in words."""
    if len(shape) != 1:
        return f"the shape {shape}"
    return f"{shape[0]:,} feature{'' if shape[0] == 1 else 's'}"


def divisor_of(dtype: Any, dimensions: int) -> float:
    """255 for images, which are uint8 arrays of three dimensions or more, (rows, height, width, ...); 1 for others."""
    return IMAGE_DIVISOR if np.dtype(dtype) == np.uint8 and dimensions >= 3 else 1.0


def scaled(features: Array, divisor: float, dtype: str) -> Array:
    """`features` as numbers of the type `dtype`, divided by `divisor`: what the model takes."""
    if divisor == 1.0:
        return features.astype(dtype, copy=False)
    found: Array = features.astype(dtype)
    found /= found.dtype.type(divisor)
    return found


def features_of(values: Any, precision: str, what: str) -> tuple[Array, float]:
    """The features (rows, ...), and by what they are to be divided: images stay uint8, other numbers get `precision`.

    Raises TrainingError for what holds no numbers, a single dimension, no rows, NaN or infinite values.
    """
    features = _numbers(values, f"the features of {what}")
    if features.ndim < 2:
        raise TrainingError(
            f"the features of {what} have the shape {features.shape}; give (rows, ...), "
            "for one number a row features.reshape(-1, 1)",
            shape=features.shape,
        )
    if not len(features):
        raise TrainingError(f"{what} has no rows; look at the filters before it")
    if not features.size:
        raise TrainingError(f"the features of {what} have the shape {features.shape}, which holds no number")
    divisor = divisor_of(features.dtype, features.ndim)
    if divisor == 1.0:
        features = features.astype(precision, copy=False)
    _check_finite(features, f"the features of {what}")
    return features, divisor


def target_of(values: Any, rows: int, precision: str, what: str) -> Array:
    """The target (rows, ...) of `rows` rows in `precision`; (rows, 1) counts as (rows,).

    Raises TrainingError for another number of rows, and what `features_of` refuses.
    """
    target = _numbers(values, f"the target of {what}")
    if target.ndim == 0 or len(target) != rows:
        got = "is a single value" if target.ndim == 0 else f"has {len(target):,} rows"
        raise TrainingError(
            f"the target of {what} {got}, the features have {rows:,}; give one target for each row", rows=rows
        )
    if not target.size:
        raise TrainingError(f"the target of {what} has the shape {target.shape}, which holds no number")
    if target.shape[1:] == (1,):
        target = target.reshape(-1)
    target = target.astype(precision, copy=False)
    _check_finite(target, f"the target of {what}")
    return target


def _numbers(values: Any, what: str) -> Array:
    try:
        found = np.asarray(values)
    except (ValueError, TypeError, RuntimeError) as error:  # ragged lists; a tensor on a GPU, or one with gradients
        raise TrainingError(f"{what} cannot be read as an array: {error}") from error
    if found.dtype.kind not in "biuf":
        labels = "; classes by their numbers, such as numpy.unique(labels, return_inverse=True)[1]"
        raise TrainingError(
            f"{what} hold {found.dtype}, not numbers; give integers, floats or booleans"
            + (labels if found.dtype.kind in "OSU" else "")
        )
    return found


def _check_finite(values: Array, what: str) -> None:
    if values.dtype.kind != "f":
        return
    rows = max(1, LOOKED_AT_BYTES // max(1, values[:1].nbytes))
    for start in range(0, len(values), rows):
        part = values[start : start + rows]
        # A sum is not finite as soon as one value is not; one that overflows is looked at value by value.
        with np.errstate(over="ignore", invalid="ignore"):
            fine = bool(np.isfinite(part.sum()))
        if fine:
            continue
        good = np.isfinite(part).reshape(len(part), -1).all(axis=1)
        if not good.all():
            row = start + int(np.flatnonzero(~good)[0])
            raise TrainingError(
                f"{what} hold NaN or infinite values, first in row {row:,} (from 0); drop or fill them", row=row
            )


def _is_path(item: Any) -> bool:
    return isinstance(item, str | os.PathLike)
