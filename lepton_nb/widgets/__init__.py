"""What people see in JupyterLab and Voilà: a live chart, panels, dashboards. The only part that knows a front end."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from lepton_nb.widgets.subshells import keep_subshells

if TYPE_CHECKING:
    from lepton_nb.widgets.chart import LiveChart
    from lepton_nb.widgets.dashboard import Dashboard

keep_subshells()

_NAMES = {
    "Dashboard": "lepton_nb.widgets.dashboard",
    "LiveChart": "lepton_nb.widgets.chart",
}

__all__ = ["Dashboard", "LiveChart"]


def __getattr__(name: str) -> Any:
    if name not in _NAMES:
        from lepton_nb.errors import hint

        raise AttributeError(f"module 'lepton_nb.widgets' has no attribute {name!r}{hint(name, _NAMES)}")
    return getattr(import_module(_NAMES[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
