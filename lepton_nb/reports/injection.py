"""Values of parameters as a cell of their own, behind the one that holds the defaults."""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import date, datetime, timedelta
from typing import Any

from lepton_nb.reports.parameters import TAG

INJECTED_TAG = "injected-parameters"
# A name of the notebook's own may be `datetime`, for one or the other.
_DATETIME = "__import__('datetime')"


def inject(notebook: Any, given: Mapping[str, Any]) -> None:
    """Put `given` into a cell after the one tagged `parameters`, in place (nbformat 4 node).

    The cell takes the place of one that an earlier run has left.
    """
    if not given:
        return
    from nbformat.v4 import new_code_cell

    lines = ["# Parameters", *(f"{name} = {literal(value)}" for name, value in given.items())]
    cell = new_code_cell("\n".join(lines), metadata={"tags": [INJECTED_TAG]})
    earlier = next((index for index, one in enumerate(notebook.cells) if injected(one)), None)
    if earlier is not None:
        notebook.cells[earlier] = cell
        return
    place = next(
        index
        for index, one in enumerate(notebook.cells, start=1)
        if one.cell_type == "code" and TAG in one.metadata.get("tags", [])
    )
    notebook.cells.insert(place, cell)


def injected(cell: Any) -> bool:
    """Whether a cell holds values that were put in."""
    return cell.cell_type == "code" and INJECTED_TAG in cell.metadata.get("tags", [])


def literal(value: Any) -> str:
    """Python source, on one line, that gives `value` and can do nothing else.

    Raises TypeError for what is neither a plain value nor a date, a datetime or a timedelta.
    """
    if isinstance(value, float) and not math.isfinite(value):
        return f"float({str(value)!r})"
    if isinstance(value, list):
        return f"[{', '.join(map(literal, value))}]"
    if isinstance(value, dict):
        return f"{{{', '.join(f'{literal(key)}: {literal(item)}' for key, item in value.items())}}}"
    if value is None or isinstance(value, (bool, int, float)):
        return repr(value)
    if isinstance(value, str):
        return ascii(value)
    if isinstance(value, datetime | date):
        return (
            f"{_DATETIME}.{'datetime' if isinstance(value, datetime) else 'date'}.fromisoformat({value.isoformat()!r})"
        )
    if isinstance(value, timedelta):
        return f"{_DATETIME}.timedelta({value.days}, {value.seconds}, {value.microseconds})"
    raise TypeError(f"not a plain value: {value!r}")
