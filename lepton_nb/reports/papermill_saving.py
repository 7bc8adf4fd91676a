"""The executed notebook on its way to its place, while it runs: seldom, whole, and never half-written."""

from __future__ import annotations

import asyncio
import contextlib
import os
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nbformat
from papermill.engines import NotebookExecutionManager
from papermill.iorw import LocalHandler, papermill_io, write_ipynb

# A save is at least so long after the last one, and so many times as long as that one took.
SAVE_EVERY_S = 1.0
SAVE_SHARE = 20

CANCELLED, FINISHED = "cancelled", "finished"


@dataclass(frozen=True, slots=True, kw_only=True)
class CellEvent:
    """A cell begins, puts something out, or has ended. `index` counts the executed notebook's cells from 0.

    `what` is "started", "output" or "ended"; `output` is what was put out (nbformat node), None for the others;
    `status` is Papermill's: running, completed or failed, or ours: cancelled.
    """

    what: str
    index: int
    total: int
    status: str
    output: Any = None


class Whole:
    """Papermill's way to a local file, but the file is replaced at once: what reads it finds all or the last state."""

    def __init__(self, local: LocalHandler, path: str) -> None:
        self._local = local
        self._path = path

    def write(self, text: str, path: str) -> None:
        """Write `text`; what lies at a path that only begins like ours, and what is no file, as Papermill does."""
        # The only public way to learn the folder that relative paths are meant in.
        folder = self._local.cwd(None)
        self._local.cwd(folder)
        target = Path(os.path.realpath(Path(folder or os.getcwd()) / path))
        if path != self._path or (target.exists() and not target.is_file()):
            self._local.write(text, path)
            return
        if not target.parent.is_dir():
            raise FileNotFoundError(f"there is no folder {target.parent}; make it first")
        replace(target, text)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._local, name)


def replace(target: Path, text: str) -> None:
    """Put `text` at `target` by a rename; its mode stays, or is what a new file gets. Raises OSError."""
    mask = os.umask(0)
    os.umask(mask)
    mode = target.stat().st_mode & 0o7777 if target.exists() else 0o666 & ~mask
    handle, name = tempfile.mkstemp(prefix=f".{target.name}-", dir=target.parent)
    try:
        with open(handle, "w", encoding="utf-8") as file:
            file.write(text)
        os.chmod(name, mode)
        os.replace(name, target)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(name)
        raise


class Keeper(NotebookExecutionManager):  # type: ignore[misc, unused-ignore]
    """Papermill's book-keeping of a run. It saves at most about once a second and at the end, and says how it ended."""

    def __init__(self, nb: Any, *, watch: Callable[[CellEvent], None] | None = None, **options: Any) -> None:
        super().__init__(nb, **options)
        self._watch = watch
        self._at: int | None = None
        self._due_s = 0.0
        self._timer: asyncio.TimerHandle | None = None
        handler = papermill_io.get_handler(self.output_path)
        if isinstance(handler, LocalHandler):
            # Papermill writes once more when the engine is done: that way too.
            papermill_io.register(self.output_path, Whole(handler, self.output_path))

    def save(self, **_: Any) -> None:
        """Save now, or as soon as it is due."""
        if not self.output_path or self._timer is not None:
            return
        left_s = self._due_s - time.monotonic()
        if left_s <= 0:
            self.flush()
            return
        try:
            self._timer = asyncio.get_running_loop().call_later(left_s, self.flush)
        except RuntimeError:
            return  # nothing waits meanwhile: the next save comes soon

    def flush(self) -> None:
        """Save now."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if not self.output_path:
            return
        begin = time.monotonic()
        if isinstance(papermill_io.get_handler(self.output_path), Whole):
            # Without the check of the format, which takes longer than all else.
            papermill_io.write(nbformat.v4.writes(self.nb), self.output_path)
        else:
            write_ipynb(self.nb, self.output_path)
        end = time.monotonic()
        self.last_save_time = self.now()
        self._due_s = end + max(SAVE_EVERY_S, SAVE_SHARE * (end - begin))

    def notebook_start(self, **options: Any) -> None:
        """As Papermill, with the status in the notebook's metadata."""
        self.nb.metadata.papermill["status"] = self.RUNNING
        super().notebook_start(**options)

    def cell_start(self, cell: Any, cell_index: int | None = None, **options: Any) -> None:
        """As Papermill."""
        self._at = cell_index
        super().cell_start(cell, cell_index, **options)
        self._tell("started", self.RUNNING)

    def put_out(self, output: Any) -> None:
        """The cell at work has put out `output`, or changed what it had (None)."""
        if self.autosave_cell_every:
            self.save()
        if output is not None:
            self._tell("output", self.RUNNING, output)

    def cell_exception(self, cell: Any, cell_index: int | None = None, **options: Any) -> None:
        """As Papermill."""
        super().cell_exception(cell, cell_index, **options)
        self.nb.metadata.papermill["status"] = self.FAILED

    def cell_complete(self, cell: Any, cell_index: int | None = None, **options: Any) -> None:
        """As Papermill."""
        super().cell_complete(cell, cell_index, **options)
        self._tell("ended", cell.metadata.papermill["status"])
        self._at = None

    def interrupted(self, status: str) -> None:
        """Something else than a cell's error has ended the run: the cell at work has not completed."""
        self.nb.metadata.papermill["status"] = status
        if status == self.FAILED:
            self.nb.metadata.papermill["exception"] = True
        if self._at is None:
            return
        cell = self.nb.cells[self._at]
        cell.metadata.papermill["status"] = status
        if status == self.FAILED:
            cell.metadata.papermill["exception"] = True
        super().cell_complete(cell, self._at)
        cell.metadata.papermill["status"] = status
        self._tell("ended", status)
        self._at = None

    def notebook_complete(self, **_: Any) -> None:
        """The end of the run; cells that were not reached stay pending."""
        details = self.nb.metadata.papermill
        self.end_time = self.now()
        details["end_time"] = self.end_time.isoformat()
        details["duration"] = (self.end_time - self.start_time).total_seconds()
        if details["status"] == self.RUNNING:
            details["status"] = FINISHED
            self.complete_pbar()
        self.cleanup_pbar()
        self.flush()

    def _tell(self, what: str, status: str, output: Any = None) -> None:
        if self._watch is not None and self._at is not None:
            self._watch(CellEvent(what=what, index=self._at, total=len(self.nb.cells), status=status, output=output))
