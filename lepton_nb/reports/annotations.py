"""Annotations of parameters as forms: read as text, never run."""

from __future__ import annotations

import ast

from lepton_nb.reports.forms import Anything, Choice, Either, Form, Plain, Sequence, Table
from lepton_nb.reports.limits import limited, limits_of
from lepton_nb.reports.moments import Day, DurationText, Moment, Span
from lepton_nb.reports.secrets import SecretForm

SUPPORTED = (
    "int, float, bool, str, date, datetime, timedelta, lnb.Duration, lnb.Secret, Literal[...], list[...], "
    "dict[str, ...], X | None and Annotated[X, lnb.Between(...)]"
)
# Pydantic's short names: the type, and its limit as annotated-types would write it.
_SHORT = {
    "Positive": "Gt(0)",
    "Negative": "Lt(0)",
    "NonNegative": "Ge(0)",
    "NonPositive": "Le(0)",
}


def of_annotation(node: ast.expr) -> Form:
    """The form of an annotation; raises ValueError for one that is not in the closed table."""
    match node:
        case ast.Constant(value=None):
            return Plain(type(None))
        case ast.Constant(value=str(text)):
            return of_annotation(_expression(text))
        case ast.BinOp(left=left, op=ast.BitOr(), right=right):
            return Either((of_annotation(left), of_annotation(right)))
        case ast.Name() | ast.Attribute():
            return _of_name(_name(node))
        case ast.Subscript(value=base, slice=inner):
            return _of_subscript(_name(base), inner.elts if isinstance(inner, ast.Tuple) else [inner])
    raise ValueError(f"annotation {ast.unparse(node)} is none of {SUPPORTED}")


def _of_name(name: str) -> Form:
    kinds: dict[str, Form] = {kind.__name__: Plain(kind) for kind in (int, float, bool, str)}
    kinds |= {"list": Sequence(Anything()), "List": Sequence(Anything()), "Any": Anything()}
    kinds |= {"dict": Table(Anything()), "Dict": Table(Anything())}
    kinds |= {
        "date": Day(),
        "datetime": Moment(),
        "timedelta": Span(),
        "Duration": DurationText(),
        "Secret": SecretForm(),
    }
    for kind in (int, float):
        for word, limit in _SHORT.items():
            kinds[f"{word}{kind.__name__.title()}"] = limited(Plain(kind), limits_of([_expression(limit)]))
    if name not in kinds:
        raise ValueError(f"annotation {name} is none of {SUPPORTED}")
    return kinds[name]


def _of_subscript(name: str, inner: list[ast.expr]) -> Form:
    if name == "Annotated" and len(inner) > 1:
        return limited(of_annotation(inner[0]), limits_of(inner[1:]))
    if name == "Literal":
        return Choice(tuple(ast.literal_eval(item) for item in inner))
    if name in ("list", "List", "dict", "Dict") and of_annotation(inner[-1]).silent:
        raise ValueError("a secret is a parameter of its own, and not part of a list or dict")
    if name in ("list", "List") and len(inner) == 1:
        return Sequence(of_annotation(inner[0]))
    if name in ("dict", "Dict") and len(inner) == 2 and of_annotation(inner[0]) == Plain(str):
        return Table(of_annotation(inner[1]))
    if name == "Optional" and len(inner) == 1:
        return Either((of_annotation(inner[0]), Plain(type(None))))
    if name == "Union":
        return Either(tuple(of_annotation(item) for item in inner))
    raise ValueError(f"annotation {name}[...] is none of {SUPPORTED}")


def _name(node: ast.expr) -> str:
    # typing.Literal and t.Literal are Literal: only the last part tells.
    if isinstance(node, ast.Attribute):
        return node.attr
    return node.id if isinstance(node, ast.Name) else ast.unparse(node)


def _expression(text: str) -> ast.expr:
    return ast.parse(text, mode="eval").body
