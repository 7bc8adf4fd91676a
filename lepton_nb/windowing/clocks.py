"""The watermark at every row: a row meets what the rows before it brought about, wherever batches end."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl

from lepton_nb.windowing.stores.base import ENDLESS

# Rows of which the earliest and the latest tell most.
BLOCK = 64


@dataclass(frozen=True)
class RowClock:
    """Tells the watermark at each of some consecutive rows of a channel.

    before: the stream's watermark when the batch begins, None before the first.
    moving: whether it moves with these rows; then `bound` + 1 ticks behind the latest time so far, from `latest` on,
        but not above `cap`, the smallest watermark of the other channels.
    """

    before: int | None = None
    moving: bool = False
    latest: int | None = None
    cap: int = ENDLESS
    bound: int = 0

    def at_least(self, latest: int | None) -> int | None:
        """The latest tick of the channel, where rows before these have shown `latest`."""
        return max((tick for tick in (self.latest, latest) if tick is not None), default=None)

    def at_end(self, latest: int | None) -> int | None:
        """The watermark after rows of which `latest` is the latest."""
        seen = self.at_least(latest)
        if not self.moving or seen is None:
            return self.before
        behind = min(seen - self.bound - 1, self.cap)
        return behind if self.before is None else max(behind, self.before)

    def none_behind(self, times: npt.NDArray[np.int64], earliest: int, reach: int) -> bool:
        """True where no row, plus `reach`, is behind the watermark that it meets: a quick look that may miss it.

        times: ticks of the rows; `earliest` of them.
        """
        if self.before is not None and earliest + reach <= self.before:
            return False
        # The furthest that a row may lie behind the latest before it.
        most = reach + self.bound
        starts = np.arange(0, len(times), BLOCK)
        low, high = np.minimum.reduceat(times, starts), np.maximum.reduceat(times, starts)
        latest = np.maximum.accumulate(np.r_[earliest if self.latest is None else self.latest, high])
        if (latest[:-1] - low > most).any():
            return False
        # Behind the rows of other blocks is none. Only in blocks that are wide enough can one be behind its own.
        wide = np.flatnonzero(high - low > most)
        whole = times[: len(times) // BLOCK * BLOCK].reshape(-1, BLOCK)
        within = whole[wide[wide < len(whole)]]
        rest = times[len(whole) * BLOCK :]
        return all((np.maximum.accumulate(rows, axis=-1) - rows).max(initial=0) <= most for rows in (within, rest))

    def at_rows(self, ticks: pl.Series) -> pl.Series:
        """The watermark that each row meets, null where there is none yet; the ticks of their times have no nulls."""
        if not self.moving:
            return pl.repeat(self.before, len(ticks), dtype=pl.Int64, eager=True)
        behind = pl.min_horizontal(
            pl.max_horizontal("seen", pl.lit(self.latest, dtype=pl.Int64)) - self.bound - 1, pl.lit(self.cap)
        )
        met = pl.when(pl.max_horizontal("seen", pl.lit(self.latest, dtype=pl.Int64)).is_not_null()).then(behind)
        seen = ticks.cum_max().shift(1).alias("seen").to_frame()
        return seen.select(pl.max_horizontal(met, pl.lit(self.before, dtype=pl.Int64))).to_series()


def row_clock(
    channel: str,
    latest: Mapping[str, int],
    before: int | None,
    bound: int,
    channels: Collection[str],
    finished: Collection[str],
    idle: Collection[str],
) -> RowClock:
    """The clock for rows of `channel` in a batch: `latest` ticks of the channels and the watermark `before` it."""
    telling = [c for c in {*channels, *latest, channel} if c not in finished and c not in idle]
    others = [c for c in telling if c != channel]
    # A channel that has shown nothing holds the watermark where it is.
    held = (channel not in telling and others) or any(c not in latest for c in others)
    if held:
        return RowClock(before) if before is None else RowClock(before, True, None, before, bound)
    cap = min((latest[c] - bound - 1 for c in others), default=ENDLESS)
    return RowClock(before, True, latest.get(channel), cap, bound)
