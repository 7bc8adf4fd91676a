"""Plotly figures from plain data: pure functions, no widgets. One module an area, loaded when first used."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lepton_nb.figures import cluster, evaluation, streams, training, windows

__all__ = ["cluster", "evaluation", "streams", "training", "windows"]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module 'lepton_nb.figures' has no attribute {name!r}; known: {', '.join(__all__)}")
    return import_module(f"lepton_nb.figures.{name}")


def __dir__() -> list[str]:
    return sorted(__all__)
