"""SQL as lines of text: SELECTs that nest, lengths of time in words.

A line is indented only at its beginning, since a quoted name may hold a line break.
"""

from __future__ import annotations

from collections.abc import Sequence

from lepton_nb.windowing.durations import DAY_NS, Length

INDENT = "    "
UNITS_NS = {
    "day": DAY_NS,
    "hour": 3_600_000_000_000,
    "minute": 60_000_000_000,
    "second": 1_000_000_000,
    "millisecond": 1_000_000,
    "microsecond": 1_000,
}


def select(
    columns: Sequence[str],
    source: Sequence[str],
    *,
    where: Sequence[str] = (),
    group: Sequence[str] = (),
    having: str = "",
    window: str = "",
    order: Sequence[str] = (),
) -> list[str]:
    """The lines of a SELECT; `source` is what follows FROM, line by line."""
    lines = ["SELECT", *indented([f"{column}," for column in columns[:-1]] + [columns[-1]])]
    lines += [f"FROM {source[0]}", *source[1:]]
    lines += [f"{'  AND' if i else 'WHERE'} {condition}" for i, condition in enumerate(where)]
    lines += [f"GROUP BY {', '.join(group)}"] if group else []
    lines += [f"HAVING {having}"] if having else []
    lines += [f"WINDOW {window}"] if window else []
    return lines + ([f"ORDER BY {', '.join(order)}"] if order else [])


def indented(lines: Sequence[str]) -> list[str]:
    """The lines, one step to the right."""
    return [INDENT + line for line in lines]


def nested(lines: Sequence[str], alias: str) -> list[str]:
    """A SELECT as the source of another."""
    return ["(", *indented(lines), f") AS {alias}"]


def span(length: Length) -> tuple[int, str] | None:
    """A length as a number and the longest unit that it is a multiple of; None below microseconds."""
    if length.months:
        return length.months, "month"
    for unit, unit_ns in UNITS_NS.items():
        if length.ns % unit_ns == 0:
            return length.ns // unit_ns, unit
    return None


def in_words(length: Length) -> str:
    """Such as "6 hours"; the length is a whole number of microseconds."""
    found = span(length)
    assert found is not None
    number, unit = found
    return f"{number} {unit}" + ("" if abs(number) == 1 else "s")


def quoted(name: str, mark: str) -> str:
    """A name between quotation marks, those in it doubled."""
    return mark + name.replace(mark, mark * 2) + mark
