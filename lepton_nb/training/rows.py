"""Training rows: features and a target, numbers all, checked: from `Prepared`, any frame, or arrays."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl

from lepton_nb.data.frames import eager
from lepton_nb.data.prepare import Preparation
from lepton_nb.data.prepare_stream import StreamedPreparation
from lepton_nb.data.prepared_stream import PreparedStream
from lepton_nb.data.transform import Prepared, Transform
from lepton_nb.errors import TrainingError
from lepton_nb.training import array_rows
from lepton_nb.training.array_rows import Array
from lepton_nb.training.table_rows import check_finite, columns_of, listed, require_columns


@dataclass(frozen=True, slots=True, eq=False)
class Rows:
    """`features` (rows, ...) and `target` (rows,) or (rows, steps), or None for rows to predict.

    Both are float32 or float64, but images, which stay uint8. names: of the columns, none for arrays.
    """

    features: Array
    target: Array | None
    names: tuple[str, ...]
    target_name: str | None

    def __len__(self) -> int:
        return int(self.features.shape[0])


@dataclass(frozen=True, slots=True, eq=False)
class Reader:
    """How the rows of one run are read, so that later rows (to validate, test, predict) come out alike.

    shape: of one row where the rows were arrays, None where they were a table; divisor: by which the model's features
    are divided, 255 for images (uint8 arrays of three dimensions or more), else 1.
    """

    names: tuple[str, ...]
    target_name: str | None
    dtype: str
    transform: Transform | None
    shape: tuple[int, ...] | None = None
    divisor: float = 1.0

    @property
    def row_shape(self) -> tuple[int, ...]:
        """The shape of one row's features."""
        return (len(self.names),) if self.shape is None else self.shape

    @property
    def classes(self) -> tuple[str, ...]:
        """The name of each class, by its number; empty where classes have none."""
        return () if self.transform is None else self.transform.classes

    @property
    def sources(self) -> tuple[str, ...]:
        """The columns of a table that features are made of."""
        return self.names if self.transform is None else tuple(column.name for column in self.transform.columns)

    def numbers(self, features: Array) -> Array:
        """Features of Rows as the model takes them: of the run's precision, images divided."""
        return array_rows.scaled(features, self.divisor, self.dtype)

    def read(self, data: Any, *, need_target: bool, what: str) -> Rows:
        """`data` as Rows of the form of the training rows; `what` names it in errors.

        Of rows that were arrays it takes an array of features, or (features, target).

        Raises TrainingError for rows that were prepared otherwise than the training rows, or lack what is needed.
        """
        if isinstance(data, Preparation | StreamedPreparation):
            raise TrainingError(
                f"{what} is all of what lnb.prepare returned; give one part of it, "
                "such as parts.validation or parts.test"
            )
        if isinstance(data, PreparedStream):
            self.check_preparation(data, need_target=need_target, what=what)
            data = data.collect()
        if self.shape is not None:
            return self._read_arrays(data, self.shape, need_target=need_target, what=what)
        if array_rows.is_pair(data) or array_rows.is_array(data):
            raise TrainingError(
                f"{what} is an array, and the training rows were a table with the columns {listed(self.names)}; "
                "give a table with these"
            )
        if isinstance(data, Prepared):
            rows = _from_prepared(data)
        elif self.transform is not None:
            table = eager(data)
            require_columns(table.columns, self.sources, self.target_name if need_target else None, what)
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
            self.check_preparation(data, need_target=need_target, what=what)
        _check(rows, need_target=need_target, what=what)
        return rows

    def with_source(self, data: Any) -> tuple[Any, pl.DataFrame | None]:
        """`data`, prepared as the training rows were where it is a table, and the table that its rows are of."""
        if isinstance(data, PreparedStream):
            data = data.collect()
        if isinstance(data, Prepared):
            return data, data.rows
        other = isinstance(data, Preparation | StreamedPreparation) or array_rows.is_pair(data)
        if self.shape is not None or other or array_rows.is_array(data):
            return data, None
        table = eager(data)
        if self.transform is None or self.target_name not in table.columns:
            return table, table
        made = self.transform(table)
        return made, made.rows

    def _read_arrays(self, data: Any, shape: tuple[int, ...], *, need_target: bool, what: str) -> Rows:
        pair = array_rows.is_pair(data)
        if not pair and not array_rows.is_array(data):
            raise TrainingError(
                f"{what} is a {type(data).__name__}, and the training rows were arrays; give (features, target)"
                + ("" if need_target else ", or the features alone")
                + f", in arrays, each row with {array_rows.row_of(shape)}"
            )
        if need_target and not pair:
            raise TrainingError(f"{what} is features alone; give (features, target)")
        given = data[0] if pair else data
        if getattr(given, "shape", None) == shape:
            raise TrainingError(
                f"the features of {what} have the shape {shape}, as a single row has; give (rows, ...), for one row "
                "features[None]",
                shape=shape,
            )
        features, divisor = array_rows.features_of(given, self.dtype, what)
        self.require_shape(features.shape[1:], what)
        if divisor != self.divisor:
            was, now = ("uint8 images", "is not uint8") if divisor == 1.0 else ("no uint8 images", "is uint8")
            raise TrainingError(
                f"the training rows were {was}, and {what} {now}; give the same type, so that the numbers mean the same"
            )
        target = array_rows.target_of(data[1], len(features), self.dtype, what) if need_target else None
        return Rows(features, target, (), None)

    def require_shape(self, shape: tuple[int, ...], what: str) -> None:
        """Raise TrainingError where rows of `what`, arrays, have another shape than those of the training."""
        if shape != self.shape:
            has, wanted = array_rows.row_of(shape), array_rows.row_of(self.row_shape)
            raise TrainingError(
                f"a row of {what} has {has}, and the model was trained on rows with {wanted}; give the same, in the "
                "same order",
                shape=shape,
                wanted=self.shape,
            )

    def check_preparation(self, data: Prepared | PreparedStream, *, need_target: bool, what: str) -> None:
        """Raise TrainingError for rows that were prepared otherwise than the training rows."""
        # The names of features say nothing of how they were scaled, nor of what is to be predicted.
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
        if need_target and data.transform.classes != self.transform.classes:
            raise TrainingError(
                f"{what} has the classes {listed(data.transform.classes)}, the training rows "
                f"{listed(self.transform.classes)}; prepare both with one lnb.prepare call"
            )
        if data.transform.columns != self.transform.columns:
            raise TrainingError(
                f"{what} was standardised with other figures than the training rows; prepare both with one lnb.prepare "
                "call, or give the frame from before its preparation"
            )


