"""Clean, standardise and split a table for learning; nothing of the test part reaches what is fitted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Literal, NamedTuple, overload

import numpy as np
import polars as pl

from lepton_nb import announce
from lepton_nb.data import prepare_stream
from lepton_nb.data.frames import eager, named
from lepton_nb.data.labels import classes_of
from lepton_nb.data.prepare_options import Options
from lepton_nb.data.prepare_stream import StreamedPreparation
from lepton_nb.data.splitting import Part, check_parts, check_time, cut, moment, random_cuts
from lepton_nb.data.tokens import token_column, word_counts
from lepton_nb.data.transform import TEXT, Precision, Prepared, Transform, finite, fit, fitted
from lepton_nb.errors import DataError

if TYPE_CHECKING:
    from lepton_nb.data.frames import Frame


class Preparation(NamedTuple):
    """The three parts; each knows the `transform`, which was fitted on `train` alone."""

    train: Prepared
    validation: Prepared
    test: Prepared

    @property
    def transform(self) -> Transform:
        """What was fitted on the training part."""
        return self.train.transform


@overload
def prepare(
    frame: Frame,
    *,
    target: str,
    time: str | None = ...,
    features: Sequence[str] | None = ...,
    validation: Part = ...,
    test: Part = ...,
    seed: int = ...,
    min_rows: int | None = ...,
    clip_sigmas: float | None = ...,
    precision: Precision = ...,
    text: str | None = ...,
    tokens: int = ...,
    vocabulary: int = ...,
    stream: Literal[False] = ...,
) -> Preparation: ...
@overload
def prepare(
    frame: Frame,
    *,
    target: str,
    time: str | None = ...,
    features: Sequence[str] | None = ...,
    validation: Part = ...,
    test: Part = ...,
    seed: int = ...,
    min_rows: int | None = ...,
    clip_sigmas: float | None = ...,
    precision: Precision = ...,
    text: str | None = ...,
    tokens: int = ...,
    vocabulary: int = ...,
    stream: Literal[True],
) -> StreamedPreparation: ...
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
    stream: bool = False,
) -> Preparation | StreamedPreparation:
    """Split `frame` into training, validation and test parts and turn their columns into numbers.

    target: the column to learn: numbers, booleans, or text, whose values are then classes, numbered from 0 in the
        order of their names (`classes`). Rows where it is null, NaN or infinite are left out and counted (`left_out`).
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

    stream: read a table in Parquet files, larger than memory, piece by piece: one column of the training part is in
        memory at a time, never the table, and the figures are exact all the same. Its parts give their rows to
        `lnb.train` alone, which reads them from the files; `part.collect()` is the part in memory. A split at random
        draws from each row group in proportion. The target is then numbers or booleans.

    Numbers: missing values become the training median (with a column that flags them where training has any), then
    (x - mean) / std of the training part. Text: one column a category of the training part. Booleans: 0 and 1,
    standardised.

    Raises DataError for missing columns (with the closest name), columns of other kinds, an empty table, a column
    without values, and a split that leaves a part empty.
    """
    options = Options(
        target=target,
        time=time,
        features=features,
        validation=validation,
        test=test,
        seed=seed,
        min_rows=min_rows,
        clip_sigmas=clip_sigmas,
        precision=precision,
        text=text,
        tokens=tokens,
        vocabulary=vocabulary,
    )
    if time is None:
        announce.seed("prepare", seed)
    return prepare_stream.prepare(frame, options) if stream else _prepare(frame, options)


def _prepare(frame: Frame, options: Options) -> Preparation:
    table = eager(frame)
    chosen = options.chosen(table, labels=True)
    if table.is_empty():
        raise DataError("the table has no rows; there is nothing to learn from")
    target, time = options.target, options.time
    text = isinstance(table.schema[target], TEXT)
    known = named(target).is_not_null() if text else finite(target).is_not_null()
    if time is not None:
        known &= named(time).is_not_null()
    usable = table.filter(known)
    if usable.is_empty():
        raise DataError(f"no row has a value of the target {target!r}", column=target)
    parts = _split_at_random(usable, options) if time is None else _split_by_time(usable, time, options)
    check_parts(tuple(part.height for part in parts), options.validation, options.test)
    least_rows = options.least_rows(parts[0].height)
    if options.text is not None:
        counts = word_counts(parts[0][options.text])
        words = token_column(options.text, counts, options.tokens, options.vocabulary, least_rows)
        transform = fitted([words], target, options.precision)
    else:
        transform = fit(
            parts[0],
            target=target,
            features=chosen,
            min_rows=least_rows,
            clip_sigmas=options.clip_sigmas,
            precision=options.precision,
        )
    if text:
        transform = replace(transform, classes=classes_of(usable[target]))
    left_out = table.height - usable.height
    return Preparation(*(replace(transform(part), left_out=left_out) for part in parts))


def _split_at_random(table: pl.DataFrame, options: Options) -> list[pl.DataFrame]:
    cuts = random_cuts(table.height, options.validation, options.test)
    order = np.random.default_rng(options.seed).permutation(table.height)
    # Source order within each part, so that the same rows look the same however they were drawn.
    return [table[np.sort(rows)] for rows in np.split(order, cuts)]


def _split_by_time(table: pl.DataFrame, time: str, options: Options) -> list[pl.DataFrame]:
    dtype = table.schema[time]
    check_time(time, dtype)
    ordered = table.sort(named(time), maintain_order=True)
    # The test part is cut first, then the validation part from what is before it.
    test_start = cut(ordered[time], moment(time, dtype, options.test), "test", ordered.height)
    before = ordered.head(test_start)
    start = cut(before[time], moment(time, dtype, options.validation), "validation", ordered.height)
    return [before.head(start), before.slice(start), ordered.slice(test_start)]
