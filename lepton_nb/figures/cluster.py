"""Figures of a cluster: a `ClusterSnapshot` or a `ClusterHistory` in, a Plotly figure out."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from lepton_nb.cluster.history import ClusterColumns, ClusterHistory
from lepton_nb.cluster.snapshot import ClusterSnapshot
from lepton_nb.figures.axes import style, text
from lepton_nb.figures.palette import COLOURS, GREY

if TYPE_CHECKING:
    import plotly.graph_objects as go

# More workers than these are named beside the plot: above it, they would need more than one row.
WORKERS_IN_A_ROW = 4

TIME = "seconds watched"
# Between two plots, of the height of both.
GAP = 0.1
# Fewer looks at a cluster than these are drawn as points: a line between them would tell of what nobody has seen.
FEWEST_IN_A_LINE = 5

MARGIN = {"l": 60, "r": 20, "t": 68, "b": 50}
ABOVE = {"orientation": "h", "x": 1, "xanchor": "right", "y": 1.02, "yanchor": "bottom", "traceorder": "normal"}
BESIDE = {"orientation": "v", "x": 1.02, "xanchor": "left", "y": 1, "yanchor": "top", "traceorder": "normal"}


def memory(snapshot: ClusterSnapshot) -> go.Figure:
    """One bar a worker, in GB (10^9 bytes): memory of its process, free up to its limit, and spilled to disk.

    Where workers have started processes, such as the ranks of a training, theirs follows that up to the limit, which
    does not hold for them.
    """
    import plotly.graph_objects as go

    names = [_name(worker.name) for worker in snapshot.workers]
    used = [worker.own_memory_bytes / 1e9 for worker in snapshot.workers]
    started = [worker.children_memory_bytes / 1e9 for worker in snapshot.workers]
    spilled = [worker.spilled_bytes / 1e9 for worker in snapshot.workers]
    free = [max(0, worker.memory_limit_bytes - worker.own_memory_bytes) / 1e9 for worker in snapshot.workers]
    figure = go.Figure()
    for label, amounts, colour in (
        ("in use", used, COLOURS[0]),
        ("free", free, "#d0d0d0"),
        ("in processes that it started", started, COLOURS[2]),
        ("on disk", spilled, COLOURS[1]),
    ):
        if amounts is started and not any(started):
            continue
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
        legend=ABOVE,
        xaxis_title="memory (GB)",
        yaxis_autorange="reversed",
    )
    return figure


def cpu(history: ClusterHistory) -> go.Figure:
    """Processor use over time, one line a worker with what it started, in percent of one core: 200 means two busy."""
    return _one(history, "CPU", "cpu_percent", "% of one core", least=100, form=".0f", suffix=" %")


def memory_over_time(history: ClusterHistory) -> go.Figure:
    """Memory in use over time, one line a worker with what it started, in GB (10^9 bytes)."""
    return _one(history, "Memory", "memory_bytes", "GB", least=0.1, form=".2f", suffix=" GB", scale=1e-9)


def tasks(history: ClusterHistory) -> go.Figure:
    """Tasks at work or next in line over time, one line a worker; grey: those that wait for a worker or other tasks."""
    columns = history.columns()
    lines = [
        _numbers(columns.worker(name, "executing")) + _numbers(columns.worker(name, "ready"))
        for name in columns.workers
    ]
    traces = _lines(columns, lines, form=",d", suffix=" tasks")
    traces.append(_grey(columns, _numbers(columns.cluster("waiting")), "waiting", form=",d", suffix=" tasks waiting"))
    return _figure(columns, "Tasks", [("tasks", 4, traces)])


def network(history: ClusterHistory) -> go.Figure:
    """Bytes a second of task results that each worker received (above) and sent (below), in MB/s (10^6 bytes).

    Grey: all traffic of the workers' machine, in which what tasks send by themselves, such as the gradients of a
    training, is counted as well.
    """
    columns = history.columns()
    halves = []
    for number, (way, short) in enumerate((("received", "in"), ("sent", "out"))):
        lines = [_numbers(columns.worker(name, f"{way}_bytes_s"), 1e-6) for name in columns.workers]
        traces = _lines(columns, lines, form=".2f", suffix=f" MB/s {way}", legend=number == 0)
        machine = _numbers(columns.cluster(f"machine_{way}_bytes_s"), 1e-6)
        traces.append(_grey(columns, machine, "whole machine", form=".2f", suffix=f" MB/s {way}", legend=number == 0))
        halves.append((f"MB/s {short}", 0.1, traces))
    return _figure(columns, "Network", halves)


def gpu(history: ClusterHistory) -> go.Figure:
    """Use of each worker's GPU (above, in percent) and its memory (below, in GB) over time; says so where none is."""
    columns = history.columns()
    last = history.last
    use = [_numbers(columns.worker(name, "gpu_percent")) for name in columns.workers]
    held = [_numbers(columns.worker(name, "gpu_memory_bytes"), 1e-9) for name in columns.workers]
    if last is not None and all(np.isnan(line).all() for line in use + held):
        return _figure(
            columns, "GPU", [], nothing="<br>".join(["no GPU is used", *textwrap.wrap(text(last.reason), 50)])
        )
    halves = [
        ("% in use", 100, _lines(columns, use, form=".0f", suffix=" % in use")),
        ("memory (GB)", 0.1, _lines(columns, held, form=".2f", suffix=" GB of GPU memory", legend=False)),
    ]
    seen = zip(columns.workers, use, held, strict=True)
    without = [name for name, *lines in seen if all(np.isnan(line).all() for line in lines)]
    named = ", ".join(map(_name, without))
    told = named if len(without) <= WORKERS_IN_A_ROW else f"{len(without)} of {len(columns.workers)} workers"
    return _figure(columns, f"GPU (nothing known of {text(told)})" if without else "GPU", halves)


