"""Which windows a time belongs to: pure integer arithmetic, no clock, no table.

All times and lengths are integers in one unit (ticks, or months); windows are half-open [start, end) and have numbers
that ascend with their end. A layout cuts time into slices such that every window is a run of whole slices and as few
slices exist as possible. A row then belongs to exactly one slice, however many windows overlap there.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from lepton_nb.errors import WindowError

# An integer, or an array or expression of them.
Number = Any


def check(size: int, every: int, offset: int, text: Callable[[int], str] = str) -> None:
    """Raise WindowError unless the three make windows; `text` writes a length for the user."""
    if size <= 0:
        raise WindowError(f"the window size must be above zero, not {text(size)}; try size='10m'", size=size)
    if every <= 0:
        raise WindowError(f"every={text(every)!r} must be above zero; try every='1m'", every=every)
    if abs(offset) >= every:
        raise WindowError(
            f"the offset ({text(offset)}) must be shorter than the step between windows ({text(every)}); "
            f"offset={text(offset % every)!r} gives the same windows",
            offset=offset,
            every=every,
        )


@dataclass(frozen=True, slots=True)
class Grid:
    """Windows [offset + k * every, offset + k * every + size) for every integer k, before the epoch too.

    There is one slice per `every` where it divides `size`, else two, cut at the window starts and the window ends
    ("paired windows": Krishnamurthy, Wu and Franklin, On-the-fly sharing for streamed aggregation, 2006).
    """

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

    @property
    def single(self) -> bool:
        """True where every window is one slice."""
        return self.slices_per_window == 1

    def slice_of(self, time: Number) -> Number:
        """Number of the slice that holds `time`; window k begins with slice k * slices_per_step."""
        within = time - self.offset if self.offset else time
        step = within // self.every
        if self.slices_per_step == 1:
            return step
        return 2 * step + (within - step * self.every >= self.size % self.every)

    def low(self, slices: Number) -> Number:
        """Number of the first window that holds a slice."""
        return -((self.slices_per_window - 1 - slices) // self.slices_per_step)

    def high(self, slices: Number) -> Number:
        """Number of the last window that holds a slice; below `low` in a gap."""
        return slices // self.slices_per_step

    def windows_of(self, slice_number: int) -> range:
        """Numbers k of the windows that hold this slice; empty in a gap."""
        return range(self.low(slice_number), self.high(slice_number) + 1)

    def first_slice(self, windows: Number) -> Number:
        """Number of the first slice of a window."""
        return windows * self.slices_per_step

    def start(self, windows: Number) -> Number:
        """Start of a window, which it holds."""
        return windows * self.every + self.offset

    def end(self, windows: Number) -> Number:
        """End of a window, which it does not hold."""
        return self.start(windows) + self.size

    def ended(self, time: int) -> int:
        """Number of the last window that lies before `time` + 1: its end - 1 is at most `time`."""
        return (time + 1 - self.offset - self.size) // self.every


@dataclass(frozen=True, slots=True)
class Steps:
    """Cumulating windows: [s, s + j * every) for j = 1 .. size / every, from each s = offset + i * size on.

    As Flink's CUMULATE. Window w ends with slice w, and begins where its turn of `size` does.
    """

    size: int
    every: int
    offset: int = 0

    def __post_init__(self) -> None:
        check(self.size, self.size, self.offset)
        check(self.every, self.every, 0)
        if self.size % self.every:
            raise WindowError(
                f"a cumulating window needs a size ({self.size}) that is a multiple of 'every' ({self.every})",
                size=self.size,
                every=self.every,
            )

    @property
    def turns(self) -> int:
        """Windows of one turn."""
        return self.size // self.every

    @property
    def slices_per_window(self) -> int:
        """Number of slices of the longest window."""
        return self.turns

    @property
    def gaps(self) -> bool:
        """False: every time belongs to a window."""
        return False

    @property
    def single(self) -> bool:
        """True where every window is one slice."""
        return self.turns == 1

    def starts(self, time: int) -> list[int]:
        """Starts of all windows that hold `time`, as often as there are."""
        number = self.slice_of(time)
        return [self.start(window) for window in self.windows_of(number)]

    def slice_of(self, time: Number) -> Number:
        """Number of the slice that holds `time`."""
        return (time - self.offset) // self.every

    def low(self, slices: Number) -> Number:
        """Number of the first window that holds a slice."""
        return slices

    def high(self, slices: Number) -> Number:
        """Number of the last window that holds a slice."""
        return slices // self.turns * self.turns + self.turns - 1

    def windows_of(self, slice_number: int) -> range:
        """Numbers of the windows that hold this slice."""
        return range(self.low(slice_number), self.high(slice_number) + 1)

    def first_slice(self, windows: Number) -> Number:
        """Number of the first slice of a window."""
        return windows // self.turns * self.turns

    def start(self, windows: Number) -> Number:
        """Start of a window, which it holds."""
        return windows // self.turns * self.size + self.offset

    def end(self, windows: Number) -> Number:
        """End of a window, which it does not hold."""
        return (windows + 1) * self.every + self.offset

    def ended(self, time: int) -> int:
        """Number of the last window that lies before `time` + 1: its end - 1 is at most `time`."""
        return (time + 1 - self.offset) // self.every - 1


@dataclass(frozen=True, slots=True)
class Sessions:
    """Rows of a key no more than `gap` apart, from the first to the last plus `gap`; a gap of exactly `gap` joins."""

    gap: int


@dataclass(frozen=True, slots=True)
class Rolling:
    """For each row at time t, the rows of its key in (t - size, t]: as a half-open window [t - size + 1, t + 1).

    Slices are ticks; a window has the number of the tick that it ends with, and exists where that tick has a row.
    """

    size: int

    @property
    def gaps(self) -> bool:
        """False: every row has a window."""
        return False

    @property
    def single(self) -> bool:
        """False: a window reaches back over other rows' slices."""
        return False

    def slice_of(self, time: Number) -> Number:
        """The tick itself."""
        return time

    def low(self, slices: Number) -> Number:
        """Number of the first window that may hold a slice."""
        return slices

    def high(self, slices: Number) -> Number:
        """Number of the last window that may hold a slice."""
        return slices + self.size - 1

    def first_slice(self, windows: Number) -> Number:
        """Number of the first slice of a window."""
        return windows - self.size + 1

    def start(self, windows: Number) -> Number:
        """Start of a window, which it holds."""
        return windows - self.size + 1

    def end(self, windows: Number) -> Number:
        """End of a window, which it does not hold."""
        return windows + 1

    def ended(self, time: int) -> int:
        """Number of the last window that lies before `time` + 1."""
        return time


@dataclass(frozen=True, slots=True)
class LastRows:
    """For each row, it and the `rows` - 1 before it of its key, fewer at the beginning; in the order of time."""

    rows: int


@dataclass(frozen=True, slots=True)
class RowBlocks:
    """Of each key, rows k * every .. k * every + rows - 1 in the order of time, for each k where all are there."""

    rows: int
    every: int


Sliced = Grid | Steps | Rolling
Ordered = LastRows | RowBlocks
Layout = Sliced | Sessions | Ordered
