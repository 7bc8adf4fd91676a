"""plotly.js for all charts of a kernel: a partial bundle in the package, which goes to a page once."""

from __future__ import annotations

import gzip
import threading

import ipywidgets
import traitlets

from lepton_nb.figures import plotly_js

_lock = threading.Lock()


class PlotlyLibrary(ipywidgets.Widget):  # type: ignore[misc]
    """The script, compressed, as a model that has no view: the first chart of a page takes it from there."""

    _model_name = traitlets.Unicode("WidgetModel").tag(sync=True)
    script = traitlets.Bytes().tag(sync=True)
    version = traitlets.Unicode().tag(sync=True)


_library: PlotlyLibrary | None = None


def library() -> PlotlyLibrary:
    """The one model of this kernel, made anew if the last one was closed with all widgets."""
    global _library
    with _lock:
        if _library is None or _library.comm is None:
            # Each page of an app waits for this: less effort costs an eighth more bytes, and a third of the time.
            packed = gzip.compress(plotly_js.script().encode(), 1, mtime=0)
            _library = PlotlyLibrary(script=packed, version=plotly_js.version())
        return _library
