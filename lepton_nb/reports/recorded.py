"""What cells recorded, on its way into the manifest, and from there onto the page."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any, TypeAlias

from lepton_nb.reports.record import HEAD_ROWS, read_lines
from lepton_nb.reports.values import Scalar, jsonable

Metric: TypeAlias = Scalar | date | timedelta | list[Scalar]

_MADE: dict[str, Callable[[Any], Any]] = {
    "date": date.fromisoformat,
    "datetime": datetime.fromisoformat,
    "duration": lambda seconds: timedelta(seconds=seconds),
}
# So many values of a list are shown on the page, and letters of a value in a table.
SHOWN_VALUES, SHOWN_LETTERS = 20, 300


@dataclass(frozen=True, slots=True, kw_only=True)
class Records:
    """`metrics` as Python's values, `typed` the same as the manifest holds them, and the manifest's `tables`."""

    metrics: Mapping[str, Metric]
    typed: Mapping[str, Any]
    tables: Mapping[str, Any]

    def files(self) -> list[str]:
        """The names of the files that tables are in."""
        return [facts["file"] for facts in self.tables.values() if "file" in facts]


def collect(path: Path) -> Records:
    """What the file at `path` holds; it goes, and files of tables get their names beside it."""
    from lepton_nb.reports.inputs import sha256

    lines = read_lines(path)
    metrics = {name: line for name, line in lines.items() if "table" not in line}
    tables: dict[str, Any] = {}
    taken: set[str] = set()
    for name, line in lines.items():
        if "table" not in line:
            continue
        facts = dict(line["table"])
        # The name of a file that was written by us, and by nobody else.
        part = path.parent / os.path.basename(str(facts.pop("part", "")))
        if part.name.startswith(f"{path.name}-") and part.is_file():
            file = part.rename(path.with_name(_file_name(name, taken)))
            facts |= {"file": file.name, "sha256": sha256(file), "bytes": file.stat().st_size}
        tables[name] = facts
    for left in path.parent.glob(f"{path.name}-*.parquet"):
        left.unlink()
    path.unlink(missing_ok=True)
    return Records(
        metrics={name: _value(line) for name, line in metrics.items()},
        typed={name: _typed(line) for name, line in metrics.items()},
        tables=tables,
    )


def _value(line: Mapping[str, Any]) -> Metric:
    made = _MADE.get(line.get("type", ""))
    value: Metric = line["value"] if made is None else made(line["value"])
    return value


def _typed(line: Mapping[str, Any]) -> Any:
    value = jsonable(line["value"])
    if not {"type", "unit"} & line.keys():
        return value
    typed = {"type": line.get("type", type(line["value"]).__name__), "value": value}
    return typed | ({"unit": line["unit"]} if "unit" in line else {})


def _file_name(name: str, taken: set[str]) -> str:
    slug = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")[:40] or "table"
    number = 1
    while (found := f"table-{slug}{f'-{number}' if number > 1 else ''}.parquet") in taken:
        number += 1
    taken.add(found)
    return found


@dataclass(frozen=True, slots=True)
class Cell:
    """A cell of a table as text."""

    text: str
    number: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class ShownTable:
    """A table of the page: its first rows. `rest` counts the others; `file` is where they are, "" for the manifest."""

    name: str
    columns: list[str]
    rows: list[list[Cell]]
    rest: int
    file: str


@dataclass(frozen=True, slots=True)
class ShownMetric:
    """A metric of the page."""

    name: str
    text: str


@dataclass(frozen=True, slots=True)
class Shown:
    """What a page shows of what was recorded, as plain text."""

    metrics: list[ShownMetric]
    tables: list[ShownTable]


def of_manifest(manifest: Mapping[str, Any]) -> Shown | None:
    """What `manifest` holds of it, None when that is nothing."""
    metrics = [ShownMetric(name, in_text(value)) for name, value in (manifest.get("metrics") or {}).items()]
    tables = [_shown(name, facts) for name, facts in (manifest.get("tables") or {}).items()]
    return Shown(metrics, tables) if metrics or tables else None


def in_text(value: Any) -> str:
    """A metric of a manifest as it is shown."""
    if isinstance(value, Mapping):
        unit = value.get("unit") or ("s" if value.get("type") == "duration" else "")
        return f"{in_text(value.get('value'))}{f' {unit}' if unit else ''}"
    if isinstance(value, list):
        rest = len(value) - SHOWN_VALUES
        return ", ".join(map(in_text, value[:SHOWN_VALUES])) + (f" and {rest:,} more" if rest > 0 else "")
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def _shown(name: str, facts: Mapping[str, Any]) -> ShownTable:
    rows = (facts.get("values") or facts.get("head") or [])[:HEAD_ROWS]
    return ShownTable(
        name=name,
        columns=[str(column["name"]) for column in facts.get("columns", ())],
        rows=[[_cell(value) for value in row] for row in rows],
        rest=max(0, int(facts.get("rows", 0)) - len(rows)),
        file=str(facts.get("file") or ""),
    )


def _cell(value: Any) -> Cell:
    text = "" if value is None else in_text(value)
    cut = text if len(text) <= SHOWN_LETTERS else text[:SHOWN_LETTERS] + "…"
    return Cell(cut, isinstance(value, (int, float)) and not isinstance(value, bool))
