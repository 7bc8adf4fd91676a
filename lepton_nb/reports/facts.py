"""What the processes of a run told about it: inputs and sources by path, seeds, flags, the cluster."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lepton_nb import announce
from lepton_nb.errors import ReportError


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """Paths are absolute. `inputs` were read and not written by the run; `urls` were read from elsewhere."""

    inputs: tuple[str, ...] = ()
    urls: tuple[str, ...] = ()
    modules: tuple[str, ...] = ()
    seeds: Mapping[str, list[Any]] = field(default_factory=dict)
    flags: Mapping[str, Any] = field(default_factory=dict)
    cluster: Mapping[str, Any] | None = None


def beside(records: Path) -> Path:
    """The file of a run's facts: beside that of its records."""
    return records.with_name(f"{records.name}.facts")


def read_facts(path: Path) -> Facts:
    """The facts in the file at `path`; none when there is no such file. A line that was cut off is left out."""
    lines: list[dict[str, Any]] = []
    with contextlib.suppress(FileNotFoundError):
        for text in path.read_text(encoding="utf-8", errors="replace").splitlines(keepends=True):
            with contextlib.suppress(ValueError):
                lines.append(json.loads(text))
    named: dict[str, list[str]] = {"read": [], "written": [], "module": [], "url": []}
    seeds: dict[str, list[Any]] = {}
    flags: dict[str, Any] = {}
    cluster = None
    for line in lines:
        match line:
            case {"kind": "read" | "written" | "module" as kind, "path": str(value)}:
                named[kind].append(value)
            case {"kind": "url", "url": str(value)}:
                named["url"].append(value)
            case {"kind": "seed", "name": str(name), "value": value}:
                seeds.setdefault(name, []).append(value)
            case {"kind": "flag", "name": str(name), "value": value}:
                flags[name] = value
            case {"kind": "cluster"}:
                cluster = {key: value for key, value in line.items() if key != "kind"}
    written = {os.path.realpath(name) for name in named["written"]}
    return Facts(
        inputs=tuple(name for name in dict.fromkeys(named["read"]) if os.path.realpath(name) not in written),
        urls=tuple(dict.fromkeys(named["url"])),
        modules=tuple(sorted(set(named["module"]))),
        seeds=seeds,
        flags=flags,
        cluster=cluster,
    )


def record_input(path: str | os.PathLike[str]) -> str:
    """Say that the result depends on the file at `path` (or on a URL), and return it as text, to be opened.

    The report's manifest then has its size and SHA-256. Files that Python itself opens, that lepton_nb reads, or
    that parameters and texts in the notebook name, are known without. Raises ReportError where there is no such file.
    """
    text = os.fspath(path)
    if "://" not in text and not os.path.isfile(text):
        raise ReportError(f"there is no file {text}; check the name and the current folder", path=text)
    announce.read_file(text)
    return text


def record_seed(value: int, name: str = "seed") -> int:
    """Say that the result depends on this seed, and return it: `rng = numpy.random.default_rng(lnb.record_seed(7))`.

    The seeds of lepton_nb's own functions are known without. Raises ReportError for what is no whole number.
    """
    if isinstance(value, bool) or not isinstance(value, int):
        raise ReportError(f"a seed is a whole number, not {value!r}", name=name)
    announce.seed(name, value)
    return value
