"""How far two values may be apart and still count as the same."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from lepton_nb.errors import ReportError

# Of a name that has no tolerance of its own.
ALL = "*"
_FORM = "NAME=ABSOLUTE, NAME=rel:RELATIVE or both, such as auc=0.01,rel:0.05; NAME may be * for all"


@dataclass(frozen=True, slots=True)
class Tolerance:
    """Numbers are the same if they differ by at most `absolute`, or by `relative` of the larger one."""

    absolute: float = 0.0
    relative: float = 0.0

    def same(self, one: Any, other: Any) -> bool:
        """Whether two values are the same. Texts and truth values must be equal; NaN is the same as NaN."""
        if _number(one) and _number(other):
            if one == other or (one != one and other != other):
                return True
            return math.isclose(one, other, rel_tol=self.relative, abs_tol=self.absolute)
        if isinstance(one, Mapping) and isinstance(other, Mapping):
            return one.keys() == other.keys() and all(self.same(one[key], other[key]) for key in one)
        if isinstance(one, list | tuple) and isinstance(other, list | tuple):
            return len(one) == len(other) and all(map(self.same, one, other))
        return type(one) is type(other) and bool(one == other)

    def far(self, one: np.ndarray, other: np.ndarray) -> np.ndarray:
        """Where two arrays of numbers, of one shape, are not the same."""
        found: np.ndarray = np.logical_not(
            np.isclose(one, other, rtol=self.relative, atol=self.absolute, equal_nan=True)
        )
        return found


# What adding up in another order may do to a double, and to a number of 32 bits.
EXACT, DOUBLE, SINGLE = Tolerance(), Tolerance(relative=1e-9), Tolerance(relative=1e-5)


def usual(one: Any, other: Any) -> Tolerance:
    """The tolerance where none was given: whole numbers exactly, others to nine digits."""
    return EXACT if isinstance(one, int) and isinstance(other, int) else DOUBLE


def chosen(name: str, one: Any, other: Any, given: Mapping[str, Tolerance]) -> Tolerance:
    """The tolerance for `name`: its own, that for all, or the usual one."""
    found = given.get(name) or given.get(ALL)
    return found if found is not None else usual(one, other)


def parse(text: str) -> tuple[str, Tolerance]:
    """A name and its tolerance, as on the command line: "auc=0.01,rel:0.05". Raises ReportError."""
    name, equals, values = text.rpartition("=")
    found = {"absolute": 0.0, "relative": 0.0}
    for part in values.split(","):
        kind = "relative" if part.startswith("rel:") else "absolute"
        try:
            found[kind] = float(part.removeprefix("rel:"))
        except ValueError:
            found[kind] = -1
    if not equals or not name or not all(0 <= value < math.inf for value in found.values()):
        raise ReportError(f"the tolerance {text!r} cannot be read; write {_FORM}", tolerance=text)
    return name, Tolerance(**found)


def checked(given: Mapping[str, Any] | None) -> dict[str, Tolerance]:
    """Tolerances as a mapping from Python: of numbers, which are absolute, or of Tolerance. Raises ReportError."""
    found = {}
    for name, value in (given or {}).items():
        if _number(value) and 0 <= value < math.inf:
            found[name] = Tolerance(absolute=float(value))
        elif isinstance(value, Tolerance) and value.absolute >= 0 and value.relative >= 0:
            found[name] = value
        else:
            raise ReportError(f"the tolerance of {name!r} is {value!r}; give a number from 0 on, or a Tolerance")
    return found


def _number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
