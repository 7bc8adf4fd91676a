"""A stream's results as they come: the last windows of the busiest keys, few enough to be drawn again and again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING

import polars as pl

from lepton_nb.errors import WindowError
from lepton_nb.figures import streams
from lepton_nb.windowing.partials import named
from lepton_nb.windowing.spec import END, START

if TYPE_CHECKING:
    import plotly.graph_objects as go

# A key that is shown stays until another one is this much busier, so that lines do not come and go.
STAYS = 1.5
WEIGHT = "\x00weight"


@dataclass(frozen=True)
class Picked:
    """What is shown: rows of the result, how many keys there are, and of how many something is shown."""

    table: pl.DataFrame
    keys: int
    shown: int
    windows: int
    weight: str

    @property
    def text(self) -> str:
        """Which part of the result it is, in words."""
        last = f"the last {self.windows} windows"
        if not self.keys:
            return last
        of_each = f"{last} of each key"
        if self.shown == self.keys:
            return of_each
        by = f"by {self.weight}" if self.weight else "by number of windows"
        return f"{of_each}; the {self.shown} busiest of {self.keys:,} keys, {by}"


def told(picked: Picked, total: int, keys: Sequence[str]) -> str:
    """Which of all `total` windows are shown, in words for who did not see them come."""
    drawn = picked.table.height
    if drawn == total:
        return "the one window" if total == 1 else f"all {total:,} windows"
    parts = []
    if picked.shown < picked.keys:
        by = f"by {picked.weight}" if picked.weight else "by number of windows"
        parts.append(f"the {picked.shown} busiest of {picked.keys:,} values of {', '.join(keys)}, {by}")
    longest = picked.table.group_by(list(map(named, keys))).len()["len"].max() if keys else drawn
    if longest == picked.windows:
        parts.append(f"the last {picked.windows:,} windows" + (" of each" if keys else ""))
    return f"{'; '.join(parts)}: {drawn:,} of {total:,} windows"


class Pick:
    """Picks the last `windows` windows of the `most_keys` busiest keys out of a stream's results, call by call.

    A key is as busy as the sum of its column `weight`, or has windows where that is "".
    """

    def __init__(self, keys: Sequence[str], weight: str = "", *, most_keys: int = 6, windows: int = 60) -> None:
        self.keys = list(keys)
        self.weight = weight
        self.most_keys = most_keys
        self.windows = windows
        self._shown: pl.DataFrame | None = None

    def of(self, recent: pl.DataFrame) -> Picked:
        """What to show of the results given last, `StreamRun.recent`."""
        for column in (*self.keys, START, END, *([self.weight] if self.weight else [])):
            if column not in recent.columns:
                raise WindowError.unknown("column", column, recent.columns)
        by = list(map(named, self.keys))
        table = recent.unique([*by, named(START), named(END)], keep="last", maintain_order=True).sort(
            END, maintain_order=True
        )
        if not by:
            return Picked(table.tail(self.windows), 0, 0, self.windows, self.weight)
        weight = named(self.weight).cast(pl.Float64).sum() if self.weight else pl.len().cast(pl.Float64)
        ranked = table.group_by(by).agg(weight.alias(WEIGHT))
        if ranked.height > self.most_keys and self._shown is not None:
            stays = ranked.join(self._shown, on=by, how="semi", nulls_equal=True)
            others = ranked.join(self._shown, on=by, how="anti", nulls_equal=True)
            ranked = pl.concat([stays.with_columns(pl.col(WEIGHT) * STAYS), others])
        order = [pl.col(WEIGHT), *by]
        shown = ranked.sort(order, descending=[True, *[False] * len(by)]).head(self.most_keys).select(by)
        self._shown = shown
        chosen = table.join(shown, on=by, how="semi", nulls_equal=True, maintain_order="left")
        last = chosen.group_by(by, maintain_order=True).tail(self.windows).sort([*by, named(START), named(END)])
        return Picked(last.select(map(named, recent.columns)), ranked.height, shown.height, self.windows, self.weight)


def windows(
    picked: pl.DataFrame, value: str, keys: Sequence[str], *, watermark: date | None = None, unit: str = ""
) -> go.Figure:
    """The windows of a few keys up to the watermark, as `streams.timeline` draws them, in a size for a panel."""
    figure = streams.timeline(picked, value, keys, watermark=watermark, unit=unit)
    figure.update_layout(height=340, margin={"t": 30, "b": 50, "l": 70, "r": 20})
    # Beside the line, out of the way of the buttons above the chart.
    figure.update_annotations(xanchor="right", yanchor="top", selector={"text": "watermark"})
    return figure


def drawable(schema: pl.Schema) -> list[str]:
    """The columns of a result that can be drawn as a height."""
    behind = schema.names()[schema.names().index(END) + 1 :] if END in schema else []
    return [name for name in behind if schema[name].is_numeric() or schema[name] == pl.Boolean]


def last_rows(recent: pl.DataFrame, count: int) -> pl.DataFrame:
    """The rows whose windows end last, the latest first."""
    return recent.sort(END, descending=True, maintain_order=True).head(count)
