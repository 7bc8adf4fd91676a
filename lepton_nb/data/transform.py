"""From a table's columns to the numbers that a model takes: fitted on one part, applied to any."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import numpy as np
import polars as pl

from lepton_nb.data import labels
from lepton_nb.data.frames import eager, named, schema
from lepton_nb.data.tokens import TokenColumn
from lepton_nb.errors import DataError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from lepton_nb.data.frames import Frame

    FloatArray: TypeAlias = NDArray[np.float32] | NDArray[np.float64]

Precision = Literal["float32", "float64"]

OTHER = "other"
NUMERIC = "numbers, booleans or text"
TEXT = (pl.String, pl.Categorical, pl.Enum)


@dataclass(frozen=True, slots=True)
class NumberColumn:
    """x → (x - mean) / std, limited to ±clip_sigmas; a missing value (null, NaN, infinite) becomes the median first.

    mean, std (population form, 1 where it is 0) and median are of the training part's values that are there.
    `flag_missing` adds a second output that is 1 where the value was missing.
    """

    name: str
    median: float
    mean: float
    std: float
    clip_sigmas: float | None
    flag_missing: bool

    @property
    def outputs(self) -> list[str]:
        """Names of the outputs, in order."""
        return [self.name, f"{self.name} missing"] if self.flag_missing else [self.name]

    def expressions(self) -> list[pl.Expr]:
        """One expression an output."""
        value = finite(self.name)
        scaled = (value.fill_null(self.median) - self.mean) / self.std
        if self.clip_sigmas is not None:
            scaled = scaled.clip(-self.clip_sigmas, self.clip_sigmas)
        return [scaled, value.is_null()] if self.flag_missing else [scaled]


@dataclass(frozen=True, slots=True)
class TextColumn:
    """One output a category of the training part, 1 where the row is of it; the rest, null included, is "other"."""

    name: str
    categories: tuple[str, ...]

    @property
    def outputs(self) -> list[str]:
        """Names of the outputs, in order."""
        return [*(f"{self.name} = {category}" for category in self.categories), f"{self.name} ({OTHER})"]

    def expressions(self) -> list[pl.Expr]:
        """One expression an output."""
        value = named(self.name).cast(pl.String)
        known = value.is_in(list(self.categories)).fill_null(False)
        return [*(value.eq_missing(pl.lit(category)) for category in self.categories), ~known]


Column: TypeAlias = NumberColumn | TextColumn | TokenColumn


@dataclass(frozen=True, slots=True)
class Prepared:
    """Rows ready for a model.

    features: (rows, columns), C order, float32 unless asked otherwise; target_values: (rows,) of the same type, or
    None when the frame had no target; rows: the source rows, in the same order; left_out: how many rows of the
    source (for `prepare`, of the whole table) are in no part because they have no target, or no time to split by.
    """

    features: FloatArray
    target_values: FloatArray | None
    target: str
    rows: pl.DataFrame
    transform: Transform
    left_out: int = 0

    @property
    def feature_names(self) -> tuple[str, ...]:
        """What each column of `features` is."""
        return self.transform.feature_names

    @property
    def classes(self) -> tuple[str, ...]:
        """The name of each class, by its number in `target_values`; empty where the target was numbers."""
        return self.transform.classes

    def __len__(self) -> int:
        return len(self.features)

    def __repr__(self) -> str:
        left_out = f"; {self.left_out:,} rows of the source left out" if self.left_out else ""
        return f"Prepared({len(self):,} rows, {self.features.shape[1]} features, target {self.target!r}{left_out})"


@dataclass(frozen=True, slots=True)
class Transform:
    """What `prepare` learned from the training part. Call it with any frame that has the same source columns.

    columns: numbers and categories, or one column of text as tokens. classes: of a target that is text, its values by
    their number; empty for one that is numbers.
    """

    target: str
    columns: tuple[Column, ...]
    precision: Precision
    classes: tuple[str, ...] = ()

    @property
    def feature_names(self) -> tuple[str, ...]:
        """The outputs of all columns, in order."""
        return tuple(output for column in self.columns for output in column.outputs)

    @property
    def vocabulary(self) -> int | None:
        """How many different token numbers there are, for the model's `vocabulary`; None without a text column."""
        return next((column.vocabulary for column in self.columns if isinstance(column, TokenColumn)), None)

    def __call__(self, frame: Frame) -> Prepared:
        """`frame` as numbers. Rows without a target are left out; where there is no target column, all are kept.

        Raises DataError when a source column is missing or of another kind than it was in training.
        """
        table = eager(frame)
        missing = [column.name for column in self.columns if column.name not in table.columns]
        if missing:
            raise DataError.lacking("the table", missing, table.columns, "which the preparation was made for")
        for column in self.columns:
            if is_number(table.schema[column.name]) != isinstance(column, NumberColumn):
                was = "numbers" if isinstance(column, NumberColumn) else "text"
                raise DataError(
                    f"column {column.name!r} held {was} in training and is {table.schema[column.name]} now; "
                    "cast it to what it was",
                    column=column.name,
                )
        height = table.height
        target: FloatArray | None = None
        if self.target in table.columns:
            values = self._target(table)
            known = values.is_not_null()
            table = table.filter(known)
            target = values.filter(known).to_numpy().astype(self.precision)
        features = self._features(table)
        return Prepared(
            features=np.ascontiguousarray(features, dtype=self.precision),
            target_values=target,
            target=self.target,
            rows=table,
            transform=self,
            left_out=height - table.height,
        )

    def _target(self, table: pl.DataFrame) -> pl.Series:
        """As Float64, null where there is none."""
        text = isinstance(table.schema[self.target], TEXT)
        if self.classes and not text:
            raise DataError(
                f"the target {self.target!r} held text in training and is {table.schema[self.target]} now; give its "
                f"names of classes, such as {self.classes[0]!r}",
                column=self.target,
            )
        if self.classes:
            return labels.numbered(table[self.target], self.classes)
        check_target(table, self.target)
        # By another name: methods of a column named "^...$" would take that for a pattern.
        return table.select(finite(self.target).alias("target")).to_series()

    def _features(self, table: pl.DataFrame) -> NDArray[Any]:
        expressions: list[pl.Expr] = []
        for column in self.columns:
            if isinstance(column, TokenColumn):
                return column.numbers(table[column.name])
            expressions += column.expressions()
        dtype = pl.Float32 if self.precision == "float32" else pl.Float64
        numbers = [e.cast(dtype).alias(name) for e, name in zip(expressions, self.feature_names, strict=True)]
        return table.select(numbers).to_numpy(order="c")


