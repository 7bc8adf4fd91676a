"""A report's folder, read back: its manifest, and whether each file is the one that was written."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lepton_nb.errors import ReportError
from lepton_nb.reports import manifest as manifests
from lepton_nb.reports.compare import Difference
from lepton_nb.reports.place import LOG_NAME, MANIFEST_NAME
from lepton_nb.reports.signature import check

_LARGEST_MANIFEST_BYTES = 256 << 20


@dataclass(frozen=True, slots=True)
class Kept:
    """A report as it lies on the disk. `content` are the bytes of the manifest."""

    folder: Path
    content: bytes
    manifest: Mapping[str, Any]

    @property
    def notebook(self) -> Path:
        """The executed notebook; raises ReportError where the manifest names none."""
        name: str
        for name in self.manifest["files"]:
            if name.endswith(".ipynb") and _plain(name):
                return self.folder / name
        raise ReportError(f"the manifest in {self.folder} names no notebook; make the report anew")

    def executed(self) -> Any:
        """The executed notebook, as an nbformat 4 node. Raises ReportError."""
        from lepton_nb.reports.source import read_notebook

        if self.notebook.is_symlink():
            raise ReportError(f"{self.notebook} is a link; a report's files are its own")
        return read_notebook(self.notebook)

    def tables(self) -> dict[str, dict[str, Any]]:
        """The recorded tables, each as its columns by name; large ones are read from their files."""
        found: dict[str, dict[str, Any]] = {}
        for name, facts in (self.manifest.get("tables") or {}).items():
            if "file" in facts:
                found[name] = _columns(self.folder, facts["file"])
            else:
                rows = facts.get("values") or facts.get("head") or []
                columns = [column["name"] for column in facts["columns"]]
                found[name] = {column: [row[at] for row in rows] for at, column in enumerate(columns)}
        return found

    def faults(self) -> Iterator[Difference]:
        """Files that are missing, changed, links, or not of the report."""
        for name, facts in self.manifest["files"].items():
            words = _fault(self.folder, name, facts)
            if words:
                yield Difference(kind="file", name=name, text=f"{name}: {words}")
        allowed = {MANIFEST_NAME, manifests.SIGNATURE_NAME, LOG_NAME, *self.manifest["files"]}
        for name in sorted(set(os.listdir(self.folder)) - allowed):
            yield Difference(kind="file", name=name, text=f"{name}: is not of this report")

    def signature(self, trusted: str | os.PathLike[str]) -> tuple[str, list[Difference]]:
        """Who signed, and what is wrong with the signature; raises ReportError where `trusted` cannot be read."""
        path = self.folder / manifests.SIGNATURE_NAME
        if not Path(trusted).expanduser().is_file():
            raise ReportError(f"there is no file {trusted}; give a public key, or a file of allowed signers")
        try:
            armoured = read_own(path, 1 << 16).decode("ascii", errors="replace")
        except OSError:
            text = "is missing: the report is not signed"
            return "", [Difference(kind="signature", name=path.name, text=text)]
        try:
            return check(self.content, armoured, trusted), []
        except ReportError as error:
            return "", [Difference(kind="signature", name=path.name, text=f"is not good: {error}")]


def load(folder: str | os.PathLike[str]) -> Kept:
    """The report in `folder`, or of the manifest.json that is named. Raises ReportError where there is none."""
    place = Path(folder).expanduser()
    if place.name == MANIFEST_NAME and not place.is_dir():
        place = place.parent
    path = place / MANIFEST_NAME
    try:
        content = read_own(path, _LARGEST_MANIFEST_BYTES)
    except FileNotFoundError:
        raise ReportError(f"there is no report in {place}: it has no {MANIFEST_NAME}; give its folder") from None
    except OSError as error:
        raise ReportError(f"cannot read {path}: {error.strerror or error}", path=str(path)) from None
    try:
        manifest = json.loads(content)
        version = manifest["schema_version"]
        if version > manifests.SCHEMA_VERSION:
            raise ReportError(
                f"the report in {place} was made by a later version of lepton_nb (manifest {version}); install that",
                path=str(path),
            )
        shapes = {"notebook": dict, "parameters": dict, "files": dict, "metrics": dict, "cells": list, "status": str}
        if any(not isinstance(manifest[key], kind) for key, kind in shapes.items()):
            raise TypeError("another shape")
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        raise ReportError(
            f"{path} is damaged, or no manifest of a report ({type(error).__name__}); make the report anew",
            path=str(path),
        ) from None
    return Kept(place, content, manifest)


def read_own(path: Path, most_bytes: int) -> bytes:
    """The content of a file that is no link. Raises OSError, also for one that is larger than `most_bytes`."""
    with open(_opened(path), "rb") as file:
        content = file.read(most_bytes + 1)
    if len(content) > most_bytes:
        raise OSError(errno.EFBIG, os.strerror(errno.EFBIG))
    return content


def _opened(path: Path) -> int:
    """A descriptor of a regular file; not following a link, nor waiting for what is none, such as a pipe."""
    opened = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    if not stat.S_ISREG(os.fstat(opened).st_mode):
        os.close(opened)
        raise OSError(errno.EINVAL, "it is not a regular file")
    return opened


def _columns(folder: Path, name: str) -> dict[str, Any]:
    import polars as pl

    try:
        if not _plain(name):
            raise OSError("a name outside of the report's folder")
        with open(_opened(folder / name), "rb") as file:
            frame = pl.read_parquet(file)
    except (OSError, pl.exceptions.PolarsError) as error:
        raise ReportError(f"cannot read the table {name} in {folder}: {error}; make the report anew") from None
    numeric = {column for column, dtype in frame.schema.items() if dtype.is_numeric() and not dtype.is_decimal()}
    return {
        column: frame[column].to_numpy()
        if column in numeric
        else frame[column].cast(pl.String, strict=False).to_list()
        if not frame.schema[column].is_nested()
        else [str(value) for value in frame[column].to_list()]
        for column in frame.columns
    }


def _plain(name: str) -> bool:
    return bool(name) and name not in (".", "..") and not {"/", "\\", "\0"} & set(name)


def _fault(folder: Path, name: str, facts: Mapping[str, Any]) -> str:
    if not _plain(name):
        return "is a name outside of the report's folder"
    try:
        with open(_opened(folder / name), "rb") as file:
            size, found = os.fstat(file.fileno()).st_size, hashlib.file_digest(file, "sha256").hexdigest()
    except FileNotFoundError:
        return "is missing"
    except OSError as error:
        return "is a link" if error.errno in (errno.ELOOP, errno.EMLINK) else f"cannot be read: {error.strerror}"
    if found == facts.get("sha256"):
        return ""
    known = facts.get("bytes")
    return "was changed" + (f": {known:,} bytes then, {size:,} now" if isinstance(known, int) and known != size else "")
