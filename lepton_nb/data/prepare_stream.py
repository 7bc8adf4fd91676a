"""`prepare` for tables larger than memory: one column of the training part is in memory at a time, never the table."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import polars as pl

from lepton_nb.data.frames import lazy, paths_of, schema
from lepton_nb.data.prepare_options import Options
from lepton_nb.data.prepared_stream import PreparedStream, Selection, moments, usable
from lepton_nb.data.row_groups import RowGroupReader, RowGroups
from lepton_nb.data.splitting import Part, check_parts, check_time, cut, moment, random_cuts
from lepton_nb.data.tokens import merged, token_column, word_counts
from lepton_nb.data.transform import (
    Column,
    Transform,
    check_feature,
    fitted,
    is_number,
    number_column,
    text_column,
    value_counts,
)
from lepton_nb.errors import DataError


class StreamedPreparation(NamedTuple):
    """The three parts of a table in Parquet files; each knows the `transform`, which was fitted on `train` alone."""

    train: PreparedStream
    validation: PreparedStream
    test: PreparedStream

    @property
    def transform(self) -> Transform:
        """What was fitted on the training part."""
        return self.train.transform


def prepare(frame: Any, options: Options) -> StreamedPreparation:
    """See `lepton_nb.data.prepare.prepare`."""
    paths = paths_of(frame)
    if paths is None:
        raise DataError(
            f"stream=True reads Parquet files, and this is a {type(frame).__name__}; write it to Parquet and give the "
            "path, as in frame.sink_parquet('rows.parquet')"
        )
    scan = lazy(frame)
    chosen = options.chosen(scan)
    groups = RowGroups.of(paths, [*chosen, options.target, *([options.time] if options.time else [])])
    if not sum(groups.rows):
        raise DataError("the table has no rows; there is nothing to learn from")
    with RowGroupReader(groups) as reader:
        if options.time is None:
            selections, known = _random_selections(reader, groups, options)
        else:
            dtype = schema(scan)[options.time]
            check_time(options.time, dtype)
            selections, known = _time_selections(reader, groups, options, options.time, dtype)
        sizes, training = _sizes(reader, groups, selections)
        check_parts(tuple(sum(rows) for rows in sizes), options.validation, options.test)

        def values(name: str) -> Iterator[pl.Series]:
            """A column of the training rows, a row group at a time."""
            for group, mask in training:
                rows = groups.rows[group]
                yield reader.read(group, [name])[name].filter(pl.Series(np.unpackbits(mask, count=rows).astype(bool)))

        least_rows = options.least_rows(sum(sizes[0]))
        columns = [_column(name, values, scan, options, least_rows) for name in chosen]
    transform = fitted(columns, options.target, options.precision)
    left_out = sum(groups.rows) - known
    return StreamedPreparation(
        *(
            PreparedStream(groups, transform, selection, rows, left_out)
            for selection, rows in zip(selections, sizes, strict=True)
        )
    )


def _column(
    name: str, values: Callable[[str], Iterator[pl.Series]], scan: pl.LazyFrame, options: Options, least_rows: int
) -> Column:
    if options.text is not None:
        return token_column(
            name, merged(map(word_counts, values(name))), options.tokens, options.vocabulary, least_rows
        )
    if is_number(check_feature(scan, name)):
        column = pl.concat([part.to_frame() for part in values(name)], how="vertical_relaxed")
        if column[name].null_count() < column.height:
            return number_column(column, name, options.clip_sigmas)
    else:
        counts = merged(map(value_counts, values(name)))
        if counts.height:
            return text_column(name, counts, least_rows)
    raise DataError(f"column {name!r} has no value in the training part; leave it out", column=name)


def _random_selections(reader: RowGroupReader, groups: RowGroups, options: Options) -> tuple[list[Selection], int]:
    """The three parts of a split at random, and how many rows can be split."""
    counts = [
        int(usable(reader.read(group, [options.target]), options.target, None).sum()) if rows else 0
        for group, rows in enumerate(groups.rows)
    ]
    total = sum(counts)
    if not total:
        raise _no_target(options)
    start, stop = random_cuts(total, options.validation, options.test)
    spans: tuple[list[tuple[int, int]], ...] = ([], [], [])
    before = trained = validated = 0
    for count in counts:
        before += count
        train = start * before // total - trained
        # What rounding would take from one group goes to a later one.
        validation = min(max(0, stop * before // total - trained - train - validated), count - train)
        trained, validated = trained + train, validated + validation
        for part, bounds in zip(
            spans, ((0, train), (train, train + validation), (train + validation, count)), strict=True
        ):
            part.append(bounds)
    return [Selection(options.target, seed=options.seed, spans=tuple(part)) for part in spans], total


def _time_selections(
    reader: RowGroupReader, groups: RowGroups, options: Options, time: str, dtype: pl.DataType
) -> tuple[list[Selection], int]:
    """The three parts of a split by time, and how many rows can be split; one column is in memory."""
    found = []
    for group, rows in enumerate(groups.rows):
        if rows:
            table = reader.read(group, list(dict.fromkeys([options.target, time])))
            found.append(moments(table[time].filter(usable(table, options.target, time))))
    times = pl.concat(found).sort()
    del found
    if times.is_empty():
        raise _no_target(options)
    test = _index(times, time, dtype, options.test, "test", times.len())
    before = times.head(test)
    start = _index(before, time, dtype, options.validation, "validation", times.len())
    check_parts((start, test - start, times.len() - test), options.validation, options.test)
    bounds = pairwise((None, times[start], times[test], None))
    return [Selection(options.target, time, begin, end) for begin, end in bounds], times.len()


def _index(times: pl.Series, time: str, dtype: pl.DataType, part: Part, name: str, total: int) -> int:
    wanted = moment(time, dtype, part)
    if isinstance(wanted, int | float):
        return cut(times, wanted, name, total)
    return int(times.search_sorted(moments(pl.Series(time, [wanted]).cast(dtype))[0], side="left"))


def _sizes(
    reader: RowGroupReader, groups: RowGroups, selections: Sequence[Selection]
) -> tuple[list[tuple[int, ...]], list[tuple[int, npt.NDArray[np.uint8]]]]:
    """How many rows each part has of each group; and of the groups with training rows which these are, a bit a row."""
    sizes: list[list[int]] = [[] for _ in selections]
    training = []
    for group, rows in enumerate(groups.rows):
        table = reader.read(group, selections[0].columns) if rows else None
        for number, selection in enumerate(selections):
            places = np.empty(0, np.int64) if table is None else selection.rows(table, group).to_numpy()
            sizes[number].append(len(places))
            if number == 0 and len(places):
                mask = np.zeros(rows, bool)
                mask[places] = True
                training.append((group, np.packbits(mask)))
    return [tuple(part) for part in sizes], training


def _no_target(options: Options) -> DataError:
    return DataError(f"no row has a value of the target {options.target!r}", column=options.target)
