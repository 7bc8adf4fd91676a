"""Which windows a time belongs to: pure integer arithmetic, no clock, no table.

All times and lengths are integers in one unit (ticks); windows are half-open [start, end).

A grid cuts time into slices such that every window is a run of whole slices and as few slices exist as
possible: one per `every` where it divides `size`, else two, cut at the window starts and the window ends
("paired windows": Krishnamurthy, Wu and Franklin, On-the-fly sharing for streamed aggregation, 2006).
A row then belongs to exactly one slice, however many windows overlap there.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from lepton_nb.errors import WindowError


def check(size: int, every: int, offset: int, text: Callable[[int], str] = str) -> None:
    """Raise WindowError unless the three make windows; `text` writes a length for the user."""
    if size <= 0:
        raise WindowError(f"the window size must be above zero, not {text(size)}; try size='10m'", size=size)
    if every <= 0:
        raise WindowError(f"'every' must be above zero, not {text(every)}; try every='1m'", every=every)
    if abs(offset) >= every:
        raise WindowError(
            f"the offset ({text(offset)}) must be shorter than the step between windows ({text(every)}); "
            f"offset={text(offset % every)!r} gives the same windows",
            offset=offset,
            every=every,
        )


@dataclass(frozen=True, slots=True)
class Grid:
    """Windows [offset + k * every, offset + k * every + size) for every integer k, before the epoch too."""

    size: int
    every: int
    offset: int = 0

    def __post_init__(self) -> None:
        check(self.size, self.every, self.offset)

    def last_start(self, time: int) -> int:
        """Start of the last window that starts at or before `time`; a tumbling grid's only window there."""
        return time - (time - self.offset) % self.every

    def starts(self, time: int) -> list[int]:
        """Starts of all windows that hold `time`, ascending; empty in a gap between windows."""
        last = self.last_start(time)
        first = last - (self.size - 1 - (time - last)) // self.every * self.every
        return list(range(first, last + 1, self.every))

    @property
    def slices_per_step(self) -> int:
        """1 where `every` divides `size`, else 2."""
        return 1 if self.size % self.every == 0 else 2

    @property
    def slices_per_window(self) -> int:
        """Number of slices, all adjacent, that make up a window."""
        whole, rest = divmod(self.size, self.every)
        return whole * self.slices_per_step + (1 if rest else 0)

    @property
    def gaps(self) -> bool:
        """True where time between two windows belongs to none."""
        return self.size < self.every

    def slice_of(self, time: int) -> int:
        """Number of the slice that holds `time`; window k begins with slice k * slices_per_step."""
        step, rest = divmod(time - self.offset, self.every)
        if self.slices_per_step == 1:
            return step
        return 2 * step + (rest >= self.size % self.every)

    def windows_of(self, slice_number: int) -> range:
        """Numbers k of the windows that hold this slice; empty in a gap."""
        per_step = self.slices_per_step
        return range(-((self.slices_per_window - 1 - slice_number) // per_step), slice_number // per_step + 1)