Trace = dict[str, Any]
Line = npt.NDArray[np.float64]


def _one(
    history: ClusterHistory,
    title: str,
    column: str,
    unit: str,
    *,
    least: float,
    form: str,
    suffix: str,
    scale: float = 1,
) -> go.Figure:
    columns = history.columns()
    lines = [_numbers(columns.worker(name, column), scale) for name in columns.workers]
    return _figure(columns, title, [(unit, least, _lines(columns, lines, form=form, suffix=suffix))])


def _numbers(values: Sequence[float | None], scale: float = 1) -> Line:
    """NaN, which is a gap in a line, for None."""
    return np.array(values, dtype=np.float64) * scale


def _name(worker: str) -> str:
    return f"worker {worker}"


def _lines(
    columns: ClusterColumns, lines: Sequence[Line], *, form: str, suffix: str, legend: bool = True
) -> list[Trace]:
    """A line for each worker, a gap where it was not there."""
    return [
        {
            "x": np.array(columns.seconds),
            "y": line,
            "name": _name(name),
            "legendgroup": name,
            "showlegend": legend,
            "line": {"width": 2, **style(number)},
            # Seen where there are points; beyond the colours they differ by it, as lines do by their dashes.
            "marker": {"size": 7, "symbol": number // len(COLOURS)},
            "hovertemplate": f"%{{y:{form}}}{suffix}<extra>{_name(name)}</extra>",
        }
        for number, (name, line) in enumerate(zip(columns.workers, lines, strict=True))
    ]


def _grey(columns: ClusterColumns, line: Line, name: str, *, form: str, suffix: str, legend: bool = True) -> Trace:
    return {
        "x": np.array(columns.seconds),
        "y": line,
        "name": name,
        "legendgroup": name,
        "showlegend": legend,
        "line": {"width": 1, "color": GREY},
        "hovertemplate": f"%{{y:{form}}}{suffix}<extra></extra>",
    }


def _figure(
    columns: ClusterColumns, title: str, halves: Sequence[tuple[str, float, list[Trace]]], nothing: str = ""
) -> go.Figure:
    """Plots below each other on one axis of time. halves: the unit, what the axis reaches at least, and the traces.

    In one step, which is cheaper than adding to a figure: a panel draws this each second.
    """
    import plotly.graph_objects as go

    if not columns.seconds:
        nothing = "nothing has been measured yet"
    layout: dict[str, Any] = {
        "title": {
            "text": title,
            "x": 0,
            "xref": "paper",
            "y": 1,
            "yref": "paper",
            "yanchor": "bottom",
            # Above the line of the legend.
            "pad": {"b": 32},
        },
        "template": "plotly_white",
        "height": 320,
        "margin": MARGIN,
        "legend": ABOVE | {"x": 0, "xanchor": "left"} if len(columns.workers) <= WORKERS_IN_A_ROW else BESIDE,
        "hovermode": "x unified",
    }
    if nothing:
        said = {"text": nothing, "showarrow": False, "xref": "paper", "yref": "paper", "x": 0.5, "y": 0.5}
        return go.Figure([], layout | {"annotations": [said], "xaxis_visible": False, "yaxis_visible": False})
    data = []
    mode = "lines" if len(columns.seconds) >= FEWEST_IN_A_LINE else "markers"
    share = (1 + GAP) / len(halves)
    for row, (unit, least, traces) in enumerate(halves):
        axis = "y" if row == 0 else f"y{row + 1}"
        top = 1 - row * share
        layout[f"yaxis{axis[1:]}"] = {
            "title": {"text": unit},
            "domain": [max(0.0, top - share + GAP), top],
            "rangemode": "tozero",
            "autorangeoptions": {"include": [0, least]},
        }
        data += [{"type": "scatter", "mode": mode, "yaxis": axis, **trace} for trace in traces]
    layout["xaxis"] = {"title": {"text": TIME}, "anchor": axis}
    return go.Figure(data, layout)
