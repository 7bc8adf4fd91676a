"""A query as the Python that a user would write: what was chosen with the mouse can be taken into code."""

from __future__ import annotations

import json
import keyword
from collections.abc import Mapping
from typing import Any

from lepton_nb.windowing import durations
from lepton_nb.windowing.aggregates import (
    Aggregate,
    Custom,
    Quantile,
    Rows,
    SketchDistinct,
    SketchQuantile,
    Spread,
    TopK,
)
from lepton_nb.windowing.durations import Length
from lepton_nb.windowing.spec import CountingShape, GridShape, Lateness, RollingShape, SessionShape, Shape, Spec


def query_code(spec: Spec, data: str = "") -> str:
    """An expression that makes the query anew; `data` is what code calls its table, "" for a query without one.

    The functions of a `custom` aggregate cannot be written down: dots stand in their place.
    """
    keys = list(spec.keys)
    key = {} if not keys else {"key": keys[0] if len(keys) == 1 else keys}
    calls = [f"lnb.windows({', '.join([*([data] if data else []), arguments(time=spec.time, **key)])})"]
    if spec.shape is not None:
        calls.append(_shape(spec.shape))
    if spec.lateness != Lateness():
        calls.append(_lateness(spec.lateness))
    if spec.aggregates:
        calls.append(_aggregates(spec.aggregates))
    if len(calls) == 1:
        return calls[0]
    return "(" + _indented("\n" + "\n.".join(calls)) + "\n)"


def _indented(text: str) -> str:
    return text.replace("\n", "\n    ")


def call(function: str, *positional: Any, **named: Any) -> str:
    """A call as text; its values are plain ones: texts, numbers, booleans, None, and lists of them."""
    return f"{function}({', '.join([*map(literal, positional), *([arguments(**named)] if named else [])])})"


def arguments(**named: Any) -> str:
    """Arguments by name."""
    return ", ".join(f"{name}={literal(value)}" for name, value in named.items())


def literal(value: Any) -> str:
    """A value as Python reads it, texts in double quotes."""
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False)
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(literal, value))}]"
    return repr(value)


def _shape(shape: Shape) -> str:
    if isinstance(shape, SessionShape):
        return call("session", durations.text(shape.gap_ns))
    if isinstance(shape, RollingShape):
        return call("rolling", rows=shape.rows) if shape.rows else call("rolling", durations.text(shape.size_ns))
    if isinstance(shape, CountingShape):
        return call("counting", shape.rows, **({} if shape.every == shape.rows else {"every": shape.every}))
    return _grid(shape)


def _grid(shape: GridShape) -> str:
    if shape.inclusive:
        months = shape.every.months
        periods = shape.size.months // months if months else shape.size.ns // shape.every.ns
        return call("sliding_inclusive", periods, length_text(shape.every))
    every = {} if shape.kind == "tumbling" else {"every": length_text(shape.every)}
    offset = {} if shape.offset in (Length(), Length(weeks=True)) else {"offset": length_text(shape.offset)}
    zone = {"tz": shape.zone} if shape.zone else {}
    return call(shape.kind, length_text(shape.size), **every, **offset, **zone)


def length_text(length: Length) -> str:
    """A length as a query takes it; weeks stay weeks, which begin on Monday."""
    return f"{length.ns // durations.UNITS_NS['w']}w" if length.weeks else length.text


def _lateness(lateness: Lateness) -> str:
    lengths = {"out_of_order": lateness.out_of_order_ns, "allowed": lateness.allowed_ns}
    return call("lateness", **{name: durations.text(length_ns) for name, length_ns in lengths.items() if length_ns})


def _aggregates(aggregates: tuple[tuple[str, Aggregate], ...]) -> str:
    written = {name: _aggregate(aggregate) for name, aggregate in aggregates}
    if all(name.isidentifier() and not _keyword(name) for name in written):
        lines = [f"{name}={text}," for name, text in written.items()]
    else:
        # Such names can only be given in a dict.
        lines = ["**{", *(f"    {literal(name)}: {text}," for name, text in written.items()), "}"]
    if len(lines) == 1:
        return f"agg({lines[0].removesuffix(',')})"
    return "agg(" + _indented("\n" + "\n".join(lines)) + "\n)"


def _keyword(name: str) -> bool:
    # A method's own first argument cannot be given by name either.
    return keyword.iskeyword(name) or name == "self"


def _aggregate(aggregate: Aggregate) -> str:
    function = f"lnb.{aggregate.name}"
    if isinstance(aggregate, Rows):
        return call(function, *aggregate.names)
    if isinstance(aggregate, Custom):
        return f"{function}({literal(aggregate.column)}, init=..., add=..., merge=..., finish=...)"
    more: Mapping[str, Any] = {}
    if isinstance(aggregate, Quantile):
        return call(function, aggregate.column, aggregate.q)
    if isinstance(aggregate, SketchQuantile):
        return call(function, aggregate.column, aggregate.q, error=aggregate.error)
    if isinstance(aggregate, SketchDistinct):
        more = {"error": aggregate.error}
    elif isinstance(aggregate, Spread):
        more = {} if aggregate.ddof == 1 else {"ddof": aggregate.ddof}
    elif isinstance(aggregate, TopK):
        more = {} if aggregate.by == "count" else {"by": aggregate.by}
        return call(function, aggregate.column, aggregate.k, **more)
    return call(function, *([aggregate.column] if aggregate.column else []), **more)
