"""How the rows of a run reach its ranks: laid into a file on each host, read there from Parquet, or sent by Dask."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from lepton_nb.data.frames import PARQUET, lazy, paths_of, schema
from lepton_nb.data.memory import available_bytes
from lepton_nb.data.prepared_stream import PreparedStream
from lepton_nb.data.row_groups import RowGroupReader, RowGroups
from lepton_nb.errors import DataError, TrainingError
from lepton_nb.training import dask_delivery, dask_rows
from lepton_nb.training.array_rows import Array
from lepton_nb.training.batches import TargetFacts
from lepton_nb.training.parquet_source import Columns, ParquetSource, PreparedColumns
from lepton_nb.training.rows import Reader, Rows, check_target_name, training_rows
from lepton_nb.training.table_rows import require_columns

if TYPE_CHECKING:
    from distributed import Client

# A table is streamed when its numbers would take more than this share of the memory that is left.
SHARE_OF_MEMORY = 0.25

Deliver: TypeAlias = "Callable[[Client, Sequence[tuple[str, str]], Callable[[], bool]], bool]"


@dataclass(frozen=True, slots=True, eq=False)
class Feed:
    """How the rows of one part ("train" or "validation") reach the ranks.

    rows: of all ranks; reader: how later rows are read alike; arrays: written on each host, by the names of their files
    without ".npy"; deliver: where there is one, it writes the rest. It is called with the cluster's client, the address
    of a worker and the folder there for each host, and a function that tells whether the rows are still wanted; it
    returns True when they are written, False once they are not wanted. note: how the rows reach the ranks and why, for
    people.
    """

    rows: int
    reader: Reader
    arrays: Mapping[str, Array]
    note: str
    deliver: Deliver | None = None

    def __len__(self) -> int:
        return self.rows

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of one row's features."""
        return self.reader.row_shape


def feed(
    data: Any,
    target: str | None,
    precision: str,
    *,
    part: str = "train",
    stream: bool | None = None,
    client: Client | None = None,
) -> Feed:
    """The rows to learn from.

    data: what `lnb.prepare` returned; any frame, of which the column `target` is learnt; or (features, target), NumPy
        or Dask arrays: features (rows, ...), target (rows,) or (rows, steps). uint8 arrays of three dimensions or more
        are images, (rows, height, width, channels): they travel as uint8, and the model gets them divided by 255.
    stream: True reads Parquet while it is learnt from, each rank its own row groups; False loads it; None streams
        paths to Parquet whose numbers would take more than a quarter of the memory that is left.
    client: the client of the cluster that is to count the rows of a Dask collection; Dask's own default if None.

    Raises TrainingError for what `training_rows` refuses, and for stream=True with rows that are not in Parquet files.
    """
    if dask_rows.is_dask_data(data):
        _refuse(stream, "Dask collections go to the hosts of the ranks by themselves")
        return _dask_feed(dask_rows.collected(data, target, precision, client), part)
    if isinstance(data, PreparedStream):
        check_target_name(data, target)
        reader = Reader(data.feature_names, data.target, precision, data.transform)
        return _prepared(data, reader, part)
    groups, note = _row_groups(data, precision, stream, None)
    if groups is None:
        rows, reader = training_rows(data, target, precision)
        return _whole(rows, reader, part, note)
    if target is None:
        raise TrainingError("which column is to be learnt? give target='its name'")
    names = schema(lazy(data)).names()
    if target not in names:
        raise TrainingError.unknown("target column", target, names)
    reader = Reader(tuple(name for name in names if name != target), target, precision, None)
    return _streamed(groups, reader, part, note)


def later_feed(
    reader: Reader,
    data: Any,
    *,
    part: str = "validation",
    stream: bool | None = None,
    client: Client | None = None,
    what: str = "the validation data",
) -> Feed:
    """Further rows, with their target, of the form of the training rows, which `reader` knows; see `feed`.

    stream: as of `feed`; what is not in files is not streamed, whatever it says.
    Raises TrainingError for what `Reader.read` refuses.
    """
    if dask_rows.is_dask_data(data):
        return _dask_feed(dask_rows.collected_like(data, reader, client, what), part)
    if isinstance(data, PreparedStream):
        reader.check_preparation(data, need_target=True, what=what)
        return _prepared(data, reader, part)
    if paths_of(data) is None:
        stream = None
    elif reader.shape is None:
        require_columns(schema(lazy(data)).names(), reader.sources, reader.target_name, what)
    groups, note = _row_groups(data, reader.dtype, stream, [*reader.names, str(reader.target_name)])
    if groups is None:
        return _whole(reader.read(data, need_target=True, what=what), reader, part, note)
    return _streamed(groups, reader, part, note)


def target_facts(parts: Iterable[Array]) -> TargetFacts:
    """What is known of target values (rows, ...) that come in parts, one row at least: as of the whole."""
    found: TargetFacts | None = None
    for part in parts:
        if len(part):
            facts = TargetFacts.of(part)
            found = facts if found is None else _both(found, facts)
    if found is None:
        raise TrainingError("there are no rows; look at the filters before it")
    return found


