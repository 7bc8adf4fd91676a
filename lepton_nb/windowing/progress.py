"""What a stream tells about itself after every batch: the values of its `Progress` events."""

from __future__ import annotations

import collections
import time
from collections.abc import Mapping
from datetime import UTC, date, datetime
from typing import Any

import polars as pl

from lepton_nb.windowing.checkpoint import Commit
from lepton_nb.windowing.stores.base import ENDLESS

# The span over which the throughput is measured.
SPAN_S = 10.0


class Meter:
    """Makes the values of a batch's event.

    batch: its number. rows_per_s: over the last 10 s. batch_s: how long this batch took. lag_rows: rows that the
    source has and the stream has not read, None where it cannot tell. watermark: a datetime or date, None before the
    first rows; latest: the latest time seen. windows: results emitted. late, aside, dead: rows set aside. state_rows,
    state_bytes: the open windows. over: the source has ended.
    """

    def __init__(self, dtype: pl.DataType, rows: int) -> None:
        self._dtype = dtype
        self._marks = collections.deque([(time.monotonic(), rows)])

    def read(self, commit: Commit, lag: int | None, sizes: tuple[int, int], batch_s: float) -> dict[str, Any]:
        """The values after a batch."""
        now_s = time.monotonic()
        self._marks.append((now_s, commit.rows))
        while len(self._marks) > 2 and self._marks[1][0] < now_s - SPAN_S:
            self._marks.popleft()
        begun_s, rows = self._marks[0]
        aside = commit.set_aside
        return {
            "batch": commit.batch,
            "rows_per_s": (commit.rows - rows) / max(now_s - begun_s, 1e-9),
            "batch_s": batch_s,
            "lag_rows": lag,
            "watermark": self._time(commit.watermark),
            "latest": self._time(max(commit.latest.values(), default=None)),
            "windows": commit.emitted,
            "late": aside.get("late", 0),
            "aside": aside.get("aside", 0),
            "dead": aside.get("dead", 0),
            "state_rows": sizes[0],
            "state_bytes": sizes[1],
            "over": commit.over,
        }

    def _time(self, tick: int | None) -> date | None:
        return time_of(tick, self._dtype)


def time_of(tick: int | None, dtype: pl.DataType) -> date | None:
    """A tick as a datetime or date; None for none, for the end of all times, and for years that Python has not."""
    if tick is None or tick >= ENDLESS:
        return None
    whole = pl.Series([tick], dtype=pl.Int64)
    try:
        found: date = (whole.cast(pl.Int32) if dtype == pl.Date else whole).cast(dtype)[0]
    except (ValueError, OverflowError):
        return None
    return found


def told(rows: int, values: Mapping[str, Any]) -> list[tuple[str, str]]:
    """What a `Progress` event of a stream says, as labels and values for a reader. rows: the event's `done`."""
    lag = values["lag_rows"]
    if values["watermark"] is not None:
        watermark = moment_text(values["watermark"])
    else:
        watermark = "the source has ended" if values["over"] else "no rows yet"
    found = [
        ("Throughput", f"{values['rows_per_s']:,.0f} rows/s"),
        ("Lag", "not known" if lag is None else counted(lag, "row")),
        ("Watermark", watermark),
        ("Rows read", f"{rows:,}"),
        ("Results given", f"{values['windows']:,}"),
        ("Late", counted(values["late"], "row")),
        ("Open windows", f"{counted(values['state_rows'], 'row')}, {bytes_text(values['state_bytes'])}"),
    ]
    if values["aside"]:
        found.append(("Without time or key", counted(values["aside"], "row")))
    if values["dead"]:
        found.append(("Unreadable", counted(values["dead"], "row")))
    return found


def nothing_found(rows: int, values: Mapping[str, Any]) -> str:
    """Why a stream whose source has ended gave no result, and what to do; "" where it gave one, or still runs."""
    if not values["over"] or values["windows"]:
        return ""
    if rows and values["aside"] == rows:
        return (
            f"{_all_of(rows)} lacks a time or a key, and a window takes only rows that have both: choose another time "
            "column or other keys, or fill in what is missing"
        )
    if rows and values["dead"] == rows:
        return f"{_all_of(rows)} could not be read: compare the columns and their types with what the source holds"
    return "" if rows else "The source holds no rows, so there is nothing to compute: choose another source, or fill it"


def _all_of(rows: int) -> str:
    return "The only row" if rows == 1 else f"Each of the {rows:,} rows"


def counted(number: int, what: str) -> str:
    """A number with its noun."""
    return f"{number:,} {what}" + ("" if number == 1 else "s")


def bytes_text(size: int) -> str:
    """A number of bytes in the largest unit that it fills."""
    unit_bytes, unit = byte_unit(size)
    return counted(size, "byte") if unit_bytes == 1 else f"{size / unit_bytes:.3g} {unit}"


def byte_unit(most_bytes: int) -> tuple[int, str]:
    """The unit in which to tell numbers up to this one: its size in bytes, and its name."""
    for size, unit in ((10**9, "GB"), (10**6, "MB"), (10**3, "kB")):
        if most_bytes >= size:
            return size, unit
    return 1, "bytes"


def moment_text(time: date) -> str:
    """A time to the second, in UTC where it has a zone; times without one are UTC."""
    if not isinstance(time, datetime):
        return time.isoformat()
    naive = time.astimezone(UTC).replace(tzinfo=None) if time.tzinfo else time
    return f"{naive.isoformat(sep=' ', timespec='seconds')} UTC"
