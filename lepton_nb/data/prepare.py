"""Clean, standardise and split a table for learning; nothing of the test part reaches what is fitted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import date, datetime
from typing import TYPE_CHECKING, NamedTuple, TypeAlias, get_args

import numpy as np
import polars as pl

from lepton_nb.data.frames import eager, present
from lepton_nb.data.tokens import check_options, token_column, word_counts
from lepton_nb.data.transform import Precision, Prepared, Transform, check_target, check_text, finite, fit, fitted
from lepton_nb.errors import DataError

if TYPE_CHECKING:
    from lepton_nb.data.frames import Frame

Part: TypeAlias = float | datetime | date


class Preparation(NamedTuple):
    """The three parts; each knows the `transform`, which was fitted on `train` alone."""

    train: Prepared
    validation: Prepared
    test: Prepared

    @property
    def transform(self) -> Transform:
        """What was fitted on the training part."""
        return self.train.transform


def prepare(
    frame: Frame,
    *,
    target: str,
    time: str | None = None,
    features: Sequence[str] | None = None,
    validation: Part = 0.1,
    test: Part = 0.2,
    seed: int = 0,
    min_rows: int | None = None,
    clip_sigmas: float | None = 6.0,
    precision: Precision = "float32",
    text: str | None = None,
    tokens: int = 32,
    vocabulary: int = 10_000,
) -> Preparation:
    """Split `frame` into training, validation and test parts and turn their columns into numbers.

    target: the column to learn, numbers or booleans. Rows where it is null, NaN or infinite are left out
        and counted (`left_out`).
    time: split by this column, oldest rows first: training, then validation, then test; rows where it is null are
        left out and counted. Without it, rows are split at random, the same way for the same `seed`.
    features: the columns to learn from; by default all but `target` and `time`. Give only what is known when
        the prediction is made.
    validation, test: the share of the rows in that part (0.2 is 20 %); with `time`, also the moment at which the
        part begins, that moment included. Rows of one moment are never divided.
    min_rows: a category seen in fewer training rows counts as "other"; by default 20, or 1 % of the training rows
        where that is less, but at least 2.
    clip_sigmas: numbers further than this many standard deviations from the mean are moved to that limit; None
        leaves them.
    text: learn from the words of this one column, for a model of sequences: features are then (rows, tokens) numbers
        of the first `tokens` words of each text, all below `vocabulary`, which the model must be told
        (lnb.models.rnn(vocabulary=10_000)). The most frequent words of the training part have a number of their own,
        1 is any other word, and 0 fills up shorter texts. With min_rows, words that are there less often have none.

    Numbers: missing values become the training median (with a column that flags them where training has any), then
    (x - mean) / std of the training part. Text: one column a category of the training part. Booleans: 0 and 1,
    standardised.

    Raises DataError for missing columns (with the closest name), columns of other kinds, an empty table, a column
    without values, and a split that leaves a part empty.
    """
    table = eager(frame)
    columns = table.columns
    if isinstance(features, str):
        raise DataError(f"features={features!r} is one name; give a list, such as [{features!r}]")
    present(columns, [target, *([time] if time else []), *(features or [])])
    if table.is_empty():
        raise DataError("the table has no rows; there is nothing to learn from")
    if text is not None:
        check_options(text, tokens, vocabulary)
        if features is not None:
            raise DataError("a model of sequences takes the words of text=... alone; leave features out")
        features = present(columns, [text])
        check_text(table, text)
    chosen = list(features) if features is not None else [c for c in columns if c not in (target, time)]
    if target in chosen:
        raise DataError(f"the target {target!r} is among the features; leave it out, or the model learns nothing")
    if len(set(chosen)) < len(chosen):
        twice = next(name for name in chosen if chosen.count(name) > 1)
        raise DataError(f"the feature {twice!r} is given twice; give each once", column=twice)
    if precision not in get_args(Precision):
        raise DataError.unknown("precision", str(precision), get_args(Precision))
    if clip_sigmas is not None and not clip_sigmas > 0:
        raise DataError(f"clip_sigmas={clip_sigmas!r} cannot be; give a number above 0, or None to leave outliers")
    if not chosen:
        raise DataError("there is no feature to learn from; give at least one column beside the target")
    check_target(table, target)
    known = finite(target).is_not_null()
    if time is not None:
        known &= pl.col(time).is_not_null()
    usable = table.filter(known)
    if usable.is_empty():
        raise DataError(f"no row has a value of the target {target!r}", column=target)
    parts = (
        _split_at_random(usable, validation, test, seed)
        if time is None
        else _split_by_time(usable, time, validation, test)
    )
    for name, part in zip(("training", "validation", "test"), parts, strict=True):
        if part.is_empty():
            raise DataError(
                f"the {name} part has no rows ({usable.height:,} rows, validation={validation}, test={test}); "
                "choose other shares or moments"
            )
    if text is not None:
        counts = word_counts(parts[0][text])
        words = token_column(text, counts, tokens, vocabulary, min_rows or 1)
        transform = fitted([words], target, precision)
    else:
        transform = fit(
            parts[0],
            target=target,
            features=chosen,
            min_rows=max(2, min(20, parts[0].height // 100)) if min_rows is None else min_rows,
            clip_sigmas=clip_sigmas,
            precision=precision,
        )
    left_out = table.height - usable.height
    return Preparation(*(replace(transform(part), left_out=left_out) for part in parts))


def _split_at_random(table: pl.DataFrame, validation: Part, test: Part, seed: int) -> list[pl.DataFrame]:
    if not isinstance(validation, int | float) or not isinstance(test, int | float):
        raise DataError("a moment splits by time; name the column with time=..., or give shares such as test=0.2")
    tested, validated = _share("test", test), _share("validation", validation)
    order = np.random.default_rng(seed).permutation(table.height)
    stop = table.height - round(table.height * tested)
    start = stop - round(table.height * validated)
    # Source order within each part, so that the same rows look the same however they were drawn.
    return [table[np.sort(rows)] for rows in np.split(order, [start, stop])]


def _split_by_time(table: pl.DataFrame, time: str, validation: Part, test: Part) -> list[pl.DataFrame]:
    dtype = table.schema[time]
    if not (dtype.is_temporal() or dtype.is_numeric()):
        raise DataError(f"the time column {time!r} is {dtype}; give a time, a date or a number", column=time)
    ordered = table.sort(time, maintain_order=True)
    # The test part is cut first, then the validation part from what is before it.
    test_start = _cut(ordered[time], _moment(time, dtype, test), "test", ordered.height)
    before = ordered.head(test_start)
    start = _cut(before[time], _moment(time, dtype, validation), "validation", ordered.height)
    return [before.head(start), before.slice(start), ordered.slice(test_start)]


def _cut(times: pl.Series, part: Part, name: str, total: int) -> int:
    """The index in the sorted `times` at which a part begins: the first row of its first moment."""
    if not isinstance(part, int | float):
        return int(times.search_sorted(part, side="left"))
    wanted = max(0, times.len() - round(total * _share(name, part)))
    return int(times.search_sorted(times[wanted], side="left")) if wanted < times.len() else wanted


def _moment(time: str, dtype: pl.DataType, part: Part) -> Part:
    """`part` as it can be compared with the column; shares pass through."""
    if isinstance(part, int | float):
        return part
    if not isinstance(part, date):
        raise DataError(f"{part!r} is neither a share nor a moment; give 0.2, or datetime(2020, 1, 5, tzinfo=UTC)")
    if isinstance(dtype, pl.Datetime):
        zoned = isinstance(part, datetime) and part.tzinfo is not None
        if dtype.time_zone is not None and not zoned:
            raise DataError(f"{time!r} is in {dtype.time_zone}, and {part} has no time zone; give it one (tzinfo=...)")
        if dtype.time_zone is None and zoned:
            raise DataError(f"{time!r} has no time zone, and {part} has one; give a moment without")
        return part if isinstance(part, datetime) else datetime(part.year, part.month, part.day)
    if dtype == pl.Date:
        return part.date() if isinstance(part, datetime) else part
    raise DataError(f"{time!r} is {dtype}, and cannot be cut at {part}; give a share such as 0.2")


def _share(name: str, value: float) -> float:
    if isinstance(value, bool) or not 0 < value < 1:
        raise DataError(f"{name}={value!r} is not a share; give a number between 0 and 1, such as 0.2")
    return float(value)
