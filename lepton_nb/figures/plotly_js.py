"""plotly.js as the package ships it: the partial bundle with the traces of a plane, of plotly.py's own version."""

from __future__ import annotations

import functools
from pathlib import Path

# plotly.js-cartesian-dist-min of the npm registry, as it is; its licence (MIT) lies beside it.
BUNDLE = Path(__file__).parent / "static" / "plotly-cartesian.min.js"
# What the bundle draws.
TRACES = frozenset(
    {
        "bar", "box", "contour", "heatmap", "histogram", "histogram2d", "histogram2dcontour", "image", "pie", "scatter",
        "scatterternary", "violin",
    }
)  # fmt: skip


@functools.cache
def script() -> str:
    """Its source."""
    return BUNDLE.read_text(encoding="utf-8")


@functools.cache
def version() -> str:
    """Its version, such as "4.1.1"."""
    return script()[:200].partition(") v")[2].partition("\n")[0]
