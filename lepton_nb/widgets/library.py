"""plotly.js for all charts of a kernel: a partial bundle in the package, which goes to a page once."""

from __future__ import annotations

import functools
import gzip
import threading
from pathlib import Path

import ipywidgets
import traitlets

BUNDLE = Path(__file__).parent / "static" / "plotly-cartesian.min.js"

_lock = threading.Lock()


class PlotlyLibrary(ipywidgets.Widget):  # type: ignore[misc]
    """The script, compressed, as a model that has no view: the first chart of a page takes it from there."""

    _model_name = traitlets.Unicode("WidgetModel").tag(sync=True)
    script = traitlets.Bytes().tag(sync=True)
    version = traitlets.Unicode().tag(sync=True)


@functools.cache
def script() -> str:
    """The source of plotly.js with the traces of a plane: lines, bars, boxes, heat maps, histograms, pies."""
    return BUNDLE.read_text(encoding="utf-8")


@functools.cache
def version() -> str:
    """The version of plotly.js."""
    return script()[:200].partition(") v")[2].partition("\n")[0]


_library: PlotlyLibrary | None = None


def library() -> PlotlyLibrary:
    """The one model of this kernel, made anew if the last one was closed with all widgets."""
    global _library
    with _lock:
        if _library is None or _library.comm is None:
            packed = gzip.compress(script().encode(), 6, mtime=0)
            _library = PlotlyLibrary(script=packed, version=version())
        return _library
