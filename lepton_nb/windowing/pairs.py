"""Two sources read side by side, for a join."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import polars as pl

from lepton_nb.windowing.sources.base import Part, Planned, Position, Rows, Source

SIDES = ("left", "right")


@dataclass(frozen=True)
class SidePart(Part):
    """A part that knows its side: 0 left, 1 right."""

    part: Part
    side: int

    def read(self) -> Rows:
        """The part's rows."""
        return self.part.read()


class PairSource(Source):
    """Half of every batch comes from each side. Channels are named "left/..." and "right/..."."""

    name: ClassVar[str] = "pair"

    def __init__(self, left: Source, right: Source) -> None:
        self.sides = (left, right)
        self.lookahead = left.lookahead and right.lookahead  # type: ignore[misc]

    def open(self, columns: Sequence[str], parallel: int) -> None:
        """Both with the same columns; a stream opens each with its own."""
        for side in self.sides:
            side.open(columns, parallel)

    @property
    def schema(self) -> pl.Schema | None:
        """None: there are two, see `sides`."""
        return None

    @property
    def channels(self) -> tuple[str, ...]:
        """Those of both."""
        return tuple(f"{name}/{c}" for name, side in zip(SIDES, self.sides, strict=True) for c in side.channels)

    def plan(self, before: Position, rows: int, wait_s: float) -> Planned:
        """Each side goes as far as it can; a side that has ended does not hold back the watermark."""
        positions = before or [None, None]
        half = max(1, rows // 2)
        found = [side.plan(at, half, wait_s / 2) for side, at in zip(self.sides, positions, strict=True)]
        finished = set()
        for name, side, planned in zip(SIDES, self.sides, found, strict=True):
            ended = side.channels if planned.over else planned.finished
            finished |= {f"{name}/{channel}" for channel in ended}
        after = [planned.after for planned in found]
        lags = [planned.lag for planned in found]
        known = [lag for lag in lags if lag is not None]
        return Planned(
            after=before if before is not None and after == before else after,
            over=all(planned.over for planned in found),
            finished=frozenset(finished),
            lag=sum(known) if len(known) == len(lags) else None,
        )

    def parts(self, before: Position, after: Position) -> Sequence[Part]:
        """Those of both, left first."""
        starts, ends = before or [None, None], after
        return [
            SidePart(f"{SIDES[n]}/{part.channel}", part, n)
            for n, side in enumerate(self.sides)
            for part in side.parts(starts[n], ends[n])
        ]

    def committed(self, position: Position) -> None:
        """Both are told."""
        for side, at in zip(self.sides, position, strict=True):
            side.committed(at)

    def close(self) -> None:
        """Both are closed."""
        for side in self.sides:
            side.close()
