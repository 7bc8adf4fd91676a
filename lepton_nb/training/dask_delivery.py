"""Rows of Dask collections on their way, partition by partition, into the files of the ranks' hosts: nowhere are all of
them in memory, and none pass the client."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from lepton_nb.data.frames import part_from_pandas
from lepton_nb.errors import TrainingError
from lepton_nb.training.array_rows import Array
from lepton_nb.training.dask_rows import Collected
from lepton_nb.training.futures import drop
from lepton_nb.training.rows import Reader

if TYPE_CHECKING:
    from distributed import Client, Future

LOOK_EVERY_S = 0.5


def deliver(
    found: Collected, part: str, client: Client, hosts: Sequence[tuple[str, str]], wanted: Callable[[], bool]
) -> bool:
    """Write the rows into {part}_features.npy and {part}_target.npy of each host; False if that came to nothing.

    hosts: of each the address of a worker and a folder there; any worker of that host writes into it. `wanted` is
    asked every half second whether to go on; where a folder or a worker is gone, so is what the rows were for. Raises
    TrainingError for rows that cannot be learnt from, partitions that cannot be computed and disks that are full.
    """
    try:
        for address, folder in hosts:
            for name, shape, dtype in found.files:
                client.run(begin_file, folder, f"{part}_{name}", shape, dtype, workers=[address])
        return _all_done(client, _written(found, part, client, hosts), wanted)
    except TrainingError:
        raise
    except OSError as error:
        if error.errno in (None, errno.ENOENT):
            return False
        needed = sum(int(np.prod(shape)) * np.dtype(dtype).itemsize for _, shape, dtype in found.files)
        raise TrainingError(
            f"the rows cannot be written into a folder of each host's ranks: {error.strerror}; they take "
            f"{needed / 2**20:,.0f} MiB"
        ) from error
    except Exception as error:
        if client.status != "running":
            raise
        raise TrainingError(f"a partition of the Dask collection cannot be computed: {error!r}") from error


def _written(found: Collected, part: str, client: Client, hosts: Sequence[tuple[str, str]]) -> set[Future[None]]:
    """A task for each partition and host that writes its rows."""
    from dask.delayed import delayed

    numbers = delayed(_numbers, pure=False)
    made = [
        numbers(item, found.reader, rows, f"partition {number}")
        for number, (item, rows) in enumerate(zip(found.parts, found.lengths, strict=True))
    ]
    # All at once: what partitions have in common, a shuffle perhaps, is computed once.
    ready = client.compute(made)
    neighbours = {address: _neighbours(client, address) for address, _ in hosts}
    writes = set()
    start = 0
    for rows in found.lengths:
        # A future that is let go of is dropped from memory as soon as it is written.
        future = ready.pop(0)
        for address, folder in hosts:
            writes.add(
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
        # By hand: what hold of it there is else would only be collected as garbage.
        future.release()
        start += rows
    return writes


def _all_done(client: Client, pending: set[Future[None]], wanted: Callable[[], bool]) -> bool:
    from distributed import wait

    every = tuple(pending)
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
        drop(client, every)


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
    data = tuple(piece) if reader.shape is not None else part_from_pandas(piece)
    rows = reader.read(data, need_target=True, what=what)
    assert rows.target is not None
    if len(rows) != length:
        raise TrainingError(
            f"{what} has {len(rows):,} rows, and had {length:,} when they were counted; persist a collection that "
            "comes out otherwise each time: data = data.persist()"
        )
    return rows.features, rows.target


def _neighbours(client: Client, address: str) -> list[str]:
    """The workers of the host of `address`, which share its disks."""
    host = address.rsplit(":", 1)[0]
    assert client.scheduler is not None
    # Client.scheduler_info may answer from before the workers came.
    workers = client.sync(client.scheduler.identity, n_workers=-1)["workers"]
    return [other for other in workers if other.rsplit(":", 1)[0] == host] or [address]
