"""Tables cut by key, so that several workers share the keys."""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl


def divided(table: pl.DataFrame, keys: Sequence[str], shards: int) -> list[pl.DataFrame]:
    """A table cut into `shards` by key: rows of one key stay together."""
    if shards == 1 or not keys:
        return [table, *[table.clear() for _ in range(shards - 1)]]
    # As text: the codes of categories differ between processes.
    columns = [
        pl.col(key).cast(pl.String) if isinstance(table.schema[key], pl.Categorical | pl.Enum) else pl.col(key)
        for key in keys
    ]
    shard = pl.struct(columns).hash(seed=0) % shards
    numbered = table.with_columns(shard.cast(pl.Int64).alias("shard:"))
    return [numbered.filter(pl.col("shard:") == number).drop("shard:") for number in range(shards)]