def training_rows(data: Any, target: str | None, precision: str) -> tuple[Rows, Reader]:
    """The rows of `Prepared`, of a frame with numeric columns and the column `target`, or of arrays, and their reader.

    Arrays are (features, target): features (rows, ...), target (rows,) or (rows, steps).
    Raises TrainingError for a missing target, features that are not numbers, nulls or NaN, and no rows at all.
    """
    if array_rows.is_pair(data) or array_rows.is_array(data):
        return _from_arrays(data, target, precision)
    if isinstance(data, PreparedStream):
        data = data.collect()
    if isinstance(data, Prepared):
        check_target_name(data, target)
        rows = _from_prepared(data)
        transform: Transform | None = data.transform
    elif isinstance(data, Preparation | StreamedPreparation):
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


def check_target_name(data: Prepared | PreparedStream, target: str | None) -> None:
    """Raise TrainingError where `target` is not what the data was prepared for."""
    if target is not None and target != data.target:
        raise TrainingError(
            f"target={target!r}, but the data was prepared for {data.target!r}; leave target out or prepare again",
            target=target,
            prepared=data.target,
        )


def _from_arrays(data: Any, target: str | None, precision: str) -> tuple[Rows, Reader]:
    what = "the training data"
    if not array_rows.is_pair(data):
        raise TrainingError(f"{what} is features alone; give (features, target), as in lnb.train(model, (x, y))")
    if target is not None:
        raise TrainingError(f"target={target!r} names a column, and the data are arrays; leave target out")
    features, divisor = array_rows.features_of(data[0], precision, what)
    wanted = array_rows.target_of(data[1], len(features), precision, what)
    reader = Reader((), None, precision, None, features.shape[1:], divisor)
    return Rows(features, wanted, (), None), reader


def _from_prepared(data: Prepared) -> Rows:
    return Rows(data.features, data.target_values, tuple(data.feature_names), data.target)


def _from_table(table: pl.DataFrame, names: Sequence[str], target: str | None, dtype: str, what: str) -> Rows:
    features, values = columns_of(table, names, target, dtype, what)
    return Rows(features, values, tuple(names), target)


def _check(rows: Rows, *, need_target: bool, what: str) -> None:
    if len(rows) == 0:
        raise TrainingError(f"{what} has no rows; look at the filters before it")
    if not rows.names:
        raise TrainingError(f"{what} has no feature columns beside the target")
    if need_target and rows.target is None:
        raise TrainingError(f"{what} has no column {rows.target_name!r}, which is the target; add it")
    check_finite(rows.features, rows.names, rows.target, rows.target_name, what)


def _difference(got: Sequence[str], want: Sequence[str]) -> str:
    missing = [name for name in want if name not in got]
    added = [name for name in got if name not in want]
    parts = [f"missing {listed(missing)}"] if missing else []
    parts += [f"not wanted {listed(added)}"] if added else []
    return ", ".join(parts) or "another order"
