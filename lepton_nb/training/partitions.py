"""Predictions for a table that is too large for one place: made where its partitions are, and gathered nowhere."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import tempfile
import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from lepton_nb.data import frames
from lepton_nb.errors import ClusterError, TrainingError
from lepton_nb.training import partition_tasks
from lepton_nb.training.futures import drop
from lepton_nb.training.partition_scans import scans
from lepton_nb.training.partition_tasks import PREDICTION, Columns, Parcel
from lepton_nb.training.rows import Rows
from lepton_nb.training.table_rows import require_columns

if TYPE_CHECKING:
    from dask.dataframe import DataFrame as DaskFrame
    from distributed import Client

    from lepton_nb.cluster.session import Cluster
    from lepton_nb.data.frames import Frame
    from lepton_nb.training.trained import Trained

_PART = re.compile(r"part-\d{6,}\.parquet")


def predict_partitions(
    trained: Trained,
    data: Frame,
    cluster: Cluster | Client | None = None,
    *,
    to: str | os.PathLike[str] | None = None,
    keep: Sequence[str] = (),
    overwrite: bool = False,
) -> DaskFrame | pl.LazyFrame:
    """Predictions for every row of `data`, in its order, made on the workers.

    Without `to`, `data` is a Dask DataFrame, and so is the result: lazy, with the partitions and the index of `data`.
    Nothing is computed yet, and whatever computes it (`cluster.client.compute(result)`) is the place where it happens;
    `cluster` is not needed.

    With `to`, a folder, the workers of `cluster` write Parquet files there, a file for each partition, and the result
    is a Polars LazyFrame that scans them. `data` is any frame: Dask DataFrame, path, glob or URL, Polars LazyFrame
    (one over Parquet files is read by all workers in parts if it selects, filters and computes row by row; another
    is computed by one worker), or a frame in memory, whose rows travel. The workers must see `to`, and files that
    `data` names, under the same paths. The folder appears when all is written, or not at all; `overwrite` says to put
    it in the place of an older one.

    Columns: `keep`, columns of `data` that are carried along, then "prediction" (Float64) with the probability of 1
    (binary) or the value (regression), or for k classes the probabilities "prediction_0" to "prediction_{k-1}".

    Raises TrainingError or DataError for data that `Trained.predict` refuses (what a worker finds names the
    partition), ClusterError where the cluster cannot do its part.
    """
    from lepton_nb.training.trained import Trained

    if not isinstance(trained, Trained):
        raise TrainingError(
            f"a {type(trained).__name__} cannot predict; give a finished run's model, or lnb.load(path)"
        )
    if trained.reader.shape is not None:
        raise TrainingError("the training rows were arrays, and partitions are of tables; call predict(features)")
    if isinstance(keep, str):
        raise TrainingError(f"keep={keep!r} is one name; give a list, such as [{keep!r}]")
    predictions = _prediction_names(trained)
    taken = [name for name in keep if name in predictions]
    if taken:
        raise TrainingError(f"keep has {taken[0]!r}, which is the name of a prediction; rename the column first")
    if to is None:
        if not frames.is_dask(data):
            raise TrainingError(
                "where shall the workers write the predictions? give to='folder' (Parquet files); or leave the cluster "
                "out to get an array"
            )
        return _lazily(trained, data, tuple(keep), predictions)
    folder = _place(to, overwrite)
    if cluster is None:
        raise TrainingError("to='folder' is written by workers; give their cluster: cluster=lnb.Cluster(workers=2)")
    client, threads = _client_of(cluster)
    with _closing_errors(), _unfinished(folder) as made:
        _write_all(client, threads, trained, data, tuple(keep), predictions, made)
        _publish(made, folder)
    return frames.lazy(folder)


def _prediction_names(trained: Trained) -> tuple[str, ...]:
    if trained.task != "multiclass":
        return (PREDICTION,)
    shape = (1, *trained.reader.row_shape)
    row = Rows(np.zeros(shape, trained.reader.dtype), None, trained.reader.names, None)
    return tuple(f"{PREDICTION}_{number}" for number in range(trained._outputs(row).shape[1]))


def _needed(trained: Trained, known: Sequence[str], keep: Sequence[str]) -> list[str]:
    """The columns to read. Raises TrainingError, and for those of `keep` DataError, where one is not there."""
    require_columns(known, trained.reader.sources, None, "the data")
    return frames.present(known, dict.fromkeys([*trained.reader.sources, *keep]))


def _lazily(trained: Trained, data: Any, keep: tuple[str, ...], predictions: tuple[str, ...]) -> DaskFrame:
    import pandas as pd
    from dask.delayed import delayed

    part, columns = _read_part(trained, data, keep, predictions)
    parcel = partition_tasks.pack(trained)
    numbers = pd.DataFrame(columns=list(predictions), index=part._meta.index, dtype="float64")
    meta = pd.concat([part._meta[list(keep)], numbers], axis=1)
    # One task holds the model; a worker that needs it fetches it once.
    held = delayed(parcel, name=f"lepton-nb-model-{parcel.digest}", traverse=False)
    found: DaskFrame = part.map_partitions(
        partition_tasks.predict_pandas, held, columns, data.npartitions, meta=meta, align_dataframes=False
    )
    return found


def _read_part(trained: Trained, data: Any, keep: tuple[str, ...], predictions: tuple[str, ...]) -> tuple[Any, Columns]:
    """The columns of a Dask DataFrame that are needed, and those of the result."""
    index = [data.index.name] if data.index.name is not None else []
    frames.present(list(data.columns), keep)
    needed = _needed(trained, [*data.columns, *index], keep)
    part = data[[name for name in needed if name in data.columns]]
    # Two invented rows tell the types, which an empty column does not; of objects nothing does.
    invented = part._meta_nonempty[list(keep)]
    objects = [name for name in keep if invented[name].dtype == object]
    schema = dict(frames.schema(frames.eager(invented.drop(columns=objects).reset_index(drop=True))))
    return part, Columns(pl.Schema({name: schema.get(name, pl.String()) for name in keep}), predictions)


def _write_all(
    client: Any,
    threads: int,
    trained: Trained,
    data: Any,
    keep: tuple[str, ...],
    predictions: tuple[str, ...],
    folder: Path,
) -> None:
    futures: list[Any] = []
    try:
        if frames.is_dask(data):
            data, columns = _read_part(trained, data, keep, predictions)
            parts = frames.partitions(data, 1)
        else:
            parts, schema = scans(data, threads, client)
            needed = _needed(trained, schema.names(), keep)
            parts = [part.select(needed) for part in parts]
            columns = Columns(pl.Schema({name: schema[name] for name in keep}), predictions)
        parcel = _hold(client, partition_tasks.pack(trained))
        futures.append(parcel)
        send = _sender(client, parcel, columns, folder, len(parts))
        writes = [send(part, number) for number, part in enumerate(parts)]
        futures += writes
        client.gather(writes)
    finally:
        # Also after Ctrl-C or an error in one partition: the others must not go on.
        drop(client, futures)


def _hold(client: Any, parcel: Parcel) -> Any:
    """The parcel as the result of a task, from which each worker fetches it once.

    Unlike scattered data it can be had again when the workers that held it have died.
    """
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Sending large graph", category=UserWarning)
        return client.submit(partition_tasks.hold, parcel, pure=False)


def _sender(client: Any, parcel: Any, columns: Columns, folder: Path, total: int) -> Callable[[Any, int], Any]:
    """A function that has a worker write the partition it is given, and returns the future."""
    from dask.delayed import Delayed, delayed

    def send(part: Any, number: int) -> Any:
        arguments = (parcel, columns, folder, number, total)
        if isinstance(part, Delayed):
            # One task with the reading: a partition is let go of as soon as it is predicted.
            return client.compute(delayed(partition_tasks.write)(part, *arguments))
        return client.submit(partition_tasks.write, part, *arguments, pure=False)

    return send


def _client_of(cluster: Any) -> tuple[Any, int]:
    """The client of a cluster, and its threads. Raises ClusterError where it cannot compute."""
    from distributed import Client

    client = getattr(cluster, "client", cluster)
    if not isinstance(client, Client):
        raise ClusterError(
            f"cluster must be an lnb.Cluster or a distributed.Client, not {client!r}; start one with lnb.Cluster(...)"
        )
    if client.status != "running":
        raise ClusterError("the cluster is closed; start one with lnb.Cluster(...)")
    threads = sum(client.nthreads().values())
    if not threads:
        raise ClusterError("the cluster has no workers; call cluster.scale(2)")
    return client, int(threads)


def _place(to: str | os.PathLike[str], overwrite: bool) -> Path:
    """The folder to write. Raises TrainingError where something stands that it may not take the place of."""
    if "://" in os.fspath(to):
        raise TrainingError(f"to={os.fspath(to)!r} is a URL; give a folder that all workers see")
    folder = Path(to).absolute()
    if not folder.exists():
        return folder
    ours = folder.is_dir() and all(_PART.fullmatch(path.name) for path in folder.iterdir())
    if not (ours and overwrite):
        advice = ", or say overwrite=True" if ours else ", this holds other things than predictions"
        raise TrainingError(f"{folder} exists; choose another folder{advice}", path=str(folder))
    return folder


@contextlib.contextmanager
def _unfinished(folder: Path) -> Iterator[Path]:
    """A folder beside `folder` to write into, gone in the end, also where workers are still writing into it."""
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        outer = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
        made = outer / "made"
        made.mkdir()
    except OSError as error:
        raise TrainingError(f"{folder} cannot be written: {error.strerror}", path=str(folder)) from error
    try:
        yield made
    finally:
        # Under another name no worker adds to it, and it can be emptied.
        with contextlib.suppress(FileNotFoundError):
            os.replace(made, outer / "gone")
        shutil.rmtree(outer, ignore_errors=True)


def _publish(made: Path, folder: Path) -> None:
    for path in made.iterdir():
        if not _PART.fullmatch(path.name):  # of a worker that was lost
            path.unlink()
    old = made.parent / "old"
    if folder.exists():
        os.replace(folder, old)
    try:
        os.replace(made, folder)
    except OSError:
        if old.exists():
            os.replace(old, folder)
        raise


@contextlib.contextmanager
def _closing_errors() -> Iterator[None]:
    """Errors of the cluster and the file system as ours."""
    from distributed import CancelledError
    from distributed.comm.core import CommClosedError
    from distributed.scheduler import KilledWorker

    try:
        yield
    except (CancelledError, CommClosedError, KilledWorker) as error:
        raise ClusterError(
            f"a worker died while it predicted its partition ({error}); call it again, "
            "and if that fails too, give the workers more memory: lnb.Cluster(memory=...)"
        ) from error
    except OSError as error:
        raise TrainingError(
            f"the predictions cannot be written: {error.strerror or error}; every worker must see the folder under the "
            "same path"
        ) from error
