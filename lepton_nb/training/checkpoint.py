"""Checkpoints of a training run as files: each is there whole or not at all, and nothing in it is executed.

A folder holds the last few, step-NNNNNNNNNN.ckpt by optimizer step, and best.ckpt, the one with the lowest validation
loss. A file is a mark, a checksum, and what the framework's loop packed.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import warnings
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars as pl

from lepton_nb.errors import TrainingError
from lepton_nb.files import write_whole

MAGIC = b"lepton-nb training 1\n"
BEST = "best.ckpt"
DIGEST_BYTES = 16


class Store:
    """Writes checkpoints into `folder`, which is made, and keeps the last `keep` of them."""

    def __init__(self, folder: Path, keep: int) -> None:
        self._folder = folder
        self._keep = keep
        with _told(folder):
            folder.mkdir(parents=True, exist_ok=True)
            # What a kill left half-written.
            for part in folder.glob("*.ckpt.part"):
                part.unlink()

    def save(self, step: int, content: bytes, *, best: bool) -> None:
        """Write the checkpoint of one step, and the best one, then let the oldest go.

        Raises TrainingError where it cannot be written; the earlier ones stay.
        """
        with _told(self._folder):
            _write(self._folder / f"step-{step:010d}.ckpt", content)
            if best:
                _write(self._folder / BEST, content)
            for old in steps(self._folder)[: -self._keep]:
                old.unlink(missing_ok=True)


def steps(folder: Path) -> list[Path]:
    """The checkpoints of a folder but for the best one, oldest first."""
    return sorted(folder.glob("step-*.ckpt"))


def newest(path: str | os.PathLike[str]) -> bytes:
    """What the checkpoint `path` holds, or the newest undamaged one of the folder `path`.

    Raises TrainingError where there is none. Warns of a newer one that is damaged.
    """
    path = Path(path)
    if not path.is_dir():
        return read(path)
    for file in reversed(steps(path)):
        try:
            return read(file)
        except TrainingError as error:
            warnings.warn(f"{error}; the one before is tried", RuntimeWarning, stacklevel=2)
    if steps(path):
        raise TrainingError(
            f"all checkpoints in {path} are damaged; give another folder, or start anew without resume", path=str(path)
        )
    raise TrainingError(
        f"{path} holds no checkpoint to resume from; give the folder that checkpoint= named in the run before",
        path=str(path),
    )


def read(file: Path) -> bytes:
    """What was packed into a checkpoint. Raises TrainingError where it is missing, damaged, or something else."""
    try:
        content = file.read_bytes()
    except OSError as error:
        raise TrainingError(f"the checkpoint {file} cannot be read: {error.strerror}", path=str(file)) from error
    packed = content[len(MAGIC) + DIGEST_BYTES :]
    if content[: len(MAGIC)] != MAGIC or content[len(MAGIC) : -len(packed) or None] != _digest(packed):
        raise TrainingError(f"{file} is no checkpoint of lepton_nb, or it is damaged", path=str(file))
    return packed


def _digest(packed: bytes) -> bytes:
    return hashlib.blake2b(packed, digest_size=DIGEST_BYTES).digest()


def _write(file: Path, packed: bytes) -> None:
    write_whole(file, [MAGIC, _digest(packed), packed])


@contextlib.contextmanager
def _told(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise TrainingError(
            f"a checkpoint cannot be written into {folder}: {error.strerror}; free some space there, or choose another "
            "folder with checkpoint=...; what was written before is still there",
            path=str(folder),
        ) from error


def listing(folder: str | os.PathLike[str] | None) -> pl.DataFrame:
    """The checkpoints in a folder, oldest first, the best one last: name, size_bytes, written_at (UTC).

    Empty where there is no such folder.
    """
    rows = []
    for file in [*steps(Path(folder)), Path(folder) / BEST] if folder is not None else []:
        # One may go while the others are looked at.
        with contextlib.suppress(OSError):
            told = file.stat()
            rows.append((file.name, told.st_size, datetime.fromtimestamp(told.st_mtime, UTC)))
    schema: dict[str, Any] = {"name": pl.String, "size_bytes": pl.Int64, "written_at": pl.Datetime("us", "UTC")}
    return pl.DataFrame(rows, schema=schema, orient="row")
