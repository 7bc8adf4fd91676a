"""A Transform as plain values, as they are written into files, and back: nothing of them is executed."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

from lepton_nb.data.tokens import TokenColumn
from lepton_nb.data.transform import Column, NumberColumn, TextColumn, Transform

_KINDS: dict[str, Callable[..., Column]] = {"number": NumberColumn, "text": TextColumn, "tokens": TokenColumn}
_NAMES = {kind: name for name, kind in _KINDS.items()}


def values_of(transform: Transform) -> dict[str, Any]:
    """`transform` in dictionaries, lists, texts and numbers."""
    columns = [{"kind": _NAMES[type(column)], **dataclasses.asdict(column)} for column in transform.columns]
    classes = {"classes": list(transform.classes)} if transform.classes else {}
    return {"target": transform.target, "precision": transform.precision, "columns": columns, **classes}


def transform_of(values: dict[str, Any]) -> Transform:
    """What `values_of` told. Raises KeyError or TypeError for other values."""
    columns: list[Column] = []
    for told in values["columns"]:
        fields: dict[str, Any] = {n: tuple(value) if isinstance(value, list) else value for n, value in told.items()}
        columns.append(_KINDS[fields.pop("kind")](**fields))
    classes = tuple(values.get("classes", ()))
    return Transform(values["target"], tuple(columns), values["precision"], classes)
