"""Sources: what a stream reads. `of` makes one of whatever a user passes."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

from lepton_nb.data import frames
from lepton_nb.errors import WindowError, an
from lepton_nb.windowing.sources.base import Part, Planned, Position, Rows, Source
from lepton_nb.windowing.sources.kafka_source import kafka

if TYPE_CHECKING:
    import polars as pl

__all__ = ["Part", "Planned", "Position", "Rows", "Source", "files", "iterate", "kafka", "of", "replay", "table"]

KINDS = f"a source such as sources.files(...), {frames.KINDS}, or an iterable of rows"


def table(frame: frames.Frame) -> Source:
    """The rows of a table in memory, in their order, once; any frame that lepton_nb accepts.

    A lazy frame is collected when the stream starts, the needed columns only; for files larger than memory use `files`.
    """
    from lepton_nb.windowing.sources.tables import TableSource

    return TableSource(frame)


def files(
    path: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
    *,
    follow: bool = False,
    schema: Mapping[str, pl.DataType | type[pl.DataType]] | None = None,
    channels: Literal["one", "file"] = "one",
    storage_options: Mapping[str, Any] | None = None,
) -> Source:
    """Parquet, CSV or JSON-lines files: a path, glob, folder or URL that fsspec knows, or a list of them.

    Files are read in the order of their names, folders included, and rows are expected in order of time across all
    of them, within the query's bound. Names that begin with "." or "_" are not read.

    follow: also read what comes later, until the stream is stopped: lines added to CSV and JSON-lines files (an
    unfinished last line waits for its end), and new files (a Parquet file counts once it is whole). Files may only
    be added to. Without it the source ends where the files end.
    schema: the types of columns of CSV and JSON-lines files, {"ts": pl.Datetime("us", "UTC"), ...}. Those that are not
    given are told from the start of the first file.
    channels: "file" gives each file, or each folder on the first level, a watermark of its own, and reads them side by
    side; use it where each is in order by itself.
    storage_options: passed on to fsspec, for example for a bucket.

    A line that is no JSON object, has too few or too many cells, or holds a value that is not of its column's type or
    no time, becomes a dead letter and stops nothing. Times are ISO text, UTC where no zone is named, or integers as
    milliseconds since the epoch. A CSV row is one line: a quoted cell holds no line break. Compressed CSV (.gz, .zst)
    is read a whole file at a time and cannot be followed. Raises DataError where a file is missing, cannot be read or
    has become shorter, or a column is not there.
    """
    from lepton_nb.windowing.sources.file_source import FileSource

    return FileSource(path, follow=follow, schema=schema, channels=channels, storage_options=storage_options)


def iterate(
    iterable: Iterable[Any] | Callable[[], Iterable[Any]],
    *,
    schema: Mapping[str, pl.DataType | type[pl.DataType]] | None = None,
) -> Source:
    """Rows from Python: an iterable, or a function that returns one, of dicts, of tuples in the order of `schema`, or
    of frames.

    Without `schema` the types are told from the first rows. A row that does not fit becomes a dead letter. A stream
    that is started again takes a fresh iterable and skips as many rows as were read before: it must give the same ones.
    Where the iterable waits for its next row, so does the stream, also when it is asked to stop.
    """
    from lepton_nb.windowing.sources.iterators import IterableSource

    return IterableSource(iterable, schema=schema)


def replay(frame: frames.Frame, time: str, *, speed: float = 1.0) -> Source:
    """Plays a table at `speed` times real time, in the order of its column `time`; `math.inf` plays it at once.

    The first row comes at once, each other one as long after it as its time says. Give a column other than the query's
    time, such as the time of arrival, to see rows come out of order and late. Rows without a time come first. What a
    stream computes does not depend on `speed`: the clock only says when rows come.
    """
    from lepton_nb.windowing.sources.replays import ReplaySource

    return ReplaySource(frame, time, speed=speed)


def of(thing: Any, time: str | None = None) -> Source:
    """The source that a user means: a Source itself, any frame that lepton_nb accepts, or an iterable of rows.

    Paths are read as files, not followed. `time` is the query's time column. Raises WindowError for anything else.
    """
    if isinstance(thing, Source):
        return thing
    if isinstance(thing, str | os.PathLike) or frames.paths_of(thing) is not None:
        return files(thing)
    from lepton_nb.windowing.sources.tables import is_frame

    if is_frame(thing):
        return table(thing)
    if callable(thing) or (isinstance(thing, Iterable) and not isinstance(thing, bytes | bytearray | Mapping)):
        return iterate(thing)
    raise WindowError(f"a stream reads {KINDS}, not {'None' if thing is None else an(type(thing).__name__)}")
