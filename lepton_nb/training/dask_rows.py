"""Rows of Dask collections: what is known of them before they are computed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from lepton_nb.data.frames import is_dask, part_from_pandas
from lepton_nb.data.transform import finite
from lepton_nb.errors import TrainingError
from lepton_nb.training.array_rows import divisor_of, is_pair
from lepton_nb.training.rows import Reader
from lepton_nb.training.table_rows import check_columns, require_columns

if TYPE_CHECKING:
    from distributed import Client


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
    known = part_from_pandas(data._meta).collect_schema()
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
    reader.require_shape(tuple(int(size) for size in features.shape[1:]), what)
    return _collected_arrays(features, wanted, reader, client, what)


def _collected_table(frame: Any, reader: Reader, client: Client | None, what: str) -> Collected:
    target = str(reader.target_name)
    known = part_from_pandas(frame._meta).collect_schema()
    require_columns(known.names(), reader.sources, target, what)
    if reader.transform is None:
        if not reader.names:
            raise TrainingError(f"{what} has no feature columns beside the target")
        # Dask takes columns of objects for text, whatever they hold; what they hold is seen as they are read.
        check_columns({name: known[name] for name in (*reader.names, target) if known[name] != pl.Null}, what)
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
    return int(part_from_pandas(piece).select(finite(target).is_not_null().sum()).collect().item())


def _computed(calls: Sequence[tuple[Any, ...]], client: Client | None) -> list[int]:
    """The results of calls on partitions, computed where these are."""
    from dask.base import compute
    from dask.delayed import delayed

    due = [delayed(function, pure=False)(*arguments) for function, *arguments in calls]
    if client is None:
        return list(compute(*due))
    return list(client.gather(client.compute(due)))
