"""Parquet files as a list of row groups, each of which is read by itself: for tables larger than memory."""

from __future__ import annotations

import os
import struct
import zlib
from collections import OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import polars as pl

from lepton_nb.data.frames import PARQUET, files_of, has_key_folders, named, present
from lepton_nb.errors import DataError

MAGIC = b"PAR1"
OPEN_FILES = 16


@dataclass(frozen=True, slots=True)
class ParquetFile:
    """What a file was when it was looked at. rows: of each row group; footer: a checksum of its description."""

    path: str
    size_bytes: int
    footer: int
    rows: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class RowGroups:
    """The row groups of some files, numbered from 0 in the order of the files."""

    files: tuple[ParquetFile, ...]

    @classmethod
    def of(cls, paths: Any, columns: Iterable[str] = ()) -> RowGroups:
        """Those of a path, glob or folder, or a list of these, once every file is known to have `columns`.

        Raises DataError for what is no Parquet file on a disk, and for a missing column, with the file's name.
        """
        wanted = list(columns)
        return cls(tuple(_looked_at(path, wanted) for path in _plain_files(paths)))

    @classmethod
    def from_values(cls, values: Sequence[Mapping[str, Any]]) -> RowGroups:
        """What `values` told."""
        return cls(tuple(ParquetFile(**{**value, "rows": tuple(value["rows"])}) for value in values))

    def values(self) -> list[dict[str, Any]]:
        """As plain values."""
        return [asdict(file) for file in self.files]

    @property
    def rows(self) -> tuple[int, ...]:
        """Of each row group."""
        return tuple(rows for file in self.files for rows in file.rows)

    @property
    def checksum(self) -> int:
        """Of what the files hold, wherever they lie."""
        return zlib.crc32(repr([(file.size_bytes, file.footer, file.rows) for file in self.files]).encode())


class RowGroupReader:
    """Reads row groups one at a time, and notices when a file is no longer what it was. Not for two threads at once.

    stamps: what files looked like when they were opened first; several readers may share them, one after the other.
    """

    def __init__(self, groups: RowGroups, stamps: dict[str, tuple[int, int, int]] | None = None) -> None:
        self._groups = groups
        self._places = [(n, g) for n, file in enumerate(groups.files) for g in range(len(file.rows))]
        self._stamps = {} if stamps is None else stamps
        self._open: OrderedDict[str, Any] = OrderedDict()

    def __enter__(self) -> RowGroupReader:
        return self

    def __exit__(self, *_: object) -> None:
        while self._open:
            self._open.popitem()[1].close()

    def name(self, group: int) -> str:
        """Such as "row group 3 of flights.parquet", numbered from 0 within its file."""
        file, number = self._places[group]
        return f"row group {number} of {self._groups.files[file].path}"

    def read(self, group: int, columns: Sequence[str]) -> pl.DataFrame:
        """The rows of `group` with `columns`. Raises DataError, with the file's name, where they cannot be read."""
        import pyarrow

        file, number = self._places[group]
        facts = self._groups.files[file]
        try:
            opened = self._opened(facts)
            table = opened.read_row_group(number, columns=list(columns), use_threads=False)
            if _stamp(facts.path) != self._stamps[facts.path]:
                raise _changed(facts)
        except (pyarrow.ArrowException, OSError) as error:
            raise DataError(
                f"{self.name(group)} cannot be read: {error}; if the file was written anew, start the run again",
                path=facts.path,
                row_group=number,
            ) from error
        found = pl.from_arrow(table)
        assert isinstance(found, pl.DataFrame)
        return found.select(map(named, columns))

    def _opened(self, facts: ParquetFile) -> Any:
        import pyarrow.parquet

        if facts.path in self._open:
            self._open.move_to_end(facts.path)
            return self._open[facts.path]
        if facts.path not in self._stamps:
            self._stamps[facts.path] = _stamp(facts.path)
        if (os.stat(facts.path).st_size, _footer(facts.path)) != (facts.size_bytes, facts.footer):
            raise _changed(facts)
        opened = pyarrow.parquet.ParquetFile(facts.path, memory_map=False, pre_buffer=False)
        self._open[facts.path] = opened
        if len(self._open) > OPEN_FILES:
            self._open.popitem(last=False)[1].close()
        return opened


def _plain_files(paths: Any) -> list[str]:
    """Absolute paths: a worker may have been started in another folder."""
    given = list(paths)
    if has_key_folders(given):
        raise DataError(
            "row groups of a folder with divisions such as year=2013 are not read one by one: the column lies in the "
            "folder's name; give the files without such divisions",
            path=os.fspath(given[0]),
        )
    found = files_of(given)
    for path in found:
        if "://" in path or not path.lower().endswith(PARQUET):
            raise DataError(
                f"{path} is no Parquet file on a disk, and only such are read piece by piece; write it as one, "
                "as in polars.scan_csv(...).sink_parquet('rows.parquet')",
                path=path,
            )
    return [os.path.abspath(path) for path in found]


def _looked_at(path: str, columns: Sequence[str]) -> ParquetFile:
    import pyarrow
    import pyarrow.parquet

    try:
        size_bytes, footer = os.stat(path).st_size, _footer(path)
        metadata = pyarrow.parquet.read_metadata(path)
    except (pyarrow.ArrowException, OSError) as error:
        raise DataError(f"{path} cannot be read as Parquet: {error}", path=path) from error
    try:
        present(metadata.schema.to_arrow_schema().names, columns)
    except DataError as error:
        raise DataError(f"{path}: {error}", **error.facts) from error
    rows = tuple(metadata.row_group(number).num_rows for number in range(metadata.num_row_groups))
    return ParquetFile(path, size_bytes, footer, rows)


def _footer(path: str) -> int:
    """The checksum of a file's footer: what it says of columns, row groups, places, sizes and statistics."""
    with Path(path).open("rb") as file:
        end = file.seek(0, os.SEEK_END)
        if end < 12:
            raise DataError(f"{path} is no Parquet file, it has {end} bytes", path=path)
        file.seek(end - 8)
        length, magic = struct.unpack("<I4s", file.read(8))
        if magic != MAGIC or length > end - 12:
            raise DataError(f"{path} is no whole Parquet file; was it written to its end?", path=path)
        file.seek(end - 8 - length)
        return zlib.crc32(file.read(length))


def _stamp(path: str) -> tuple[int, int, int]:
    found = os.stat(path)
    return found.st_size, found.st_mtime_ns, found.st_ino


def _changed(facts: ParquetFile) -> DataError:
    return DataError(
        f"{facts.path} has changed since the run began; let files be while they are learnt from, and start again",
        path=facts.path,
    )
