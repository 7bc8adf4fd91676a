"""Old reports, removed: only folders that the ledger knows, that lie below it, and that hold nothing but a report."""

from __future__ import annotations

import contextlib
import json
import shutil
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from lepton_nb.errors import ReportError
from lepton_nb.reports import history_page
from lepton_nb.reports.ledger import Ledger, Run
from lepton_nb.reports.place import MANIFEST_NAME


@dataclass(frozen=True, slots=True, kw_only=True)
class Pruned:
    """What was done with an old run. `kept` says why its folder stays, "" where it went."""

    run: Run
    kept: str = ""


def prune(
    ledger: Ledger,
    *,
    now: datetime,
    keep: int | None = None,
    older_than: timedelta | None = None,
    dry_run: bool = False,
) -> list[Pruned]:
    """Remove reports and their entries; `dry_run` only says which.

    keep: so many of each notebook stay, the newest. older_than: and all that began within this time before `now`. Runs
    that are not over stay. Raises ReportError when neither is given.
    """
    if keep is None and older_than is None:
        raise ReportError("say what may go: keep, a number of reports of each notebook, or older_than, or both")
    if keep is not None and keep < 0:
        raise ReportError(f"keep must be 0 or more, not {keep}", keep=keep)
    runs = ledger.runs()
    done = []
    for run in chosen(runs, now=now, keep=keep, older_than=older_than):
        why = _why_kept(run, ledger.folder)
        if not why and not dry_run:
            with contextlib.suppress(FileNotFoundError):
                shutil.rmtree(run.folder)
            with contextlib.suppress(OSError):
                # The folder of a sweep that has no run any more; a folder that holds anything stays.
                if run.folder.parent != ledger.folder:
                    run.folder.parent.rmdir()
            ledger.forget(run.id)
        done.append(Pruned(run=run, kept=why))
    if done and not dry_run:
        history_page.write(ledger)
    return done


def chosen(
    runs: Sequence[Run], *, now: datetime, keep: int | None = None, older_than: timedelta | None = None
) -> list[Run]:
    """Those of `runs` (newest first) that are old by both measures that are given."""
    seen: dict[str, int] = defaultdict(int)
    found = []
    for run in runs:
        if run.status == "running":
            continue
        seen[run.notebook] += 1
        if (keep is None or seen[run.notebook] > keep) and (older_than is None or run.started < now - older_than):
            found.append(run)
    return found


def manifest_of(folder: Path) -> dict[str, Any] | None:
    """The manifest in `folder`, None where there is none that can be read."""
    try:
        found = json.loads((folder / MANIFEST_NAME).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) and "notebook" in found else None


def _why_kept(run: Run, root: Path) -> str:
    from lepton_nb.reports.manifest import others

    if not run.folder.exists() and not run.folder.is_symlink():
        return ""
    real, top = run.folder.resolve(), root.resolve()
    if run.folder.is_symlink() or real == top or not real.is_relative_to(top):
        return f"it is not below {root}"
    manifest = manifest_of(run.folder)
    if manifest is None:
        return "its folder holds no report"
    if manifest.get("id") != run.id:
        return "a later report is in its folder"
    strange = others(run.folder / MANIFEST_NAME)
    return f"its folder holds other files too: {', '.join(strange[:5])}" if strange else ""
