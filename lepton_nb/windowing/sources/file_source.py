"""Files as a source: Parquet, CSV and JSON lines, in folders that may still grow.

A position is how far each file has been read, {name: rows of a Parquet file, bytes of another}; it holds for a set of
files that is only added to.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, Protocol, TypeAlias

import polars as pl

from lepton_nb.data import frames
from lepton_nb.errors import DataError, WindowError
from lepton_nb.windowing.sources import values
from lepton_nb.windowing.sources.base import Part, Planned, Position, Source
from lepton_nb.windowing.sources.parquet_files import ParquetFormat
from lepton_nb.windowing.sources.store import File, Store, absolute, is_local, one_kind
from lepton_nb.windowing.sources.text_files import TextFormat

# How long to wait before a folder is listed again, here and where each look costs a request.
POLL_S, POLL_FAR_S = 0.1, 1.0
# While there is enough to read, a growing folder is listed again no sooner than this.
LOOK_AGAIN_S = 1.0

# Some consecutive units of one file.
Slice: TypeAlias = "tuple[File, int, int]"


class Format(Protocol):
    """What the source must know of a kind of file. Its unit is a row, or a byte where rows differ in length."""

    def extent(self, file: File) -> int:
        """Units that are there for good."""

    def forward(self, file: File, start: int, rows: int) -> tuple[int, int]:
        """Where about `rows` rows from `start` on end, and about how many these are."""

    def cut(self, file: File, at: int, slack: int) -> int:
        """A place near `at` where the file can be cut, better if within `slack`."""

    def rows_left(self, file: File, start: int) -> int | None:
        """About how many rows come after `start`; None where that cannot be told."""

    def infer(self, files: Sequence[File], columns: Sequence[str]) -> pl.Schema | None:
        """The types of `columns`; None where too little is there to tell."""

    def part(self, channel: str, slices: Sequence[Slice], schema: Mapping[str, pl.DataType]) -> Part:
        """What reads the slices."""


class FileSource(Source):
    """Reads a set of files of one kind; see `lepton_nb.windowing.sources.files`."""

    name = "files"

    def __init__(
        self,
        paths: frames.Frame,
        *,
        follow: bool = False,
        schema: Mapping[str, Any] | None = None,
        channels: Literal["one", "file"] = "one",
        storage_options: Mapping[str, Any] | None = None,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        given = frames.paths_of(paths)
        if given is None:
            raise WindowError(f"files() takes a path, glob, folder or URL, or a list of them, not {paths!r}")
        if channels not in ("one", "file"):
            raise WindowError.unknown("channels", str(channels), ("one", "file"))
        self._paths = [absolute(path) for path in given]
        self._follow = follow
        self._types = {name: values.column_type(name, dtype) for name, dtype in (schema or {}).items()}
        self._channel_of = _first_step if channels == "file" else _only
        self._store = Store(dict(storage_options or {}))
        self._clock, self._sleep = clock, sleep
        self._looked_s = -math.inf
        self._files: list[File] = []
        self._columns: tuple[str, ...] = ()
        self._parallel = 1
        self._format: Format | None = None
        self._schema: pl.Schema | None = None

    def open(self, columns: Sequence[str], parallel: int) -> None:
        self._columns, self._parallel = tuple(columns), max(1, parallel)
        self._format = self._schema = None
        self._look()
        if not self._files and not self._follow:
            raise DataError(
                f"there is no Parquet, CSV or JSON-lines file in {', '.join(self._paths)}; "
                "check the name, or wait for files with follow=True",
                paths=tuple(self._paths),
            )

    @property
    def schema(self) -> pl.Schema | None:
        return self._schema

    @property
    def channels(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(self._channel_of(file) for file in self._files)) or (self.name,)

    def plan(self, before: Position, rows: int, wait_s: float) -> Planned:
        until = self._clock() + wait_s
        at: dict[str, int] = dict(before or {})
        if self._follow and self._clock() - self._looked_s >= LOOK_AGAIN_S:
            self._look()
        after = self._forward(at, max(1, rows))
        while after == at and self._follow:
            self._look()
            after = self._forward(at, max(1, rows))
            left_s = until - self._clock()
            if after != at or left_s <= 0:
                break
            self._sleep(min(POLL_S if all(map(is_local, self._paths)) else POLL_FAR_S, left_s))
        left = {file.name: self._left(file, after) for file in self._files}
        lag = None if None in left.values() else sum(count or 0 for count in left.values())
        if self._follow:
            return Planned(after, lag=lag)
        going = {self._channel_of(file) for file in self._files if left[file.name] != 0}
        return Planned(after, over=not going, finished=frozenset(set(self.channels) - going), lag=lag)

    def parts(self, before: Position, after: Position) -> Sequence[Part]:
        at, to = dict(before or {}), dict(after or {})
        gone = {name for name in to if to[name] != at.get(name, 0)} - {file.name for file in self._files}
        if gone:
            raise DataError(f"{min(gone)} is gone before it was read to its end; bring it back", name=min(gone))
        slices: dict[str, list[Slice]] = {}
        for file in self._files:
            start, stop = at.get(file.name, 0), to.get(file.name, 0)
            if stop > start:
                slices.setdefault(self._channel_of(file), []).append((file, start, stop))
        if not slices:
            return []
        assert self._format is not None
        assert self._schema is not None
        total = sum(_units(of_channel) for of_channel in slices.values())
        parts: list[Part] = []
        for channel, of_channel in slices.items():
            count = max(1, round(self._parallel * _units(of_channel) / total))
            for group in _split(of_channel, count, self._format.cut):
                parts.append(self._format.part(channel, group, self._schema))
        return parts

    def close(self) -> None:
        self._files = []
        self._format = None

    def _look(self) -> None:
        """List the files, and tell their types once there are some."""
        self._looked_s = self._clock()
        self._files = self._store.list(self._paths)
        kind = one_kind(self._files)
        if self._format is None and kind is not None:
            self._format = (
                ParquetFormat(self._store, self._follow)
                if kind == "Parquet"
                else TextFormat(self._store, self._follow, kind, self._types, self._columns[:1])
            )
        if self._format is not None and self._schema is None:
            self._schema = self._format.infer(self._files, self._columns)

    def _forward(self, at: Mapping[str, int], rows: int) -> dict[str, int]:
        after = dict(at)
        if self._format is None or self._schema is None:
            return after
        waiting: dict[str, list[File]] = {}
        for file in self._files:
            if self._left(file, at) != 0:
                waiting.setdefault(self._channel_of(file), []).append(file)
        for of_channel in waiting.values():
            share = left = max(1, rows // len(waiting))
            for file in of_channel:
                start, extent = at.get(file.name, 0), self._format.extent(file)
                if start >= extent:
                    continue
                stop, found = self._format.forward(file, start, left)
                after[file.name] = stop
                left -= found
                # Files are read one after the other, and a crumb of the next is not worth a look.
                if stop < extent or left <= share // 8:
                    break
        return after

    def _left(self, file: File, at: Mapping[str, int]) -> int | None:
        """About how many rows of `file` come after the position; 0 only if there is none."""
        if self._format is None:
            return None
        start = at.get(file.name, 0)
        left = self._format.rows_left(file, start)
        if left is not None and left < 0:
            raise DataError(
                f"{file.path} has become shorter since it was first read; a source's files may only be added to",
                path=file.path,
            )
        return left


def _only(file: File) -> str:
    return FileSource.name


def _first_step(file: File) -> str:
    """A file's own name, or that of the folder that it lies in."""
    return file.name.strip("/").split("/")[0] if "://" not in file.name else file.name


def _units(slices: Sequence[Slice]) -> int:
    return sum(stop - start for _, start, stop in slices)


def _split(slices: Sequence[Slice], count: int, cut: Callable[[File, int, int], int]) -> list[list[Slice]]:
    """The slices in up to `count` groups of about equal size; a slice may be cut."""
    total, done = _units(slices), 0
    groups: list[list[Slice]] = [[]]
    for file, start, stop in slices:
        while len(groups) < count:
            edge = total * len(groups) // count - done
            if stop - start < edge:
                break
            at = min(max(cut(file, start + max(0, edge), total // count // 4), start), stop)
            if at > start:
                groups[-1].append((file, start, at))
                done += at - start
                start = at
            groups.append([])
        if stop > start:
            groups[-1].append((file, start, stop))
            done += stop - start
    return [group for group in groups if group]
