"""A file that grows by whole pieces: a piece is in it, or it is not."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path


class GrowingFile:
    """Adds pieces at the end of `path`, which is open only meanwhile; each is with the operating system at once.

    A piece that cannot be written, or only a part of it, leaves the file as it was, and goes in front of the next one.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._unwritten = b""

    def add(self, piece: bytes) -> None:
        """Write what could not be written before, and `piece`; OSError where that fails again."""
        self._unwritten += piece
        if not self._unwritten:
            return
        self.path.parent.mkdir(parents=True, exist_ok=True)
        file = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o666)
        try:
            before = os.fstat(file).st_size
            try:
                _write(file, self._unwritten)
            except OSError:
                with contextlib.suppress(OSError):  # a device cannot be cut; the first error is the one to tell
                    os.ftruncate(file, before)
                raise
        finally:
            os.close(file)
        self._unwritten = b""


def _write(file: int, data: bytes) -> None:
    left = memoryview(data)
    while left:
        left = left[os.write(file, left) :]
