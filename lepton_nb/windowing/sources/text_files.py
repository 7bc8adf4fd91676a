"""CSV and JSON-lines files in bytes: cuts fall between lines, and an unfinished last line waits for its end."""

from __future__ import annotations

import contextlib
import gzip
import io
import json
import os
import tempfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import BinaryIO, cast

import polars as pl

from lepton_nb.data import frames
from lepton_nb.errors import DataError
from lepton_nb.windowing.sources import text_rows
from lepton_nb.windowing.sources.base import Part, Rows
from lepton_nb.windowing.sources.store import File, Store
from lepton_nb.windowing.sources.values import times

BLOCK_BYTES = 2**16
# As much of the first file is looked at to tell its types.
SAMPLE_BYTES = 2**20


@dataclass(frozen=True)
class TextSlice:
    """Bytes `start` to `stop` of a file, or all of a compressed one. `header`: the names of a CSV file's columns, which
    its first line, up to `body`, holds."""

    path: str
    name: str
    start: int
    stop: int
    compressed: bool
    header: tuple[str, ...] = ()
    body: int = 0


@dataclass(frozen=True)
class TextPart(Part):
    """Lines of each file, one file after the other."""

    store: Store
    kind: str
    slices: tuple[TextSlice, ...]
    schema: Mapping[str, pl.DataType]
    required: tuple[str, ...]

    def read(self) -> Rows:
        return text_rows.joined([self._read(piece) for piece in self.slices], self.schema)

    def _read(self, piece: TextSlice) -> Rows:
        start = 0 if piece.compressed else piece.start
        with _open(self.store, piece.path, piece.compressed) as opened:
            data = _bytes(opened, piece.path, start, None if piece.compressed else piece.stop - start)
        if not piece.compressed and len(data) < piece.stop - start:
            raise DataError(
                f"{piece.path} has become shorter since it was first read; a source's files may only be added to",
                path=piece.path,
            )
        if start < piece.body:
            data = data[piece.body - start :]
            start = piece.body
        block = text_rows.Block(data, start, piece.name, self.channel, self.schema, self.required)
        if self.kind == "CSV":
            return text_rows.csv_rows(block, piece.header)
        return text_rows.json_rows(block)


