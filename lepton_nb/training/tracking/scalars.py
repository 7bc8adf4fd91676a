"""The numbers in the rows of a history, under the names that tracking tools show: pure."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any, Literal

Kind = Literal["step", "epoch"]

# Where a row belongs, and what the tools know by themselves.
_LEFT_OUT = ("step", "epoch", "elapsed_s")


def scalars(kind: Kind, row: Mapping[str, Any]) -> dict[str, float]:
    """The finite numbers of a row by tag.

    A step's figures are train/loss and so on; an epoch's are epoch/loss, validation/accuracy and, as it is,
    rows_per_s. Figures within figures have a tag each: {"memory_bytes": [1, 2]} gives epoch/memory_bytes/0 and /1.
    """
    found: dict[str, float] = {}
    for name, value in row.items():
        if name not in _LEFT_OUT:
            found.update(_numbers(_tag(kind, name), value))
    return found


def _tag(kind: Kind, name: str) -> str:
    if kind == "step":
        return f"train/{name}"
    if name.startswith("validation_"):
        return f"validation/{name.removeprefix('validation_')}"
    return name if name == "rows_per_s" else f"epoch/{name}"


def _numbers(tag: str, value: Any) -> Iterator[tuple[str, float]]:
    if isinstance(value, Mapping):
        for name, part in value.items():
            yield from _numbers(f"{tag}/{name}", part)
    elif isinstance(value, list | tuple):
        for number, part in enumerate(value):
            yield from _numbers(f"{tag}/{number}", part)
    elif isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value):
        yield tag, float(value)
