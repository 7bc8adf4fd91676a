"""Window analytics: one query over tables and live streams."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lepton_nb.windowing.state import WindowState

__all__ = ["WindowState"]


def __getattr__(name: str) -> Any:
    if name == "WindowState":
        from lepton_nb.windowing.state import WindowState

        return WindowState
    raise AttributeError(f"module 'lepton_nb.windowing' has no attribute {name!r}")
