"""Tables cut by key, so that several workers share the keys."""

from __future__ import annotations

import zlib
from collections.abc import Sequence

import polars as pl

from lepton_nb.windowing.partials import named

# Between the keys of a row, and for a null: no text of a key is taken for them.
BETWEEN, NULL = "\x1f", "\x00"


def divided(table: pl.DataFrame, keys: Sequence[str], shards: int) -> list[pl.DataFrame]:
    """A table cut into `shards` by key: rows of one key stay together.

    A key always goes to the same shard, in every process and with every version of what we build on: shards are kept on
    disk.
    """
    if shards == 1 or not keys:
        return [table, *[table.clear() for _ in range(shards - 1)]]
    names = table.select(
        pl.concat_str([_as_text(key, table.schema[key]) for key in keys], separator=BETWEEN)
    ).to_series()
    different = names.unique()
    numbers = [zlib.crc32(name.encode()) % shards for name in different]
    shard = names.replace_strict(different, pl.Series(numbers, dtype=pl.Int64), return_dtype=pl.Int64)
    return [table.filter(shard == number) for number in range(shards)]


def _as_text(key: str, dtype: pl.DataType) -> pl.Expr:
    column = named(key).to_physical() if dtype.is_temporal() else named(key)
    return column.cast(pl.String).fill_null(NULL)
