"""Forms for days, times and lengths of time: checked as they are given, so that no kernel starts for "six"."""

from __future__ import annotations

import ast
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any

from lepton_nb.errors import WindowError
from lepton_nb.reports.forms import Form, describe
from lepton_nb.windowing.durations import length, nanoseconds, text

_MADE = {"date": date, "datetime": datetime, "timedelta": timedelta}
_UNITS = "write whole numbers with a unit: w d h m s ms us ns"


@dataclass(frozen=True, slots=True)
class Day(Form):
    """`datetime.date`; text such as 2013-06-24."""

    name = "date"
    ordered = True

    def __str__(self) -> str:
        return "date such as 2013-06-24"

    def check(self, value: Any) -> Any:
        if isinstance(value, str):
            return self.parse(value)
        if not isinstance(value, date) or isinstance(value, datetime):
            raise ValueError(f"must be {self}, not {describe(value)}")
        return value

    def parse(self, text: str) -> Any:
        try:
            return date.fromisoformat(text.strip())
        except ValueError as error:
            raise ValueError(f"must be {self}, not {text!r}{_why(error)}") from None


@dataclass(frozen=True, slots=True)
class Moment(Form):
    """`datetime.datetime`; text such as 2013-06-24 06:00, with +00:00 behind it for a zone."""

    name = "datetime"
    ordered = True

    def __str__(self) -> str:
        return "datetime such as 2013-06-24 06:00"

    def check(self, value: Any) -> Any:
        if isinstance(value, str):
            return self.parse(value)
        if not isinstance(value, datetime):
            raise ValueError(f"must be {self}, not {describe(value)}")
        # Also for subclasses such as pandas' own.
        return datetime.fromisoformat(value.isoformat())

    def parse(self, text: str) -> Any:
        try:
            return datetime.fromisoformat(text.strip())
        except ValueError as error:
            raise ValueError(f"must be {self}, not {text!r}{_why(error)}") from None

    def order(self, value: Any) -> Any:
        # Times without a zone can be compared with those that have one: they are taken for UTC.
        return value if value.tzinfo is not None else value.replace(tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Span(Form):
    """`datetime.timedelta`; text such as 6h."""

    name = "timedelta"
    ordered = True

    def __str__(self) -> str:
        return "timedelta such as 6h"

    def check(self, value: Any) -> Any:
        if isinstance(value, timedelta):
            return timedelta(days=value.days, seconds=value.seconds, microseconds=value.microseconds)
        if isinstance(value, str):
            return self.parse(value)
        raise ValueError(f"must be {self}, not {describe(value)}")

    def parse(self, text: str) -> Any:
        try:
            ns = nanoseconds(text, "")
            if ns % 1000:
                raise ValueError(f"must be whole microseconds, not {text!r}")
            return timedelta(microseconds=ns // 1000)
        except (WindowError, OverflowError):
            raise ValueError(f"must be {self}, not {text!r}; {_UNITS}") from None


@dataclass(frozen=True, slots=True)
class DurationText(Form):
    """`lnb.Duration`: text such as 6h or 1mo, as for the length of a window; a timedelta becomes such text."""

    name = "duration"
    ordered = True

    def __str__(self) -> str:
        return "duration such as 6h"

    def check(self, value: Any) -> Any:
        if isinstance(value, timedelta):
            return text(nanoseconds(value, ""))
        if not isinstance(value, str):
            raise ValueError(f"must be {self}, not {describe(value)}")
        return self.parse(value)

    def parse(self, text: str) -> Any:
        try:
            length(text, "")
        except WindowError:
            raise ValueError(f"must be {self}, not {text!r}; {_UNITS}, or y q mo for calendar months") from None
        return text.strip()

    def order(self, value: Any) -> Any:
        found = length(value, "")
        if found.months:
            raise ValueError("must be in weeks, days or less, as it has limits and months differ in length")
        return found.ns


def _why(error: ValueError) -> str:
    """Such as that a month has no 31st."""
    return "" if "isoformat" in str(error) else f" ({error})"


def constant(node: ast.expr) -> Any:
    """The value of a literal, or of a call such as `date(2013, 6, 24)`, without running it.

    Raises ValueError for any other expression.
    """
    if isinstance(node, ast.Call):
        made = _MADE.get(node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", ""))
        if made is not None:
            try:
                named = {str(one.arg): _argument(one.value) for one in node.keywords}
                return made(*map(_argument, node.args), **named)
            except (TypeError, OverflowError) as error:
                raise ValueError(str(error)) from None
    return ast.literal_eval(node)


def _argument(node: ast.expr) -> Any:
    # UTC, datetime.UTC and timezone.utc
    return UTC if ast.unparse(node).rpartition(".")[2] in ("UTC", "utc") else ast.literal_eval(node)
