"""Metrics that a notebook promises: `lnb.record("auc", 0.74)`, read back by the report's runner."""

from __future__ import annotations

import json
import os
from typing import TypeVar

from lepton_nb.errors import ReportError
from lepton_nb.reports.values import Scalar, plain

RECORD_VARIABLE = "LEPTON_NB_RECORD"

T = TypeVar("T")


def record(name: str, value: T) -> T:
    """Keep `value` under `name` in the report that is being made, and return it.

    Values are bool, int, float (NaN and infinities too) or str, or a NumPy or Torch scalar of these. The last
    value of a name counts. Outside of a report nothing is kept. Raises ReportError for any other value.
    """
    if not isinstance(name, str) or not name.strip():
        raise ReportError(f"a metric needs a name, such as record('auc', 0.74); got {name!r}", name=name)
    scalar = plain(value)
    if not isinstance(scalar, (bool, int, float, str)):
        raise ReportError(
            f"metric {name!r} is of type {type(value).__name__}; record a bool, int, float or str, "
            f"for example float(value)",
            name=name,
        )
    path = os.environ.get(RECORD_VARIABLE)
    if path:
        # One write of one line to a file opened for appending: ranks and workers may record at the same time.
        with open(path, "ab", buffering=0) as file:
            file.write((json.dumps({"name": name, "value": scalar}) + "\n").encode())
    return value


def read_records(path: str | os.PathLike[str]) -> dict[str, Scalar]:
    """The metrics in the file at `path`, the last value of each name; none when there is no such file."""
    try:
        with open(path, encoding="utf-8") as file:
            lines = [json.loads(line) for line in file if line.endswith("\n")]
    except FileNotFoundError:
        return {}
    return {line["name"]: line["value"] for line in lines}
