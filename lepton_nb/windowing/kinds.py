"""Which module computes which windows: three that share one contract.

slices: windows that the clock alone decides, and rolling ones over time. sessions: windows that the rows decide by
the space between them. ordered: windows of rows. Each scans rows to partial results, merges those, sets aside what
has no time or key, and makes windows.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import polars as pl

from lepton_nb.windowing import combine, ordered, sessions, slices
from lepton_nb.windowing.assign import LastRows, RowBlocks, Sessions
from lepton_nb.windowing.partials import ROWS
from lepton_nb.windowing.plan import Plan


@dataclass(frozen=True)
class Kind:
    """What batch and stream need of a kind of windows."""

    scan: Callable[[pl.LazyFrame | pl.DataFrame, Plan], pl.DataFrame]
    merge: Callable[[Sequence[pl.DataFrame], Plan], pl.DataFrame]
    split_aside: Callable[[pl.DataFrame, Plan], tuple[pl.DataFrame, int]]
    windows_table: Callable[[pl.DataFrame, Plan], pl.DataFrame]
    rows: Callable[[pl.DataFrame], int]


def _counted(table: pl.DataFrame) -> int:
    return int(table.get_column(ROWS.name).sum())


SLICES = Kind(slices.scan, slices.merge, slices.split_aside, combine.windows_table, _counted)
SESSIONS = Kind(sessions.scan, sessions.merge, sessions.split_aside, sessions.windows_table, _counted)
ORDERED = Kind(ordered.scan, ordered.merge, ordered.split_aside, ordered.windows_table, lambda table: table.height)


def of(plan: Plan) -> Kind:
    """The kind of a plan's windows."""
    if isinstance(plan.layout, Sessions):
        return SESSIONS
    return ORDERED if isinstance(plan.layout, LastRows | RowBlocks) else SLICES
