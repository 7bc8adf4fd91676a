"""manifest.json: what was run, on what, with which parameters and packages, how it ended, and what it left."""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import os
import platform
import subprocess
import uuid
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from lepton_nb._version import __version__
from lepton_nb.reports import crate as crates
from lepton_nb.reports import inputs as inputs_module
from lepton_nb.reports.execute import Outcome
from lepton_nb.reports.facts import Facts
from lepton_nb.reports.inputs import Inputs, sha256
from lepton_nb.reports.machine import machine
from lepton_nb.reports.packages import packages
from lepton_nb.reports.parameters import Parameter
from lepton_nb.reports.signature import Signer
from lepton_nb.reports.steady import days_of
from lepton_nb.reports.steady import sha256 as outputs_sha256
from lepton_nb.reports.values import Scalar, jsonable

SCHEMA_VERSION = 2
SIGNATURE_NAME, CRATE_NAME = "manifest.json.sig", "ro-crate-metadata.json"
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
    facts: Facts | None = None,
    inputs: Inputs | None = None,
    used: Mapping[str, float | None] | None = None,
    run_id: str | None = None,
    parent: str | None = None,
    slot: str | None = None,
) -> dict[str, Any]:
    """The manifest as plain JSON values, without its `files`.

    Times are UTC, ISO 8601; floats that are not finite are strings. facts: what the run told; inputs: what was known
    before; used: what `machine.Meter` read. run_id, parent and slot name this run, the one that it belongs to, and
    the moment that it was scheduled for.
    """
    failure = outcome.failure
    facts = facts or Facts()
    base = root(source.parent)
    return {
        "schema_version": SCHEMA_VERSION,
        "id": run_id or uuid.uuid4().hex,
        "parent": parent,
        "slot": slot,
        "notebook": {
            "path": place(source),
            "sha256": sha256(source) if source.exists() else None,
            "sources": sources(facts.modules, base),
        },
        "parameters": {parameter.name: _parameter(parameter, values) for parameter in declared},
        "status": outcome.status,
        "failure": None
        if failure is None
        else {name: getattr(failure, name) for name in ("cell", "heading", "ename", "evalue")},
        "started": started.isoformat(),
        "ended": ended.isoformat(),
        "duration_s": round((ended - started).total_seconds(), 3),
        "metrics": {name: jsonable(value) for name, value in metrics.items()},
        "cells": cells(outcome.notebook, days_of(started, ended)),
        "versions": versions(),
        "packages": packages(base),
        "git": git(source.parent),
        "inputs": inputs.found(facts.inputs, facts.urls, base) if inputs is not None else [],
        "seeds": {name: jsonable(values) for name, values in sorted(facts.seeds.items())},
        "determinism": dict(sorted(facts.flags.items())),
        "machine": machine(),
        "cluster": facts.cluster,
        **(used or {"core_seconds": None, "energy_j": None}),
    }


def place(source: Path) -> str:
    """Where a notebook is, without the user's name or the machine's folders, with "/" between the parts.

    It is relative to its git repository's root, else to the current folder, or only its name.
    """
    path = source.parent.resolve() / source.name
    base = root(source.parent)
    return path.relative_to(base).as_posix() if base is not None else path.name


def root(folder: Path) -> Path | None:
    """The folder of the project that `folder` is in: its git repository, else the current folder, if it is in there."""
    top = _git(folder, "rev-parse", "--show-toplevel")
    folder = folder.resolve()
    for base in ([Path(top)] if top else []) + [Path.cwd()]:
        if folder.is_relative_to(base.resolve()):
            return base.resolve()
    return None


def sources(modules: Sequence[str], base: Path | None) -> list[dict[str, str]]:
    """Path and hash of the Python files that the notebook imported and that no package brought."""
    found = {inputs_module.place(Path(path).resolve(), base): Path(path) for path in modules}
    return [{"path": name, "sha256": sha256(path)} for name, path in sorted(found.items()) if path.is_file()]


def files(*paths: Path) -> dict[str, Any]:
    """The size and hash of each file that exists, by its name."""
    return {path.name: {"sha256": sha256(path), "bytes": path.stat().st_size} for path in paths if path.exists()}


def cells(notebook: Any, days: Collection[str] = ()) -> list[dict[str, Any]]:
    """One entry a code cell: its place in the executed and in the source notebook, status, seconds, hashes.

    The hash of the outputs leaves out what is volatile: see `steady`. `days` are those of the run.
    """
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
                    "source_sha256": hashlib.sha256(cell.source.encode()).hexdigest(),
                    "outputs_sha256": outputs_sha256(cell.outputs, days),
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
    changes = (
        _git(folder, "diff", "HEAD", "--no-ext-diff", "--no-textconv", "--no-color", "--binary") if status else None
    )
    return {
        "commit": commit,
        "dirty": bool(status) if status is not None else None,
        "diff_sha256": hashlib.sha256(changes.encode(errors="surrogateescape")).hexdigest() if changes else None,
    }


def others(path: Path) -> list[str]:
    """Names in the folder of the manifest at `path` that are no files of its report, sorted.

    Where there is no manifest, or one that is not ours, those are all names in the folder.
    """
    names = set(os.listdir(path.parent))
    try:
        manifest = json.loads(path.read_text(encoding="utf-8"))
        if not 1 <= manifest["schema_version"] <= SCHEMA_VERSION or not manifest["notebook"]["sha256"]:
            return sorted(names)
        listed = {path.name, SIGNATURE_NAME, *(name for name, facts in manifest["files"].items() if facts["sha256"])}
    except (OSError, ValueError, LookupError, TypeError, AttributeError):
        return sorted(names)
    return sorted(name for name in names if name not in listed or not (path.parent / name).is_file())


def write(manifest: Mapping[str, Any], path: Path) -> None:
    """Write `manifest` as strict JSON."""
    path.write_text(json.dumps(manifest, indent=2, allow_nan=False, ensure_ascii=False) + "\n", encoding="utf-8")


def finish(
    manifest: Mapping[str, Any], written: Mapping[str, Any], notebook: str, path: Path, signer: Signer | None = None
) -> None:
    """Write the crate, the manifest with all files `written`, and the signature; `notebook` is the executed one."""
    crates.write(crates.crate(manifest, notebook, written), path.with_name(CRATE_NAME))
    write({**manifest, "files": {**written, **files(path.with_name(CRATE_NAME))}}, path)
    if signer is not None:
        path.with_name(SIGNATURE_NAME).write_text(signer.sign(path.read_bytes()), encoding="ascii")


def _parameter(parameter: Parameter, values: Mapping[str, Any]) -> dict[str, Any]:
    given = parameter.name in values
    return {
        "value": jsonable(values[parameter.name]) if given else jsonable(parameter.default),
        "given": given,
        "default": jsonable(parameter.default),
        "default_source": parameter.default_text,
        "type": parameter.annotation or (str(parameter.form) if parameter.form else ""),
        "help": parameter.help,
    }


def _git(folder: Path, *arguments: str) -> str | None:
    # The prompt and the optional locks would touch the user's terminal and repository.
    environment = os.environ | {"GIT_TERMINAL_PROMPT": "0", "GIT_OPTIONAL_LOCKS": "0"}
    try:
        done = subprocess.run(
            ["git", "-C", str(folder), *arguments],
            capture_output=True,
            text=True,
            errors="surrogateescape",
            timeout=GIT_TIMEOUT_S,
            env=environment,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None
