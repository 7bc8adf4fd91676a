"""Where a report goes: a hidden folder beside its place, then the place itself, or elsewhere if that fails."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

from lepton_nb.errors import ReportError

HTML_NAME, MANIFEST_NAME, LOG_NAME = "report.html", "manifest.json", "kernel.log"
# How many of the files that are in the way an error names.
NAMED = 5
NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
RESCUE_PREFIX = "lepton-nb-report-"


def check_output(folder: Path) -> None:
    """Raise ReportError unless a report can be put at `folder`."""
    from lepton_nb.reports import manifest as manifests

    if folder.exists() and not folder.is_dir():
        raise ReportError(f"{folder} is a file; choose another output folder", output=str(folder))
    others = manifests.others(folder / MANIFEST_NAME) if folder.is_dir() else []
    if others:
        named = ", ".join(others[:NAMED]) + (f" and {len(others) - NAMED} more" if len(others) > NAMED else "")
        raise ReportError(
            f"{folder} holds what is not of an earlier report: {named}; choose an empty or a new output folder",
            output=str(folder),
            others=tuple(others),
        )
    work_folder(folder).rmdir()


def work_folder(folder: Path) -> Path:
    """A new hidden folder beside `folder`, on the same file system: a rename moves it into place at once."""
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        return _hidden(folder)
    except OSError as error:
        raise ReportError(
            f"cannot write the report to {folder}: {error.strerror}; choose an output folder that you may write",
            output=str(folder),
        ) from None


def _hidden(folder: Path) -> Path:
    return Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))


def publish(work: Path, folder: Path) -> Path:
    """Move `work` to `folder`; an earlier report there is replaced, and what came there during the run is not.

    Raises OSError when it cannot be moved; the earlier report is then where it was.
    """
    from lepton_nb.reports import manifest as manifests

    mask = os.umask(0)
    os.umask(mask)
    work.chmod(0o777 & ~mask)
    old = None
    try:
        if (folder / MANIFEST_NAME).exists() and not manifests.others(folder / MANIFEST_NAME):
            old = _hidden(folder)
            os.rename(folder, old)
        os.rename(work, folder)
    except OSError:
        # It is not empty, or no folder any more: the report is worth more than its name.
        place = free(folder)
        try:
            os.rename(work, place)
        except OSError:
            if old is not None:
                with contextlib.suppress(OSError):
                    os.rename(old, folder)
            raise
        folder = place
    if old is not None:
        shutil.rmtree(old, ignore_errors=True)
    return folder


def free(folder: Path) -> Path:
    """`folder`, or the first of folder-2, folder-3 and so on that does not exist."""
    name, number = folder, 1
    while name.exists():
        number += 1
        name = folder.with_name(f"{folder.name}-{number}")
    return name


def keep(work: Path, write: Callable[[Path], object]) -> Path | None:
    """A new folder for temporary files that holds the report: the log of `work`, and what `write` writes there.

    None when there is no room either. `work` is removed, to leave nothing half written.
    """
    kept = None
    try:
        kept = Path(tempfile.mkdtemp(prefix=RESCUE_PREFIX))
        with contextlib.suppress(FileNotFoundError):
            shutil.copy(work / LOG_NAME, kept)
        write(kept)
    except OSError:
        if kept is not None:
            shutil.rmtree(kept, ignore_errors=True)
        kept = None
    shutil.rmtree(work, ignore_errors=True)
    return kept


def unwritten(error: OSError, folder: Path, kept: Path | None) -> str:
    """What to tell of a report that could not be written to `folder` because of `error`, and is in `kept` now."""
    return f"cannot write the report to {folder}: {_reason(error, folder, kept)}; choose another output folder\n" + (
        f"the report is kept in {kept}" if kept else f"nor could it be kept in {_temporary()}"
    )


def _reason(error: OSError, folder: Path, kept: Path | None) -> str:
    if error.errno not in NO_ROOM:
        return error.strerror or str(error)
    facts = []
    if kept is not None:
        facts.append(f"{sum(path.stat().st_size for path in kept.iterdir()):,} bytes are needed")
    if error.errno == errno.ENOSPC:
        with contextlib.suppress(OSError):
            facts.append(f"{shutil.disk_usage(folder.parent).free:,} bytes are free")
    known = f": {', '.join(facts)}" if facts else ""
    return f"there is no room ({error.strerror}{known})"


def _temporary() -> str:
    try:
        return tempfile.gettempdir()
    except OSError:
        return "a folder for temporary files"
