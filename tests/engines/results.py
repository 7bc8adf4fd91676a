"""Whether two results are the same, row for row, and where not."""

from __future__ import annotations

import polars as pl
import polars.selectors as cs

# Of floats: sums in another order, and variances from sums of squares.
TOLERANCE = 1e-9
SHOWN = 5


def difference(theirs: pl.DataFrame, ours: pl.DataFrame, keys: list[str]) -> str:
    """ "" where both hold the same rows, in whatever order; else what differs, for people."""
    if theirs.columns != ours.columns:
        return f"columns {theirs.columns} there, {ours.columns} here"
    names = [*keys, "window_start", "window_end"]
    theirs, ours = in_order(theirs, names), in_order(ours, names)
    if theirs.select(names).equals(ours.select(names)):
        return _of_values(theirs, ours, names)
    only_here = ours.join(theirs, on=names, how="anti")
    only_there = theirs.join(ours, on=names, how="anti")
    lines = [f"{ours.height} rows here, {theirs.height} there; windows with these bounds are not in both:"]
    lines += [f"  only here:  {row}" for row in only_here.head(SHOWN).rows(named=True)]
    lines += [f"  only there: {row}" for row in only_there.head(SHOWN).rows(named=True)]
    return "\n".join(lines)


def in_order(table: pl.DataFrame, names: list[str]) -> pl.DataFrame:
    """The rows in plain types and one order: keys, bounds, what is exact, floats by their first digits."""
    table = table.with_columns(
        cs.datetime().dt.epoch("us"),
        cs.integer().cast(pl.Int64),
        cs.float().cast(pl.Float64),
        cs.boolean().cast(pl.Int64),
    )
    exact = [name for name in table.columns if name not in names and not table.schema[name].is_float()]
    rounded = [pl.col(name).round_sig_figs(6) for name in table.columns if table.schema[name].is_float()]
    return table.sort([*names, *exact, *rounded], nulls_last=False)


def _of_values(theirs: pl.DataFrame, ours: pl.DataFrame, names: list[str]) -> str:
    lines = []
    for name in ours.columns:
        here, there = ours.get_column(name), theirs.get_column(name)
        if here.dtype != there.dtype:
            return f"column {name!r} is {there.dtype} there, {here.dtype} here"
        same = here.eq_missing(there)
        if here.dtype.is_float():
            near = (here - there).abs() <= TOLERANCE * pl.Series(here.abs()).fill_nan(0).clip(lower_bound=1)
            same = same | near.fill_null(False)
        unequal = ours.with_columns(there.alias("there:")).filter(~same)
        if unequal.height:
            lines.append(f"column {name!r} differs in {unequal.height} of {ours.height} rows:")
            for row in unequal.head(SHOWN).rows(named=True):
                at = ", ".join(f"{key}={row[key]!r}" for key in names)
                lines.append(f"  {at}: {row[name]!r} here, {row['there:']!r} there")
    return "\n".join(lines)
