"""Figures by what they draw: numbers decoded from their compact form, and where two figures differ."""

from __future__ import annotations

import base64
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from lepton_nb.reports.outputs import PLOTLY
from lepton_nb.reports.tolerance import ALL, DOUBLE, SINGLE, Tolerance

# The dtypes of plotly.js's typed arrays; nothing else is decoded.
_DTYPES = {"i1", "u1", "i2", "u2", "i4", "u4", "f4", "f8"}
_LEFT_OUT = ("uid",)


def figures(outputs: list[Any]) -> list[Mapping[str, Any]]:
    """The Plotly figures among a cell's outputs."""
    return [output["data"][PLOTLY] for output in outputs if PLOTLY in output.get("data", {})]


def differences(one: Mapping[str, Any], other: Mapping[str, Any], given: Mapping[str, Tolerance]) -> Iterator[str]:
    """What is different in the traces of two figures, in words: "trace 1 'delay': y differs in 2 of 300 values ..."."""
    traces, others = one.get("data") or [], other.get("data") or []
    if len(traces) != len(others):
        yield f"{len(traces)} traces against {len(others)}"
        return
    for number, (trace, another) in enumerate(zip(traces, others, strict=True), start=1):
        title = f"trace {number}" + (f" {trace['name']!r}" if trace.get("name") else "")
        for path, words in value_differences(trace, another, given, ""):
            yield f"{title}: {path} {words}"


def decoded(value: Any) -> Any:
    """A typed array as NumPy's, anything else as it is."""
    if not isinstance(value, Mapping) or "bdata" not in value or value.get("dtype") not in _DTYPES:
        return value
    try:
        array = np.frombuffer(base64.b64decode(value["bdata"]), dtype=np.dtype(f"<{value['dtype']}"))
        shape = str(value.get("shape") or array.size)
        return array.reshape([int(length) for length in shape.split(",")])
    except (ValueError, TypeError):
        return value


def value_differences(one: Any, other: Any, given: Mapping[str, Tolerance], path: str) -> Iterator[tuple[str, str]]:
    """Where two values, lists or arrays differ, each with its path below `path`, and in words."""
    one, other = decoded(one), decoded(other)
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        for key in sorted({*one, *other} - {*_LEFT_OUT}):
            yield from value_differences(one.get(key), other.get(key), given, f"{path}.{key}" if path else str(key))
        return
    numbers, others = _numbers(one), _numbers(other)
    if numbers is not None and others is not None:
        if numbers.shape != others.shape:
            yield path, f"has {_size(numbers)} values against {_size(others)}"
            return
        single = np.float32 in (numbers.dtype, others.dtype)
        far = (given.get(ALL) or (SINGLE if single else DOUBLE)).far(numbers, others)
        if far.any():
            apart = np.abs(numbers.astype(float) - others.astype(float))
            worst = int(np.nanargmax(np.where(far & ~np.isnan(apart), apart, -1)))
            yield (
                path,
                f"differs in {int(far.sum())} of {far.size} values, most at {worst}: "
                f"{numbers.flat[worst]:.6g} against {others.flat[worst]:.6g}",
            )
    elif isinstance(one, list | np.ndarray) and isinstance(other, list | np.ndarray):
        left, right = list(one), list(other)
        if len(left) != len(right):
            yield path, f"has {len(left)} values against {len(right)}"
            return
        wrong = [
            at for at, pair in enumerate(zip(left, right, strict=True)) if any(value_differences(*pair, given, path))
        ]
        if wrong:
            yield path, f"differs in {len(wrong)} of {len(left)} values, the first at {wrong[0]}"
    elif type(one) is not type(other) or one != other:
        yield path, f"is {_short(one)} against {_short(other)}"


def _numbers(value: Any) -> np.ndarray | None:
    """`value` as an array, where it is one of numbers; None in JSON is no number."""
    if isinstance(value, np.ndarray):
        return value
    if isinstance(value, bool) or (isinstance(value, list) and any(isinstance(item, bool) for item in value)):
        return None
    try:
        array = np.asarray(value)
    except ValueError:
        return None
    return array if array.dtype.kind in "iuf" and array.size else None


def _size(array: np.ndarray) -> str:
    return " x ".join(map(str, array.shape)) or "1"


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
