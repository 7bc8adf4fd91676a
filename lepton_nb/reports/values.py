"""Plain values: what a parameter or a metric may be, and how it is written as strict JSON."""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import date, timedelta
from typing import Any, TypeAlias

# Python itself writes no more than 4,300 digits.
MOST_BITS = 14_000

Scalar: TypeAlias = bool | int | float | str


def plain(value: Any) -> Any:
    """`value` with NumPy and Torch scalars as Python's own, tuples as lists, and exact built-in types.

    Values of other kinds are returned as they are; the caller decides whether they are welcome.
    """
    if value is None or isinstance(value, bool):
        return value
    for kind in (int, float, str):
        if isinstance(value, kind):
            return kind(value)
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if isinstance(value, Mapping):
        return {key: plain(item) for key, item in value.items()}
    if getattr(value, "shape", None) == () and hasattr(value, "item"):
        return plain(value.item())
    return value


def writable(value: Any) -> Any:
    """`value` itself; raises ValueError where no file could hold it: text with half a character, or a huge number."""
    if isinstance(value, str):
        try:
            value.encode()
        except UnicodeEncodeError as error:
            raise ValueError(
                f"must be text that UTF-8 can hold: at {error.start} is half a character ({value[error.start]!a})"
            ) from None
    elif isinstance(value, int) and value.bit_length() > MOST_BITS:
        raise ValueError(f"must be a number of at most {MOST_BITS:,} bits, not of {value.bit_length():,}")
    elif isinstance(value, list):
        for item in value:
            writable(item)
    elif isinstance(value, dict):
        for item in (*value, *value.values()):
            writable(item)
    return value


def jsonable(value: Any) -> Any:
    """`value` for strict JSON: NaN and infinities become the strings "NaN", "Infinity" and "-Infinity", dates and times
    ISO 8601, and a timedelta its seconds as in "21600s"."""
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else ("Infinity" if value > 0 else "-Infinity")
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, timedelta):
        return f"{value.total_seconds():g}s"
    if isinstance(value, list):
        return [jsonable(item) for item in value]
    if isinstance(value, dict):
        return {str(key): jsonable(item) for key, item in value.items()}
    return value
