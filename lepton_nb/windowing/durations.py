"""Durations as users write them ("1h30m", timedelta) to and from integer nanoseconds."""

from __future__ import annotations

import re
from datetime import timedelta

from lepton_nb.errors import WindowError

UNITS_NS = {
    "w": 604_800_000_000_000,
    "d": 86_400_000_000_000,
    "h": 3_600_000_000_000,
    "m": 60_000_000_000,
    "s": 1_000_000_000,
    "ms": 1_000_000,
    "us": 1_000,
    "ns": 1,
}
DAY_NS = UNITS_NS["d"]

_PART = re.compile(r"(\d{1,18})(ns|us|ms|[wdhms])(?![a-z])", re.ASCII)

Duration = str | timedelta


def nanoseconds(value: Duration | int, what: str) -> int:
    """Length of `value` in nanoseconds; `what` names the argument in errors.

    Strings are whole numbers with units (w d h m s ms us ns), largest first or not: "10m", "1h30m", "-8h".
    A plain 0 needs no unit. Months, quarters and years have no fixed length and are refused.
    """
    if isinstance(value, timedelta):
        return ((value.days * 86_400 + value.seconds) * 1_000_000 + value.microseconds) * 1_000
    if isinstance(value, str):
        text = value.strip()
        sign, body = (-1, text[1:]) if text.startswith("-") else (1, text)
        if body == "0":
            return 0
        parts = _PART.findall(body)
        if parts and "".join(number + unit for number, unit in parts) == body:
            return sign * sum(int(number) * UNITS_NS[unit] for number, unit in parts)
        if re.fullmatch(r"\d+(mo|q|y)", body):
            raise WindowError(
                f"{what} {value!r} has no fixed length; use days or weeks, for example '30d'", value=value
            )
    elif value == 0 and isinstance(value, int) and not isinstance(value, bool):
        return 0
    raise WindowError(
        f"{what} {value!r} is not a duration; write a whole number with a unit (w d h m s ms us ns), "
        "for example '10m' or '1h30m', or pass a datetime.timedelta",
        value=value,
    )


def text(value_ns: int) -> str:
    """The shortest string that `nanoseconds` reads back as `value_ns`."""
    if value_ns == 0:
        return "0s"
    parts = []
    left_ns = abs(value_ns)
    for unit, unit_ns in UNITS_NS.items():
        if unit != "w" and left_ns >= unit_ns:
            parts.append(f"{left_ns // unit_ns}{unit}")
            left_ns %= unit_ns
    return ("-" if value_ns < 0 else "") + "".join(parts)
