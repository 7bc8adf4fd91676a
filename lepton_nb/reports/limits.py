"""Limits of parameters: `Annotated[int, lnb.Between(1, 31)]`, also as annotated-types and Pydantic write them."""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from lepton_nb.errors import ReportError
from lepton_nb.reports import forms
from lepton_nb.reports.forms import Either, Form, Plain, describe
from lepton_nb.reports.moments import constant


@dataclass(frozen=True, slots=True)
class Between:
    """Limits of a notebook's parameter, for its annotation: `days: Annotated[int, lnb.Between(1, 31)] = 5`.

    least, most: the ends, which are allowed themselves. above, below: ends that are not. None leaves a side open. They
    are numbers, or for a date, a time or a duration what the parameter takes: `lnb.Between("1h", "7d")`. Reports and
    apps check them before anything runs, and read them as text: write the ends out. Raises ReportError where there is
    no end, or two for one side.
    """

    least: Any = None
    most: Any = None
    above: Any = field(default=None, kw_only=True)
    below: Any = field(default=None, kw_only=True)

    def __post_init__(self) -> None:
        ends = (self.least, self.most, self.above, self.below)
        if all(end is None for end in ends):
            raise ReportError("Between needs an end: lnb.Between(1, 31), lnb.Between(least=1) or lnb.Between(above=0)")
        for one, other, names in (
            (self.least, self.above, "least= or above="),
            (self.most, self.below, "most= or below="),
        ):
            if one is not None and other is not None:
                raise ReportError(f"Between has two ends for one side; give {names}")

    def __str__(self) -> str:
        if self.least is not None and self.most is not None:
            return f"from {_shown(self.least)} to {_shown(self.most)}"
        ends = (("at least", self.least), ("above", self.above), ("at most", self.most), ("below", self.below))
        return " and ".join(f"{word} {_shown(end)}" for word, end in ends if end is not None)

    def fitted(self, form: Form) -> Between:
        """With ends that are values of `form`; raises ValueError where it has no order, or an end is none of them."""
        if not form.ordered:
            raise ValueError(
                f"{form} cannot be {self}; int, float, date, datetime, timedelta and lnb.Duration can have such limits"
            )

        def end(value: Any) -> Any:
            if value is None:
                return None
            number = isinstance(value, int | float) and not isinstance(value, bool)
            try:
                found = value if number and form in (Plain(int), Plain(float)) else form.check(value)
            except ValueError as error:
                raise ValueError(f"the limit {value!r} {error}") from None
            form.order(found)
            return found

        made = Between(end(self.least), end(self.most), above=end(self.above), below=end(self.below))
        low = made.least if made.above is None else made.above
        high = made.most if made.below is None else made.below
        if low is not None and high is not None:
            closed = made.least is not None and made.most is not None
            least, most = form.order(low), form.order(high)
            if not (least <= most if closed else least < most):
                raise ValueError(f"no value is {made}: the first end must be the smaller one")
        return made

    def allows(self, form: Form, value: Any) -> bool:
        """Whether a value that fits `form` is within."""
        place = form.order(value)
        return (
            (self.least is None or place >= form.order(self.least))
            and (self.above is None or place > form.order(self.above))
            and (self.most is None or place <= form.order(self.most))
            and (self.below is None or place < form.order(self.below))
        )


@dataclass(frozen=True, slots=True)
class _Multiple:
    step: Any

    def __str__(self) -> str:
        return f"a multiple of {_shown(self.step)}"

    def fitted(self, form: Form) -> _Multiple:
        if form not in (Plain(int), Plain(float)) or not isinstance(self.step, int | float) or not self.step:
            raise ValueError(f"{form} cannot be a multiple of {self.step!r}; numbers can")
        return self

    def allows(self, form: Form, value: Any) -> bool:
        share = value / self.step
        # As 0.3 is a multiple of 0.1, though not to the last bit.
        return value % self.step == 0 or (isinstance(share, float) and abs(share - round(share)) < 1e-9 * max(1, share))


@dataclass(frozen=True, slots=True)
class _Length:
    least: Any = 0
    most: Any = None

    def __str__(self) -> str:
        if self.most is None:
            return f"with a length of at least {self.least}"
        return f"with a length of {'at most' if not self.least else f'{self.least} to'} {self.most}"

    def fitted(self, form: Form) -> _Length:
        if not (isinstance(form, forms.Sequence | forms.Table) or form == Plain(str)):
            raise ValueError(f"{form} has no length; text, lists and dicts have")
        if not isinstance(self.least, int) or not isinstance(self.most, int | None):
            raise ValueError(f"a length is a whole number, unlike {self.least!r} or {self.most!r}")
        return self

    def allows(self, form: Form, value: Any) -> bool:
        return self.least <= len(value) and (self.most is None or len(value) <= self.most)


