"""What people see in JupyterLab and Voilà: a live chart, panels, dashboards. The only part that knows a front end."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lepton_nb.widgets.chart import LiveChart

_NAMES = {"LiveChart": "lepton_nb.widgets.chart"}

__all__ = ["LiveChart"]


def __getattr__(name: str) -> Any:
    if name not in _NAMES:
        from lepton_nb.errors import hint

        raise AttributeError(f"module 'lepton_nb.widgets' has no attribute {name!r}{hint(name, _NAMES)}")
    return getattr(import_module(_NAMES[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
