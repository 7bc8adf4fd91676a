"""Two reports on the disk, compared: what went in, the code, and what came out."""

from __future__ import annotations

import html
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from lepton_nb.reports import compare, integrity
from lepton_nb.reports.compare import Difference
from lepton_nb.reports.tolerance import Tolerance, checked

_PARTS = {
    "what went in": ("parameter", "input", "seed"),
    "code": ("notebook", "cell", "source", "commit"),
    "environment": ("package", "python", "lock", "machine", "cluster", "flag"),
    "what came out": ("status", "metric", "table", "figure", "output"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """What is different in two reports."""

    first: Path
    second: Path
    differences: tuple[Difference, ...]

    def __bool__(self) -> bool:
        """True where something is different."""
        return bool(self.differences)

    def __str__(self) -> str:
        if not self.differences:
            return f"no difference: {self.first}, {self.second}"
        lines = [f"{self.first} against {self.second}"]
        for title, kinds in _PARTS.items():
            found = [one for one in self.differences if one.kind in kinds]
            if found:
                lines += [f"{title}:", *(f"  {one}" for one in found)]
        return "\n".join(lines)

    def json(self) -> str:
        """The comparison as one JSON object."""
        facts = {
            "first": str(self.first),
            "second": str(self.second),
            "differences": [one.json() for one in self.differences],
        }
        return json.dumps(facts, indent=2, allow_nan=False, ensure_ascii=False)

    def _repr_html_(self) -> str:
        return f"<pre>{html.escape(str(self))}</pre>"


def report_diff(
    first: str | os.PathLike[str],
    second: str | os.PathLike[str],
    *,
    tolerance: Mapping[str, float | Tolerance] | None = None,
) -> Comparison:
    """Compare the reports in two folders: parameters, inputs, seeds, code, packages, metrics, figures and outputs.

    tolerance: as for `report_verify`. Raises ReportError where there is no report, or its notebook cannot be read.
    """
    tolerances = checked(tolerance)
    one, other = integrity.load(first), integrity.load(second)
    found = [
        *compare.given(one.manifest, other.manifest),
        *compare.results(one.manifest, other.manifest, one.executed(), other.executed(), tolerances),
        *compare.tables(one.tables(), other.tables(), tolerances),
    ]
    names = [side.manifest["notebook"]["path"] for side in (one, other)]
    if names[0] != names[1]:
        text = f"{names[0]} against {names[1]}"
        found.insert(0, Difference(kind="notebook", name=names[0], text=text, was=names[0], now=names[1]))
    return Comparison(first=one.folder, second=other.folder, differences=tuple(found))
