"""Durations as users write them ("1h30m", "3mo", timedelta).

Fixed lengths are counted in nanoseconds, those of the calendar in months.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
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
UNITS_MONTHS = {"y": 12, "q": 3, "mo": 1}
DAY_NS = UNITS_NS["d"]
# The farthest month that a civil time can name, either way: about 260,000 years.
MOST_MONTHS = 3_000_000

_PART = re.compile(r"(\d{1,18})(ns|us|ms|[wdhms])(?![a-z])", re.ASCII)
_MONTHS = re.compile(r"(\d{1,18})(mo|[yq])(?![a-z])", re.ASCII)

Duration = str | timedelta


@dataclass(frozen=True, slots=True)
class Length:
    """`months` civil months or `ns` nanoseconds, never both. `weeks`: written in whole weeks, which begin on Monday."""

    ns: int = 0
    months: int = 0
    weeks: bool = False

    @property
    def text(self) -> str:
        """As a user writes it."""
        if not self.months:
            return text(self.ns)
        sign, months = ("-", -self.months) if self.months < 0 else ("", self.months)
        return sign + (f"{months // 12}y" if months % 12 == 0 else f"{months}mo")


def length(value: Duration | int, what: str) -> Length:
    """What `value` says; `what` names the argument in errors.

    Strings are whole numbers with units, largest first or not: fixed (w d h m s ms us ns) as in "10m", "1h30m", "-8h",
    or civil (y q mo) as in "1mo", "1y6mo". A plain 0 needs no unit.
    """
    if isinstance(value, str):
        stripped = value.strip()
        sign, body = (-1, stripped[1:]) if stripped.startswith("-") else (1, stripped)
        parts = _MONTHS.findall(body)
        if parts and "".join(number + unit for number, unit in parts) == body:
            months = sum(int(number) * UNITS_MONTHS[unit] for number, unit in parts)
            if months > MOST_MONTHS:
                raise WindowError(f"{what} {value!r} is longer than any calendar; use fewer months", value=value)
            return Length(months=sign * months)
        if parts:
            raise WindowError(
                f"{what} {value!r} mixes months with lengths in days or less; write either, for example '1mo' or '30d'",
                value=value,
            )
        fixed = _PART.findall(body)
        weeks = bool(fixed) and all(unit == "w" for _, unit in fixed)
        return Length(ns=nanoseconds(value, what), weeks=weeks)
    return Length(ns=nanoseconds(value, what))


def nanoseconds(value: Duration | int, what: str) -> int:
    """Length of `value` in nanoseconds; `what` names the argument in errors.

    Strings are whole numbers with units (w d h m s ms us ns), largest first or not: "10m", "1h30m", "-8h".
    A plain 0 needs no unit. Months, quarters and years have no fixed length and are refused.
    """
    if isinstance(value, timedelta):
        return ((value.days * 86_400 + value.seconds) * 1_000_000 + value.microseconds) * 1_000
    if isinstance(value, str):
        stripped = value.strip()
        sign, body = (-1, stripped[1:]) if stripped.startswith("-") else (1, stripped)
        if body == "0":
            return 0
        parts = _PART.findall(body)
        if parts and "".join(number + unit for number, unit in parts) == body:
            return sign * sum(int(number) * UNITS_NS[unit] for number, unit in parts)
        if _MONTHS.match(body):
            raise WindowError(
                f"{what} {value!r} has no fixed length; use days or weeks, for example '30d'", value=value
            )
    elif value == 0 and isinstance(value, int) and not isinstance(value, bool):
        return 0
    other = "" if isinstance(value, str) else ", or pass a datetime.timedelta"
    raise WindowError(
        f"{what} {value!r} is not a duration; write a whole number with a unit (w d h m s ms us ns, or y q mo for "
        f"civil months), for example '10m' or '1h30m'{other}",
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