def _both(one: TargetFacts, other: TargetFacts) -> TargetFacts:
    counts = None
    if one.counts is not None and other.counts is not None:
        sums = np.zeros(max(len(one.counts), len(other.counts)), np.int64)
        for part in (one.counts, other.counts):
            sums[: len(part)] += part
        counts = tuple(sums.tolist())
    return TargetFacts(
        one.shape,
        min(one.lowest, other.lowest),
        max(one.highest, other.highest),
        other.strange if one.strange is None else one.strange,
        other.fraction if one.fraction is None else one.fraction,
        counts,
    )


def _whole(rows: Rows, reader: Reader, part: str, note: str) -> Feed:
    assert rows.target is not None
    arrays = {f"{part}_features": rows.features, f"{part}_target": rows.target} | _divisor(reader, part)
    return Feed(len(rows), reader, arrays, note or f"{len(rows):,} rows in memory")


def _divisor(reader: Reader, part: str) -> dict[str, Array]:
    """What the ranks divide images by; its type is that of the result."""
    return {} if reader.divisor == 1.0 else {f"{part}_divisor": np.array([reader.divisor], reader.dtype)}


def _dask_feed(found: dask_rows.Collected, part: str) -> Feed:
    reader, rows = found.reader, sum(found.lengths)
    note = f"{rows:,} rows in {len(found.lengths)} Dask partitions, sent to the ranks' hosts one by one"

    def deliver(client: Client, hosts: Sequence[tuple[str, str]], wanted: Callable[[], bool]) -> bool:
        return dask_delivery.deliver(found, part, client, hosts, wanted)

    return Feed(rows, reader, _divisor(reader, part), note, deliver)


def _refuse(stream: bool | None, why: str) -> None:
    if stream:
        raise TrainingError(f"stream=True reads Parquet files while they are learnt from; {why}; leave stream out")


def _row_groups(
    data: Any, precision: str, stream: bool | None, columns: Sequence[str] | None
) -> tuple[RowGroups | None, str]:
    """The row groups to stream, None to load; and in words what was chosen and why. columns: None for all."""
    paths = paths_of(data)
    if paths is None:
        _refuse(stream, f"a {type(data).__name__} is in memory or not in files; write it to Parquet and give the path")
        return None, ""
    if not stream and (stream is False or not _looks_like_parquet(paths)):
        return None, "read into memory"
    try:
        names = schema(lazy(data)).names() if columns is None else columns
        groups = RowGroups.of(paths, names)
    except DataError as error:
        if stream:
            raise TrainingError(str(error), **error.facts) from error
        return None, "read into memory, as its row groups cannot be read one by one"
    needed = sum(groups.rows) * len(names) * np.dtype(precision).itemsize
    left = available_bytes()
    size = f"{sum(groups.rows):,} rows, {_gigabytes(needed)} as numbers"
    if stream:
        return groups, f"streamed from Parquet, as asked: {size}"
    if needed > SHARE_OF_MEMORY * left:
        return groups, f"streamed from Parquet: {size}, are more than a quarter of the {_gigabytes(left)} left"
    return None, f"read into memory: {size}, of the {_gigabytes(left)} left"


def _looks_like_parquet(paths: Sequence[Any]) -> bool:
    """False for other files and URLs. A folder or a glob may hold anything; that is seen when it is looked into."""
    names = [os.fspath(path) for path in paths]
    return not any("://" in name or (os.path.isfile(name) and not name.lower().endswith(PARQUET)) for name in names)


def _gigabytes(size_bytes: float) -> str:
    return f"{size_bytes / 1e9:.3g} GB"


def _streamed(groups: RowGroups, reader: Reader, part: str, note: str) -> Feed:
    assert reader.target_name is not None
    columns = Columns(reader.names, reader.target_name, reader.dtype)
    if not sum(groups.rows):
        raise TrainingError("the Parquet files have no rows; look at what wrote them")
    return _read_by_ranks(groups, columns, groups.rows, reader, part, note)


def _prepared(data: PreparedStream, reader: Reader, part: str) -> Feed:
    note = f"streamed from Parquet, as it was prepared: {len(data):,} rows"
    return _read_by_ranks(data.groups, PreparedColumns(data), data.sizes, reader, part, note)


def _read_by_ranks(
    groups: RowGroups,
    columns: Columns | PreparedColumns,
    sizes: tuple[int, ...],
    reader: Reader,
    part: str,
    note: str,
) -> Feed:
    try:
        facts = target_facts(_targets(groups, columns, sizes))
    except DataError as error:
        raise TrainingError(str(error), **error.facts) from error
    source = ParquetSource(groups, columns, facts, sizes)
    # Columns that cannot be learnt from are seen now rather than on a rank.
    source.head(1)
    return Feed(len(source), reader, {f"{part}_source": source.values()}, note)


def _targets(groups: RowGroups, columns: Columns | PreparedColumns, sizes: tuple[int, ...]) -> Iterator[Array]:
    """The target of one row group after the other."""
    with RowGroupReader(groups) as reader:
        for group, rows in enumerate(sizes):
            if rows:
                table = reader.read(group, columns.target_read)
                yield columns.targets(table, group, reader.name(group))
