"""What a worker does to predict one partition of a large table. The model reaches a worker once, and is built once."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import os
import threading
import uuid
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cloudpickle
import numpy as np
import polars as pl

from lepton_nb.data.frames import eager
from lepton_nb.data.transform import NumberColumn
from lepton_nb.errors import DataError, LeptonError, TrainingError
from lepton_nb.training.trained import PREDICTION_BATCH, Trained

if TYPE_CHECKING:
    import pandas

# Rows in memory at a time; whole batches, so that rows meet the model in the company they have in `Trained.predict`.
CHUNK_ROWS = 8 * PREDICTION_BATCH
MOST_MODELS = 2
PREDICTION = "prediction"


@dataclass(frozen=True, slots=True)
class Parcel:
    """A trained model on its way to the workers; `digest` names it there."""

    digest: str
    content: bytes


@dataclass(frozen=True, slots=True)
class Columns:
    """The columns of a result: `keep` of the data with their types, then `predictions`, Float64."""

    keep: pl.Schema
    predictions: tuple[str, ...]

    @property
    def schema(self) -> pl.Schema:
        """All of them."""
        return pl.Schema({**self.keep, **dict.fromkeys(self.predictions, pl.Float64())})


# What this process has built, the last used at the end.
_models: OrderedDict[str, Trained] = OrderedDict()
_lock = threading.Lock()


def pack(trained: Trained) -> Parcel:
    """`trained` without its history and the rows that it knows. Raises TrainingError where it cannot be sent."""
    bare = dataclasses.replace(trained, history=pl.DataFrame(), steps=pl.DataFrame(), facts={}, known=None, _model=None)
    try:
        content: bytes = cloudpickle.dumps(bare)
    except Exception as error:  # whatever the parts of the model raise
        raise TrainingError(
            f"the model cannot be sent to the workers: {error}; give a function that builds it there, "
            "and open files, locks and the like inside of it"
        ) from error
    return Parcel(hashlib.sha256(content).hexdigest(), content)


def unpack(parcel: Parcel) -> Trained:
    """The model, built when this process first meets it. Raises TrainingError where it cannot be built here."""
    with _lock:
        found = _models.pop(parcel.digest, None)
        if found is None:
            try:
                found = cloudpickle.loads(parcel.content)
                _ = found.model
            except LeptonError:
                raise
            except Exception as error:  # whatever building the model raises
                raise TrainingError(
                    f"a worker cannot build the model: {error}; what it is made of must be there on every worker"
                ) from error
        _models[parcel.digest] = found
        while len(_models) > MOST_MODELS:
            _models.popitem(last=False)
    return found


def hold(parcel: Parcel) -> Parcel:
    """The parcel, on a worker."""
    return parcel


def models_held() -> list[str]:
    """The digests of the models that this process holds."""
    return list(_models)


def predict(trained: Trained, table: pl.DataFrame, columns: Columns) -> pl.DataFrame:
    """The result for the rows of `table`, which may be none."""
    if table.height == 0:
        return pl.DataFrame(schema=columns.schema)
    found = trained.predict(_settled(table, trained))
    matrix = found.reshape(table.height, len(columns.predictions))
    values = [pl.Series(name, np.ascontiguousarray(matrix[:, at])) for at, name in enumerate(columns.predictions)]
    return _kept(table, columns.keep).with_columns(values) if columns.keep else pl.DataFrame(values)


def predict_pandas(
    part: pandas.DataFrame,
    parcel: Parcel,
    columns: Columns,
    total: int,
    partition_info: dict[str, Any] | None = None,
) -> pandas.DataFrame:
    """The result for a partition of a Dask DataFrame, with its index. Dask gives `partition_info`."""
    import pandas as pd

    trained = unpack(parcel)
    number = None if partition_info is None else partition_info["number"]
    with _named(number, total):
        found = predict(trained, eager(part), Columns(pl.Schema(), columns.predictions))
    made = pd.DataFrame({name: found[name].to_numpy() for name in columns.predictions}, index=part.index)
    return pd.concat([part[list(columns.keep)], made], axis=1)


def write(part: pl.LazyFrame, parcel: Parcel, columns: Columns, folder: Path, number: int, total: int) -> int:
    """Write the result for a partition into `folder`, and return its rows. It is in memory in chunks alone."""
    import pyarrow.parquet as pq

    schema = pl.DataFrame(schema=columns.schema).to_arrow().schema
    # A task whose worker was given up may still be running beside its second try.
    unfinished = folder / f".{number}-{uuid.uuid4().hex}"
    rows = 0
    with _named(number, total):
        trained = unpack(parcel)
        with pq.ParquetWriter(unfinished, schema, compression="zstd") as writer:
            for chunk in _chunks(part):
                with _rows_told(rows, chunk.height):
                    writer.write_table(predict(trained, chunk, columns).to_arrow().cast(schema))
                rows += chunk.height
    os.replace(unfinished, folder / file_name(number))
    return rows


def file_name(number: int) -> str:
    """The file of a partition; the names sort as the partitions do."""
    return f"part-{number:06d}.parquet"


def height(frame: pl.LazyFrame) -> int:
    """How many rows it has."""
    return int(frame.select(pl.len()).collect(engine="streaming").item())


def _chunks(part: pl.LazyFrame) -> Iterator[pl.DataFrame]:
    try:
        yield from part.collect_batches(chunk_size=CHUNK_ROWS, maintain_order=True)
    except pl.exceptions.PolarsError as error:
        raise DataError(f"the table cannot be read: {error}") from error


def _settled(table: pl.DataFrame, trained: Trained) -> pl.DataFrame:
    """A partition in which a column of numbers has no value at all does not tell that these are numbers."""
    transform = trained.reader.transform
    numbers = [] if transform is None else [one.name for one in transform.columns if isinstance(one, NumberColumn)]
    hollow = [name for name in numbers if name in table.columns and table[name].null_count() == table.height]
    return table.with_columns(pl.lit(None, pl.Float64).alias(name) for name in hollow) if hollow else table


def _kept(table: pl.DataFrame, keep: pl.Schema) -> pl.DataFrame:
    try:
        return table.select(list(keep)).cast(keep)
    except pl.exceptions.PolarsError as error:
        raise DataError(f"the kept columns are of other types than in the rest of the table: {error}") from error


@contextlib.contextmanager
def _named(number: int | None, total: int) -> Iterator[None]:
    """Errors tell the partition, counted from 0 as Dask does."""
    where = "a partition" if number is None else f"partition {number} (of {total}, counted from 0)"
    try:
        yield
    except LeptonError as error:
        raise type(error)(f"{where}: {error.message}", **{**error.facts, "partition": number}) from error
    except Exception as error:
        error.add_note(f"This happened in {where}.")
        raise


@contextlib.contextmanager
def _rows_told(start: int, count: int) -> Iterator[None]:
    """Errors tell the rows too, where a partition has more than one chunk of them."""
    try:
        yield
    except LeptonError as error:
        if start == 0 and count < CHUNK_ROWS:
            raise
        raise type(error)(
            f"among its rows {start:,} to {start + count - 1:,}, {error.message}", **error.facts
        ) from error
