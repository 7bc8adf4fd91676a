"""Figures of a cluster: a `ClusterSnapshot` in, a Plotly figure out."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lepton_nb.cluster.snapshot import ClusterSnapshot
from lepton_nb.figures.palette import COLOURS

if TYPE_CHECKING:
    import plotly.graph_objects as go


def memory(snapshot: ClusterSnapshot) -> go.Figure:
    """One bar a worker: memory in use, free up to its limit, and spilled to disk, in GB (10^9 bytes)."""
    import plotly.graph_objects as go

    names = [f"worker {worker.name}" for worker in snapshot.workers]
    used = [worker.memory_bytes / 1e9 for worker in snapshot.workers]
    spilled = [worker.spilled_bytes / 1e9 for worker in snapshot.workers]
    free = [max(0, worker.memory_limit_bytes - worker.memory_bytes) / 1e9 for worker in snapshot.workers]
    figure = go.Figure()
    for label, amounts, colour in (
        ("in use", used, COLOURS[0]),
        ("free", free, "#d0d0d0"),
        ("on disk", spilled, COLOURS[1]),
    ):
        figure.add_bar(
            y=names,
            x=amounts,
            name=label,
            orientation="h",
            marker_color=colour,
            hovertemplate="%{y}: %{x:.2f} GB " + label + "<extra></extra>",
        )
    figure.update_layout(
        title="Memory of the workers",
        barmode="stack",
        template="plotly_white",
        height=180 + 40 * len(names),
        margin={"l": 90, "r": 30, "t": 60, "b": 60},
        legend={"orientation": "h", "x": 1, "xanchor": "right", "y": 1.02, "yanchor": "bottom", "traceorder": "normal"},
        xaxis_title="memory (GB)",
        yaxis_autorange="reversed",
    )
    return figure