def fit(
    train: pl.DataFrame,
    *,
    target: str,
    features: Sequence[str],
    min_rows: int,
    clip_sigmas: float | None,
    precision: Precision,
) -> Transform:
    """Learn a Transform from the rows of `train` alone.

    Raises DataError for a column of a kind that cannot be a feature, or without any value in `train`.
    """
    columns: list[Column] = []
    for name in features:
        if train[name].null_count() == train.height:
            raise DataError(f"column {name!r} has no value in the training part; leave it out", column=name)
        if is_number(check_feature(train, name)):
            columns.append(number_column(train, name, clip_sigmas))
        else:
            columns.append(text_column(name, value_counts(train[name]), min_rows))
    return fitted(columns, target, precision)


def fitted(columns: Sequence[Column], target: str, precision: Precision) -> Transform:
    """The Transform of these columns. Raises DataError where two outputs have one name."""
    transform = Transform(target=target, columns=tuple(columns), precision=precision)
    seen: set[str] = set()
    for name in transform.feature_names:
        if name in seen:
            raise DataError(f"two columns would both be called {name!r} for the model; rename one", column=name)
        seen.add(name)
    return transform


def check_feature(table: pl.DataFrame | pl.LazyFrame, name: str) -> pl.DataType:
    """The type of the column `name`. Raises DataError for one that cannot be a feature."""
    dtype = schema(table)[name]
    if not (is_number(dtype) or isinstance(dtype, TEXT)):
        raise DataError(
            f"column {name!r} is {dtype} and cannot be a feature; give {NUMERIC}, for example the hour of a time",
            column=name,
        )
    return dtype


def check_text(table: pl.DataFrame | pl.LazyFrame, name: str) -> None:
    """Raise DataError unless the column `name` holds text."""
    dtype = schema(table)[name]
    if not isinstance(dtype, TEXT):
        raise DataError(f"column {name!r} is {dtype}, not text; give a column of text as text=...", column=name)


def value_counts(values: pl.Series) -> pl.DataFrame:
    """How many rows have each value of a column of text: value, rows."""
    # A series of its own name would do: Polars reads "^...$" as a pattern.
    return values.alias("value").cast(pl.String).drop_nulls().value_counts(name="rows")


def text_column(name: str, counts: pl.DataFrame, min_rows: int) -> TextColumn:
    """The categories that are in `min_rows` rows or more. Raises DataError where there is none."""
    kept = counts.filter(pl.col("rows") >= min_rows)["value"].sort()
    if kept.is_empty():
        raise DataError(
            f"no value of column {name!r} is in {min_rows} training rows or more, so it would tell nothing; "
            "leave it out, or give a smaller min_rows",
            column=name,
        )
    return TextColumn(name, tuple(kept))


def check_target(table: pl.DataFrame | pl.LazyFrame, target: str) -> None:
    """Raise DataError unless the column `target` holds numbers or booleans."""
    dtype = schema(table)[target]
    if not is_number(dtype):
        text = "; lnb.prepare does that for text, but not with stream=True" if isinstance(dtype, TEXT) else ""
        raise DataError(
            f"the target {target!r} is {dtype}; give a boolean, such as pl.col({target!r}) == 'some value', or for "
            f"several classes their numbers, such as pl.col({target!r}).rank('dense') - 1{text}",
            column=target,
        )


def finite(name: str) -> pl.Expr:
    """The column as Float64, with NaN and infinities as null."""
    value = named(name).cast(pl.Float64)
    return pl.when(value.is_finite()).then(value)


def number_column(train: pl.DataFrame, name: str, clip_sigmas: float | None) -> NumberColumn:
    """The figures of a column of numbers. Raises DataError where no value is finite."""
    value = finite(name)
    median, mean, std, missing = train.select(
        value.median().alias("median"),
        value.mean().alias("mean"),
        value.std(ddof=0).alias("std"),
        value.is_null().any().alias("missing"),
    ).row(0)
    if median is None:
        raise DataError(f"column {name!r} has no finite value in the training part; leave it out", column=name)
    return NumberColumn(name, median, mean, std or 1.0, clip_sigmas, missing)


def is_number(dtype: pl.DataType) -> bool:
    """True for numbers and booleans."""
    return dtype.is_numeric() or dtype == pl.Boolean
