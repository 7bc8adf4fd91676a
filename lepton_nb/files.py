"""Files that are there whole or not at all, also after the power has failed."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path


def write_whole(file: Path, content: Iterable[bytes], *, durable: bool = True, unfinished: Path | None = None) -> None:
    """Write `content` into `file`, in the place of what is there.

    unfinished: where it grows, in the same folder; `file`.part by default. It is removed where the writing fails.
    durable: wait until the disk has it. Raises OSError.
    """
    part = file.with_name(f"{file.name}.part") if unfinished is None else unfinished
    try:
        with part.open("wb") as stream:
            for piece in content:
                stream.write(piece)
        move(part, file, durable=durable)
    except OSError:
        part.unlink(missing_ok=True)
        raise


def move(unfinished: Path, file: Path, *, durable: bool = True) -> None:
    """Put a finished file into the place of `file`, in the same folder. Raises OSError."""
    if durable:
        sync(unfinished)
    os.replace(unfinished, file)
    if durable:
        sync(file.parent)


def sync(path: Path) -> None:
    """Force a file, or the entries of a folder, to the disk. Raises OSError."""
    opened = os.open(path, os.O_RDONLY)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)
