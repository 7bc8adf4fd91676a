"""Results handed to a function."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from typing import Any

import polars as pl

from lepton_nb.errors import WindowError
from lepton_nb.windowing.sinks.base import Sink


class CallSink(Sink):
    """Calls a function with each batch; see `lepton_nb.windowing.sinks.call`."""

    name = "call"

    def __init__(self, function: Callable[..., Any]) -> None:
        if not callable(function):
            raise WindowError(f"call() takes a function such as lambda table: ..., not a {type(function).__name__}")
        self._function = function
        self._taken = _arguments(function)

    def open(self, schema: pl.Schema, keys: Sequence[str], *, refires: bool) -> None:
        """There is nothing to prepare."""

    def write(self, batch: int, rows: pl.DataFrame, retracted: pl.DataFrame) -> None:
        if self._taken == 3 or rows.height:
            self._function(*(rows, batch, retracted)[: self._taken])


def _arguments(function: Callable[..., Any]) -> int:
    """How many of table, batch and retracted the function wants: as many as it has arguments without a default."""
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):
        # Functions written in C may hide what they take.
        return 1
    needed = [p for p in parameters if p.default is p.empty and p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)]
    by_place = [p for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD, p.VAR_POSITIONAL)]
    if not by_place or len(needed) > 3 or any(p.kind is p.KEYWORD_ONLY for p in needed):
        raise WindowError(
            "a sink's function takes (table), (table, batch) or (table, batch, retracted); "
            f"{getattr(function, '__name__', function)!s} takes {inspect.signature(function)}"
        )
    return max(1, len(needed))
