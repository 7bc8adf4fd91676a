"""Rows of Dask collections, which go partition by partition into the files of the ranks' hosts: nowhere are all of them
in memory, and none pass the client."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from lepton_nb.data.frames import _part_from_pandas, is_dask
from lepton_nb.data.transform import finite
from lepton_nb.errors import TrainingError
from lepton_nb.training.array_rows import Array, divisor_of, is_pair
from lepton_nb.training.rows import Reader
from lepton_nb.training.table_rows import check_columns

if TYPE_CHECKING:
    from distributed import Client

LOOK_EVERY_S = 0.5


@dataclass(frozen=True, slots=True, eq=False)
class Collected:
    """What is known of a Dask collection before its rows are: partitions without rows are left out.

    parts: each gives a pandas frame, or (features, target); lengths: rows of each; target_shape: of one row.
    """

    parts: tuple[Any, ...]
    lengths: tuple[int, ...]
    reader: Reader
    target_shape: tuple[int, ...]

    @property
    def files(self) -> tuple[tuple[str, tuple[int, ...], str], ...]:
        """Name, shape and type of the two arrays that are written."""
        rows = sum(self.lengths)
        kept = self.reader.dtype if self.reader.divisor == 1.0 else "uint8"
        return (
            ("features", (rows, *self.reader.row_shape), kept),
            ("target", (rows, *self.target_shape), self.reader.dtype),
        )


def is_dask_data(data: Any) -> bool:
    """True for a Dask DataFrame or array, and for a pair of which one is."""
    return is_dask(data) or (is_pair(data) and any(is_dask(item) for item in data))


def collected(data: Any, target: str | None, precision: str, client: Client | None) -> Collected:
    """Rows to learn from: a Dask DataFrame with the column `target`, or (features, target). Counts them.

    Raises TrainingError for a missing target, columns that are no numbers, arrays that do not fit, and no rows.
    """
    what = "the training data"
    if is_pair(data):
        if target is not None:
            raise TrainingError(f"target={target!r} names a column, and the data are arrays; leave target out")
        features, wanted = _arrays(data, what)
        shape = tuple(int(size) for size in features.shape[1:])
        reader = Reader((), None, precision, None, shape, divisor_of(features.dtype, features.ndim))
        return _collected_arrays(features, wanted, reader, client, what)
    if not hasattr(data, "columns"):
        raise TrainingError(f"{what} is features alone; give (features, target), as in lnb.train(model, (x, y))")
    if target is None:
        raise TrainingError("which column is to be learnt? give target='its name'")
    known = _part_from_pandas(data._meta).collect_schema()
    if target not in known:
        raise TrainingError.unknown("target column", target, known.names())
    reader = Reader(tuple(name for name in known if name != target), target, precision, None)
    return _collected_table(data, reader, client, what)


def collected_like(data: Any, reader: Reader, client: Client | None, what: str) -> Collected:
    """Further rows, of the form of the training rows; `what` names them in errors."""
    if reader.shape is None:
        if not hasattr(data, "columns"):
            raise TrainingError(f"{what} are arrays, and the training rows were a table; give such a table")
        return _collected_table(data, reader, client, what)
    if not is_pair(data):
        raise TrainingError(f"{what} must be (features, target), as the training rows were; give both")
    features, wanted = _arrays(data, what)
    if tuple(features.shape[1:]) != reader.shape:
        raise TrainingError(
            f"{what} has rows of the shape {tuple(features.shape[1:])}, the training rows had {reader.shape}"
        )
    return _collected_arrays(features, wanted, reader, client, what)


def deliver(
    found: Collected, part: str, client: Client, hosts: Sequence[tuple[str, str]], wanted: Callable[[], bool]
) -> bool:
    """Write the rows into {part}_features.npy and {part}_target.npy of each host; False if they are no longer `wanted`.

    hosts: of each the address of a worker and a folder there; any worker of that host writes into it. `wanted` is
    asked every half second. Raises what a partition raises: TrainingError for rows that cannot be learnt from,
    OSError where a disk is full.
    """
    from dask.delayed import delayed
    from distributed import wait

    for address, folder in hosts:
        for name, shape, dtype in found.files:
            client.run(begin_file, folder, f"{part}_{name}", shape, dtype, workers=[address])
    numbers = delayed(_numbers, pure=False)
    made = [
        numbers(item, found.reader, rows, f"partition {number}")
        for number, (item, rows) in enumerate(zip(found.parts, found.lengths, strict=True))
    ]
    # All at once: what partitions have in common, a shuffle perhaps, is computed once.
    ready = client.compute(made)
    neighbours = {address: _neighbours(client, address) for address, _ in hosts}
    writes = []
    start = 0
    for rows in found.lengths:
        # A future that is let go of is dropped from memory as soon as it is written.
        future = ready.pop(0)
        for address, folder in hosts:
            writes.append(
                client.submit(
                    _write,
                    folder,
                    part,
                    start,
                    future,
                    workers=neighbours[address],
                    allow_other_workers=False,
                    pure=False,
                    priority=10,
                )
            )
        del future
        start += rows
    pending = set(writes)
    try:
        while pending:
            if not wanted():
                return False
            try:
                with client.as_current():
                    done, pending = wait(pending, timeout=LOOK_EVERY_S, return_when="FIRST_COMPLETED")
            except TimeoutError:
                continue
            for future in done:
                future.result()
        return True
    finally:
        if client.status == "running":
            client.cancel(list(pending), force=True)


def begin_file(folder: str, name: str, shape: tuple[int, ...], dtype: str) -> None:
    """Make {name}.npy in `folder`, of its full size, for rows that come in any order. OSError where a disk is full."""
    with Path(folder, f"{name}.npy").open("wb") as file:
        header = {"descr": np.lib.format.dtype_to_descr(np.dtype(dtype)), "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(file, header)
        file.flush()
        size = int(np.prod(shape, dtype=np.int64)) * np.dtype(dtype).itemsize
        if size:
            # A hole would be found full of nothing only when a rank reads what could not be written.
            os.posix_fallocate(file.fileno(), file.tell(), size)


def write_rows(folder: str, name: str, start: int, rows: Array) -> None:
    """Write `rows` from row `start` on into a file that `begin_file` made."""
    with Path(folder, f"{name}.npy").open("r+b") as file:
        np.lib.format.read_magic(file)
        shape, _, dtype = np.lib.format.read_array_header_1_0(file)
        if (rows.shape[1:], rows.dtype) != (shape[1:], dtype):
            raise TrainingError(f"{name} gives rows of {rows.shape[1:]} {rows.dtype}, not {shape[1:]} {dtype}")
        file.seek(start * rows[:1].nbytes, os.SEEK_CUR)
        file.write(np.ascontiguousarray(rows).data)


def _write(folder: str, part: str, start: int, rows: tuple[Array, Array]) -> None:
    for name, values in zip(("features", "target"), rows, strict=True):
        write_rows(folder, f"{part}_{name}", start, values)


def _numbers(piece: Any, reader: Reader, length: int, what: str) -> tuple[Array, Array]:
    data = tuple(piece) if reader.shape is not None else _part_from_pandas(piece)
    rows = reader.read(data, need_target=True, what=what)
    assert rows.target is not None
    if len(rows) != length:
        raise TrainingError(
            f"{what} has {len(rows):,} rows, and had {length:,} when they were counted; persist a collection that "
            "comes out otherwise each time: data = data.persist()"
        )
    return rows.features, rows.target


def _collected_table(frame: Any, reader: Reader, client: Client | None, what: str) -> Collected:
    target = str(reader.target_name)
    known = _part_from_pandas(frame._meta).collect_schema()
    names = reader.names if reader.transform is None else [column.name for column in reader.transform.columns]
    for name in (*names, target):
        if name not in known:
            raise TrainingError.unknown("column", name, known.names())
    if reader.transform is None:
        if not reader.names:
            raise TrainingError(f"{what} has no feature columns beside the target")
        # Dask takes columns of objects for text, whatever they hold; what they hold is seen as they are read.
        check_columns({name: known[name] for name in (*names, target) if known[name] != pl.Null}, what)
    parts = frame.to_delayed()
    counted = frame[[target]].to_delayed() if target in frame.columns else parts
    lengths = _computed([(_length, part, target, reader.transform is not None) for part in counted], client)
    return _with_rows(parts, lengths, reader, (), what)


def _collected_arrays(features: Any, target: Any, reader: Reader, client: Client | None, what: str) -> Collected:
    blocks, wanted = list(_blocks(features)), list(_blocks(target))
    if len(blocks) != len(wanted):
        raise TrainingError(
            f"{what}: the features come in {len(blocks)} chunks of rows, the target in {len(wanted)}, and their sizes "
            "are not known; call compute_chunk_sizes() on both"
        )
    sizes = target.chunks[0]
    known = not any(np.isnan(size) for size in sizes)
    lengths = [int(size) for size in sizes] if known else _computed([(len, block) for block in wanted], client)
    shape = tuple(int(size) for size in target.shape[1:])
    parts = list(zip(blocks, wanted, strict=True))
    return _with_rows(parts, lengths, reader, () if shape == (1,) else shape, what)


def _with_rows(
    parts: Sequence[Any], lengths: Sequence[int], reader: Reader, shape: tuple[int, ...], what: str
) -> Collected:
    filled = [(part, rows) for part, rows in zip(parts, lengths, strict=True) if rows]
    if not filled:
        raise TrainingError(f"{what} has no rows; look at the filters before it")
    return Collected(tuple(part for part, _ in filled), tuple(rows for _, rows in filled), reader, shape)


def _arrays(data: Any, what: str) -> tuple[Any, Any]:
    """Both as Dask arrays in chunks of the same rows, each with whole rows."""
    import dask.array as da

    def array(values: Any) -> Any:
        if hasattr(values, "to_dask_array"):
            return values.to_dask_array()
        return values if is_dask(values) else da.asarray(values)

    features, target = map(array, data)
    for name, values, least in (("features", features, 2), ("target", target, 1)):
        if np.dtype(values.dtype).kind not in "biuf":
            raise TrainingError(f"the {name} of {what} hold {values.dtype}, not numbers; give integers or floats")
        if values.ndim < least or any(np.isnan(size) or size == 0 for size in values.shape[1:]):
            raise TrainingError(f"the {name} of {what} have the shape {values.shape}; give (rows, ...)")
    rows, other = features.shape[0], target.shape[0]
    if not np.isnan(rows) and not np.isnan(other):
        if rows != other:
            raise TrainingError(
                f"the target of {what} has {other:,} rows, the features have {rows:,}; give one target for each row"
            )
        target = target.rechunk({0: features.chunks[0]})
    return tuple(values.rechunk(dict.fromkeys(range(1, values.ndim), -1)) for values in (features, target))


def _blocks(array: Any) -> Iterator[Any]:
    yield from array.to_delayed().reshape(-1)


def _length(piece: Any, target: str, only_known: bool) -> int:
    if not only_known:
        return len(piece)
    return int(_part_from_pandas(piece).select(finite(target).is_not_null().sum()).collect().item())


def _computed(calls: Sequence[tuple[Any, ...]], client: Client | None) -> list[int]:
    """The results of calls on partitions, computed where these are."""
    from dask.base import compute
    from dask.delayed import delayed

    due = [delayed(function, pure=False)(*arguments) for function, *arguments in calls]
    if client is None:
        return list(compute(*due))
    return list(client.gather(client.compute(due)))


def _neighbours(client: Client, address: str) -> list[str]:
    """The workers of the host of `address`, which share its disks."""
    host = address.rsplit(":", 1)[0]
    assert client.scheduler is not None
    # Client.scheduler_info may answer from before the workers came.
    workers = client.sync(client.scheduler.identity, n_workers=-1)["workers"]
    return [other for other in workers if other.rsplit(":", 1)[0] == host] or [address]