@dataclass
class TextFormat:
    """What the source must know of text files."""

    store: Store
    follow: bool
    kind: str
    types: Mapping[str, pl.DataType]
    required: tuple[str, ...]
    _bytes_per_row: float = 100.0
    _ends: dict[str, tuple[int, int]] = field(default_factory=dict)
    _headers: dict[str, tuple[tuple[str, ...], int]] = field(default_factory=dict)

    def extent(self, file: File) -> int:
        """Bytes up to the end of the last finished line; of files that do not grow, all."""
        if file.compressed:
            if self.follow:
                raise DataError(
                    f"a compressed file cannot be followed: {file.path}; unpack it, or leave out follow=True",
                    path=file.path,
                )
            # Such a file is read as a whole: 1 when it is done.
            return 1
        if not self.follow:
            return file.size
        size, end = self._ends.get(file.path, (0, 0))
        if file.size != size:
            end = self._last_line_end(file, end if file.size > size else 0)
            self._ends[file.path] = file.size, end
        return end

    def forward(self, file: File, start: int, rows: int) -> tuple[int, int]:
        if file.compressed:
            return 1, rows
        with self.store.open(file.path) as opened:
            sample = _bytes(opened, file.path, start, BLOCK_BYTES)
        if lines := sample.count(b"\n"):
            self._bytes_per_row = len(sample) / lines
        wanted, extent = int(rows * self._bytes_per_row), self.extent(file)
        # A crumb at the end is not worth a batch of its own.
        stop = self.cut(file, start + wanted, 0) if start + wanted + wanted // 8 < extent else extent
        return stop, max(1, round((stop - start) / self._bytes_per_row))

    def cut(self, file: File, at: int, slack: int) -> int:
        """The first start of a line at or after `at`."""
        extent = self.extent(file)
        if at <= 0 or at >= extent or file.compressed:
            return max(0, min(at, extent))
        with self.store.open(file.path) as opened:
            at -= 1
            opened.seek(at)
            while block := opened.read(BLOCK_BYTES):
                found = block.find(b"\n")
                if found >= 0:
                    return min(at + found + 1, extent)
                at += len(block)
        return extent

    def rows_left(self, file: File, start: int) -> int | None:
        bytes_left = self.extent(file) - start
        if file.compressed and bytes_left:
            return None
        return -1 if bytes_left < 0 else 0 if bytes_left == 0 else max(1, round(bytes_left / self._bytes_per_row))

    def infer(self, files: Sequence[File], columns: Sequence[str]) -> pl.Schema | None:
        """The types of `columns`: as given, otherwise as the start of the first file suggests that has rows.

        A time column of JSON that holds text is Datetime, in UTC if the text names a zone.
        """
        found = (self._told(file, columns) for file in (files if self.follow else files[:1]))
        return next((schema for schema in found if schema is not None), None)

    def _told(self, file: File, columns: Sequence[str]) -> pl.Schema | None:
        if self.kind == "CSV" and self.extent(file):
            frames.present(self._header(file)[0], columns)
        if all(name in self.types for name in columns):
            return pl.Schema({name: self.types[name] for name in columns})
        lines = self._sample(file)
        if self.follow and len(lines) <= (self.kind == "CSV"):
            return None
        if not lines:
            raise DataError(
                f"{file.path} is empty: say what its columns hold, schema={{'{columns[0]}': pl.Datetime('us', 'UTC')}}",
                path=file.path,
            )
        found = self._suggested(file, lines)
        chosen = {name: self.types.get(name, found.get(name)) for name in columns}
        missing = [name for name, dtype in chosen.items() if dtype is None]
        frames.present(found, missing)
        return pl.Schema({name: dtype for name, dtype in chosen.items() if dtype is not None})

    def part(self, channel: str, slices: Sequence[tuple[File, int, int]], schema: Mapping[str, pl.DataType]) -> Part:
        pieces = []
        for file, start, stop in slices:
            header, body = self._header(file) if self.kind == "CSV" else ((), 0)
            if self.kind == "CSV":
                frames.present(header, schema)
            pieces.append(TextSlice(file.path, file.name, start, stop, file.compressed, header, body))
        return TextPart(channel, self.store, self.kind, tuple(pieces), schema, self.required)

    def _sample(self, file: File) -> list[bytes]:
        """The first finished lines that are well formed; of CSV, the header is among them."""
        size = SAMPLE_BYTES if file.compressed else min(SAMPLE_BYTES, self.extent(file))
        with _open(self.store, file.path, file.compressed) as opened:
            data = _bytes(opened, file.path, 0, size)
        lines = data.split(b"\n")
        if len(lines) > 1 and (len(data) == SAMPLE_BYTES or not lines[-1]):
            lines.pop()
        lines = [line for line in lines[: frames.CSV_ROWS_LOOKED_AT] if line.strip()]
        if self.kind == "CSV":
            columns = len(self._header(file)[0])
            return [line for line in lines if text_rows.csv_fault(line.rstrip(b"\r"), columns) is None]
        return [line for line in lines if text_rows.json_object(line) is not None]

    def _suggested(self, file: File, lines: Sequence[bytes]) -> pl.Schema:
        ending = ".csv" if self.kind == "CSV" else ".jsonl"
        with tempfile.TemporaryDirectory(prefix="lepton-nb-") as folder:
            path = os.path.join(folder, f"sample{ending}")
            with open(path, "wb") as sample:
                sample.write(b"\n".join(lines) + b"\n")
            found = dict(frames.schema(frames.lazy(path)))
        if self.kind == "CSV":
            return pl.Schema(zip(self._header(file)[0], found.values(), strict=True))
        for name in self.required:
            if found.get(name) == pl.String:
                values = (json.loads(line).get(name) for line in lines)
                found[name] = _time_type(next(value for value in values if value is not None))
        return pl.Schema(found)

    def _header(self, file: File) -> tuple[tuple[str, ...], int]:
        """Names of the columns of a CSV file, and where its rows begin."""
        if file.path not in self._headers:
            with _open(self.store, file.path, file.compressed) as opened:
                first = opened.readline()
            names = text_rows.cells(first.decode("utf-8-sig", errors="replace").rstrip("\r\n")) or []
            twice = sorted({name for name in names if names.count(name) > 1})
            if twice:
                raise DataError(f"{file.path} has two columns named {twice[0]!r}; rename one", path=file.path)
            self._headers[file.path] = tuple(names), len(first)
        return self._headers[file.path]

    def _last_line_end(self, file: File, known: int) -> int:
        """Where the last finished line ends, `known` or later."""
        with self.store.open(file.path) as opened:
            stop = file.size
            while stop > known:
                start = max(known, stop - BLOCK_BYTES)
                found = _bytes(opened, file.path, start, stop - start).rfind(b"\n")
                if found >= 0:
                    return start + found + 1
                stop = start
        return known


def _time_type(text: object) -> pl.DataType:
    """The type of a time column whose first value is `text`."""
    sample = pl.Series([text], dtype=pl.String, strict=False)
    if times(sample, pl.Datetime("us")).null_count():
        return pl.String()
    zoned = isinstance(text, str) and ("Z" in text.upper() or "+" in text or text.count("-") > 2)
    return pl.Datetime("us", "UTC" if zoned else None)


@contextlib.contextmanager
def _open(store: Store, path: str, compressed: bool) -> Iterator[BinaryIO]:
    with store.open(path) as opened:
        if not compressed:
            yield opened
        elif path.lower().endswith(".gz"):
            yield cast(BinaryIO, gzip.GzipFile(fileobj=opened))
        else:
            import pyarrow

            yield cast(BinaryIO, io.BufferedReader(pyarrow.CompressedInputStream(opened, "zstd")))


def _bytes(opened: BinaryIO, path: str, start: int, count: int | None) -> bytes:
    try:
        if start:
            opened.seek(start)
        return opened.read() if count is None else opened.read(count)
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{path} cannot be read: {error}; write the file again, or take it away", path=path) from error
