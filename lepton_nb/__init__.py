"""lepton_nb: clusters, window analytics, distributed training and reports from a notebook.

    import lepton_nb as lnb

Every name below is loaded when it is first used, so that the import itself stays light.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from lepton_nb._version import __version__

if TYPE_CHECKING:
    from lepton_nb import figures
    from lepton_nb.cluster.session import Cluster
    from lepton_nb.data import datasets
    from lepton_nb.data.prepare import prepare
    from lepton_nb.environment import mode
    from lepton_nb.errors import (
        ClusterError,
        DataError,
        LeptonError,
        ReportError,
        TrainingError,
        WindowError,
        WindowWarning,
    )
    from lepton_nb.reports.diff import report_diff
    from lepton_nb.reports.facts import record_input, record_seed
    from lepton_nb.reports.limits import Between
    from lepton_nb.reports.record import record
    from lepton_nb.reports.run import report
    from lepton_nb.reports.tolerance import Tolerance
    from lepton_nb.reports.verify import report_verify
    from lepton_nb.training import models
    from lepton_nb.training.saved import load
    from lepton_nb.training.sweep import sweep
    from lepton_nb.training.train import train
    from lepton_nb.widgets.chart import LiveChart
    from lepton_nb.widgets.cluster_panel import ClusterPanel
    from lepton_nb.widgets.dashboard import Dashboard
    from lepton_nb.widgets.training_panel import TrainingPanel
    from lepton_nb.widgets.window_panel import WindowPanel
    from lepton_nb.windowing import sinks, sources
    from lepton_nb.windowing.durations import Duration
    from lepton_nb.windowing.functions import (
        count,
        custom,
        distinct,
        first,
        last,
        max,  # noqa: A004
        mean,
        min,  # noqa: A004
        quantile,
        rows,
        std,
        sum,  # noqa: A004
        top_k,
        var,
    )
    from lepton_nb.windowing.query import windows

_MODULES = {
    "datasets": "lepton_nb.data.datasets",
    "figures": "lepton_nb.figures",
    "models": "lepton_nb.training.models",
    "sinks": "lepton_nb.windowing.sinks",
    "sources": "lepton_nb.windowing.sources",
}
_NAMES = {
    "Between": "lepton_nb.reports.limits",
    "Cluster": "lepton_nb.cluster.session",
    "ClusterError": "lepton_nb.errors",
    "ClusterPanel": "lepton_nb.widgets.cluster_panel",
    "Dashboard": "lepton_nb.widgets.dashboard",
    "DataError": "lepton_nb.errors",
    "Duration": "lepton_nb.windowing.durations",
    "LeptonError": "lepton_nb.errors",
    "LiveChart": "lepton_nb.widgets.chart",
    "ReportError": "lepton_nb.errors",
    "Tolerance": "lepton_nb.reports.tolerance",
    "TrainingError": "lepton_nb.errors",
    "TrainingPanel": "lepton_nb.widgets.training_panel",
    "WindowError": "lepton_nb.errors",
    "WindowPanel": "lepton_nb.widgets.window_panel",
    "WindowWarning": "lepton_nb.errors",
    "count": "lepton_nb.windowing.functions",
    "custom": "lepton_nb.windowing.functions",
    "distinct": "lepton_nb.windowing.functions",
    "first": "lepton_nb.windowing.functions",
    "last": "lepton_nb.windowing.functions",
    "load": "lepton_nb.training.saved",
    "max": "lepton_nb.windowing.functions",
    "mean": "lepton_nb.windowing.functions",
    "min": "lepton_nb.windowing.functions",
    "mode": "lepton_nb.environment",
    "prepare": "lepton_nb.data.prepare",
    "quantile": "lepton_nb.windowing.functions",
    "record": "lepton_nb.reports.record",
    "record_input": "lepton_nb.reports.facts",
    "record_seed": "lepton_nb.reports.facts",
    "report": "lepton_nb.reports.run",
    "report_diff": "lepton_nb.reports.diff",
    "report_verify": "lepton_nb.reports.verify",
    "rows": "lepton_nb.windowing.functions",
    "std": "lepton_nb.windowing.functions",
    "sum": "lepton_nb.windowing.functions",
    "sweep": "lepton_nb.training.sweep",
    "top_k": "lepton_nb.windowing.functions",
    "train": "lepton_nb.training.train",
    "var": "lepton_nb.windowing.functions",
    "windows": "lepton_nb.windowing.query",
}

__all__ = [  # noqa: RUF022
    "Cluster", "datasets", "windows", "sources", "sinks",
    "count", "sum", "mean", "min", "max", "var", "std", "first", "last", "quantile", "distinct", "top_k", "rows",
    "custom",
    "prepare", "train", "sweep", "load", "models", "figures", "report", "record", "mode",
    "report_verify", "report_diff", "record_input", "record_seed", "Tolerance",
    "Between", "Duration",
    "LiveChart", "ClusterPanel", "TrainingPanel", "WindowPanel", "Dashboard",
    "LeptonError", "ClusterError", "DataError", "TrainingError", "WindowError", "ReportError", "WindowWarning",
    "__version__",
]  # fmt: skip


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        value = import_module(_MODULES[name])
    elif name in _NAMES:
        value = getattr(import_module(_NAMES[name]), name)
    else:
        from lepton_nb.errors import hint

        raise AttributeError(f"module 'lepton_nb' has no attribute {name!r}{hint(name, __all__)}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)


def _show_by_panels() -> None:
    """In IPython, let clusters, runs and streams that a cell displays be shown by their panels."""
    import sys
    from importlib.util import find_spec

    shell = sys.modules["IPython"].get_ipython() if "IPython" in sys.modules else None
    if shell is not None and find_spec("anywidget") is not None:
        from lepton_nb.widgets.panels import register

        register(shell)


_show_by_panels()
