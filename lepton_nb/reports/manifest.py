"""manifest.json: what was run, with which parameters and versions, how it ended, and what it left."""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import os
import platform
import subprocess
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from lepton_nb._version import __version__
from lepton_nb.reports.execute import Outcome
from lepton_nb.reports.parameters import Parameter
from lepton_nb.reports.secrets import secretive
from lepton_nb.reports.values import Scalar, jsonable

SCHEMA_VERSION = 1
PACKAGES = (
    "dask", "dask-cuda", "distributed", "ipykernel", "keras", "nbclient", "nbconvert", "numpy", "pandas",
    "papermill", "plotly", "polars", "pyarrow", "scikit-learn", "tensorflow", "torch",
)  # fmt: skip
GIT_TIMEOUT_S = 10


def build(
    *,
    source: Path,
    declared: Sequence[Parameter],
    values: Mapping[str, Any],
    outcome: Outcome,
    started: datetime,
    ended: datetime,
    metrics: Mapping[str, Scalar],
) -> dict[str, Any]:
    """The manifest as plain JSON values, without its `files`.

    Times are UTC, ISO 8601; floats that are not finite are strings.
    """
    failure = outcome.failure
    return {
        "schema_version": SCHEMA_VERSION,
        "notebook": {"path": place(source), "sha256": sha256(source)},
        "parameters": {parameter.name: _parameter(parameter, values) for parameter in declared},
        "status": outcome.status,
        "failure": None
        if failure is None
        else {name: getattr(failure, name) for name in ("cell", "heading", "ename", "evalue")},
        "started": started.isoformat(),
        "ended": ended.isoformat(),
        "duration_s": round((ended - started).total_seconds(), 3),
        "metrics": {name: jsonable(value) for name, value in metrics.items()},
        "cells": cells(outcome.notebook),
        "versions": versions(),
        "git": git(source.parent),
    }


def place(source: Path) -> str:
    """Where a notebook is, without the user's name or the machine's folders, with "/" between the parts.

    It is relative to its git repository's root, else to the current folder, or only its name.
    """
    path = source.parent.resolve() / source.name
    root = _git(source.parent, "rev-parse", "--show-toplevel")
    for base in ([Path(root)] if root else []) + [Path.cwd()]:
        if path.is_relative_to(base.resolve()):
            return path.relative_to(base.resolve()).as_posix()
    return path.name


def files(*paths: Path) -> dict[str, Any]:
    """The size and hash of each file that exists, by its name."""
    return {path.name: {"sha256": sha256(path), "bytes": path.stat().st_size} for path in paths if path.exists()}


def cells(notebook: Any) -> list[dict[str, Any]]:
    """One entry a code cell: its place in the executed and in the source notebook, status, seconds, outputs' hash."""
    entries = []
    injected = 0
    for index, cell in enumerate(notebook.cells):
        is_injected = "injected-parameters" in cell.metadata.get("tags", [])
        if cell.cell_type == "code":
            run = cell.metadata.get("papermill", {})
            entries.append(
                {
                    "index": index,
                    "source_index": None if is_injected else index - injected,
                    "status": run.get("status") or "pending",
                    "seconds": run.get("duration"),
                    "outputs_sha256": hashlib.sha256(json.dumps(cell.outputs, sort_keys=True).encode()).hexdigest(),
                }
            )
        injected += is_injected
    return entries


def versions() -> dict[str, str | None]:
    """Versions of what a result may depend on; None for a package that is not installed."""
    found: dict[str, str | None] = {
        "lepton_nb": __version__,
        "python": platform.python_version(),
        "platform": platform.platform(),
    }
    for package in PACKAGES:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            found[package] = None
    return found


def git(folder: Path) -> dict[str, Any] | None:
    """The commit that `folder` is at, and whether tracked files differ from it; None outside of a repository."""
    commit = _git(folder, "rev-parse", "HEAD")
    if commit is None:
        return None
    # Our own output folder must not make a clean tree dirty: untracked files do not count.
    status = _git(folder, "status", "--porcelain", "--untracked-files=no")
    return {"commit": commit, "dirty": bool(status) if status is not None else None}


def sha256(path: Path) -> str:
    """The SHA-256 of a file, in hexadecimal."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def others(path: Path) -> list[str]:
    """Names in the folder of the manifest at `path` that are no files of its report, sorted.

    Where there is no manifest, or one that is not ours, those are all names in the folder.
    """
    names = set(os.listdir(path.parent))
    try:
        manifest = json.loads(path.read_text(encoding="utf-8"))
        if not 1 <= manifest["schema_version"] <= SCHEMA_VERSION or not manifest["notebook"]["sha256"]:
            return sorted(names)
        listed = {path.name, *(name for name, facts in manifest["files"].items() if facts["sha256"])}
    except (OSError, ValueError, LookupError, TypeError, AttributeError):
        return sorted(names)
    return sorted(name for name in names if name not in listed or not (path.parent / name).is_file())


def write(manifest: Mapping[str, Any], path: Path) -> None:
    """Write `manifest` as strict JSON."""
    path.write_text(json.dumps(manifest, indent=2, allow_nan=False, ensure_ascii=False) + "\n", encoding="utf-8")


def _parameter(parameter: Parameter, values: Mapping[str, Any]) -> dict[str, Any]:
    given = parameter.name in values
    return {
        "value": jsonable(values[parameter.name]) if given else jsonable(parameter.default),
        "given": given,
        "default": jsonable(parameter.default),
        "default_source": parameter.default_text,
        "type": parameter.annotation or (str(parameter.form) if parameter.form else ""),
        "help": parameter.help,
        **({"secret": True} if secretive(parameter.form) else {}),
    }


def _git(folder: Path, *arguments: str) -> str | None:
    # The prompt and the optional locks would touch the user's terminal and repository.
    environment = os.environ | {"GIT_TERMINAL_PROMPT": "0", "GIT_OPTIONAL_LOCKS": "0"}
    try:
        done = subprocess.run(
            ["git", "-C", str(folder), *arguments],
            capture_output=True,
            text=True,
            timeout=GIT_TIMEOUT_S,
            env=environment,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None