@dataclass(frozen=True, slots=True)
class _Pattern:
    text: str

    def __str__(self) -> str:
        return f"fitting the pattern {self.text}"

    def fitted(self, form: Form) -> _Pattern:
        if form != Plain(str):
            raise ValueError(f"{form} cannot have a pattern; text can")
        try:
            re.compile(self.text)
        except (re.error, TypeError) as error:
            raise ValueError(f"{self.text!r} is no pattern: {error}") from None
        return self

    def allows(self, form: Form, value: Any) -> bool:
        return re.search(self.text, value) is not None


Limit = Between | _Multiple | _Length | _Pattern


@dataclass(frozen=True, slots=True)
class Limited(Form):
    """A form whose values have limits."""

    form: Form
    limits: tuple[Limit, ...]

    def __str__(self) -> str:
        return ", ".join(map(str, (self.form.name, *self.limits))).replace(", from ", " from ")

    @property
    def bare(self) -> Form:
        return self.form

    def check(self, value: Any) -> Any:
        return self._within(self.form.check(value), describe(value))

    def parse(self, text: str) -> Any:
        return self._within(self.form.parse(text), repr(text))

    def _within(self, value: Any, given: str) -> Any:
        if not all(limit.allows(self.form, value) for limit in self.limits):
            raise ValueError(f"must be {self}, not {given}")
        return value


def limited(form: Form, limits: Sequence[Limit]) -> Form:
    """`form` with limits; of `X | None`, the part that is no None has them. Raises ValueError where they do not fit."""
    if not limits:
        return form
    if isinstance(form, Either):
        none = Plain(type(None))
        return Either(tuple(one if one == none else limited(one, limits) for one in form.forms))
    if isinstance(form, Limited):
        return limited(form.form, [*form.limits, *limits])
    return Limited(form, tuple(limit.fitted(form) for limit in limits))


def limits_of(metadata: Sequence[ast.expr]) -> list[Limit]:
    """The limits among what follows the type in `Annotated[...]`; what says nothing about limits is left out.

    Raises ValueError for limits that are not written out.
    """
    found: list[Limit] = []
    for node in metadata:
        if not isinstance(node, ast.Call):
            continue
        name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
        if name in _READ:
            try:
                given = [constant(one) for one in node.args]
                named = {str(one.arg): constant(one.value) for one in node.keywords if one.arg not in _SAYS_NOTHING}
            except ValueError:
                raise ValueError(
                    f"the limits of {ast.unparse(node)} are not written out; write numbers or text"
                ) from None
            try:
                found += _READ[name](*given, **named)
            except ReportError as error:
                raise ValueError(error.message) from None
            except TypeError:
                raise ValueError(f"{ast.unparse(node)} cannot be read as limits; write lnb.Between(1, 31)") from None
    return found


def _between(*ends: Any, **named: Any) -> list[Limit]:
    return [Between(*ends, **named)]


def _interval(*, gt: Any = None, ge: Any = None, lt: Any = None, le: Any = None) -> list[Limit]:
    return [Between(ge, le, above=gt, below=lt)]


def _length(min_length: Any = 0, max_length: Any = None) -> list[Limit]:
    return [_Length(min_length or 0, max_length)]


def _field(
    *, multiple_of: Any = None, min_length: Any = None, max_length: Any = None, pattern: Any = None, **ends: Any
) -> list[Limit]:
    found: list[Limit] = _interval(**ends) if ends else []
    found += [] if multiple_of is None else [_Multiple(multiple_of)]
    found += [] if min_length is None and max_length is None else _length(min_length, max_length)
    return found + ([] if pattern is None else [_Pattern(pattern)])


# Of Pydantic's Field: words about the parameter, not about its values.
_SAYS_NOTHING = ("title", "description", "examples", "alias", "strict", "json_schema_extra")
_READ: dict[str, Callable[..., list[Limit]]] = {
    "Between": _between,
    "Interval": _interval,
    "Ge": lambda ge: _interval(ge=ge),
    "Gt": lambda gt: _interval(gt=gt),
    "Le": lambda le: _interval(le=le),
    "Lt": lambda lt: _interval(lt=lt),
    "MultipleOf": lambda multiple_of: [_Multiple(multiple_of)],
    "Len": _length,
    "MinLen": lambda min_length: _length(min_length),
    "MaxLen": lambda max_length: _length(0, max_length),
    "Field": _field,
    "StringConstraints": _field,
}


def _shown(end: Any) -> str:
    return end.isoformat(" ", "minutes") if isinstance(end, datetime) else str(end)
