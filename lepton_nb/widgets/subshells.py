"""Clicks that are heard while a cell runs.

JupyterLab sends what widgets say to a subshell of the kernel, a thread beside the one that runs cells. ipykernel 7.4
sends it back to the thread that last spoke for the widget, to be answered where it was asked; for a widget that a cell
made, that is the one which is busy with cells.
"""

from __future__ import annotations

from typing import Any


def keep_subshells() -> None:
    """Let a message that a front end sends to a subshell stay there; all others go the way that ipykernel chooses."""
    try:
        from ipykernel.comm.comm import BaseComm
    except ImportError:  # no kernel, so no front end
        return
    route = getattr(BaseComm, "_reply_subshell_for", None)
    if route is None or getattr(route, "keeps_subshells", False):
        return

    def keep(self: Any, data: Any, asked: Any) -> Any:
        return route(self, data, asked) if asked is None else asked

    keep.keeps_subshells = True  # type: ignore[attr-defined]
    BaseComm._reply_subshell_for = keep  # type: ignore[method-assign]
