"""The notebooks of the interface's benchmark, ours and those beside them."""

from __future__ import annotations

# Four charts as a dashboard may have them, with lines of a thousand points.
CHARTS = """
import ipywidgets
import numpy as np
import plotly.graph_objects as go
from lepton_nb.widgets.chart import LiveChart

steps = np.arange(1000)
figures = [
    go.Figure([go.Scatter(y=np.sin(steps / 50 + part + line), name=f"line {line}") for line in range(2)],
              layout={"title": f"Chart {part}", "height": 300})
    for part in range(4)
]
ipywidgets.VBox([LiveChart(figure) for figure in figures])
"""

SLIDER = """
import ipywidgets
ipywidgets.IntSlider()
"""

FIGURE_WIDGET = """
import numpy as np
import plotly.graph_objects as go

steps = np.arange(1000)
go.FigureWidget([go.Scatter(y=np.sin(steps / 50 + line), name=f"line {line}") for line in range(2)],
                layout={"title": "Chart 0", "height": 300})
"""

CLICKS = """
import ipywidgets
import numpy as np
import plotly.graph_objects as go
from lepton_nb.widgets.chart import LiveChart

chart = LiveChart(go.Figure(go.Scatter(y=np.zeros(1000)), layout={"height": 300}))
ours = ipywidgets.Button(description="Chart")
ours.add_class("ours")
bare = ipywidgets.Button(description="Label")
bare.add_class("bare")
label = ipywidgets.Label("0")
label.add_class("told")
clicks = [0, 0]

def change_chart(_):
    clicks[0] += 1
    chart.show(go.Figure(go.Scatter(y=np.sin(np.arange(1000) / 50 + clicks[0])), layout={"height": 300}))

def change_label(_):
    clicks[1] += 1
    label.value = str(clicks[1])

ours.on_click(change_chart)
bare.on_click(change_label)
ipywidgets.VBox([ours, bare, label, chart])
"""

# Lines that move through a window. The last x of each is the time of the update, in milliseconds after `EPOCH`.
_STREAM = """
import threading
import time
import ipywidgets
import numpy as np
import plotly.graph_objects as go

EPOCH, POINTS, SERIES, PERIOD_S = {epoch}, {points}, {series}, {period_s}
STAMPS = {stamps!r}
random = np.random.default_rng(0)
lines = np.cumsum(random.standard_normal((SERIES, POINTS)), axis=1)
names = [f"series {{number}}" for number in range(SERIES)]
steps = np.arange(1 - POINTS, 1) * (1000 * PERIOD_S / 100)

def window():
    moved = random.standard_normal((SERIES, 100)).cumsum(axis=1) + lines[:, -1:]
    lines[:, :-100] = lines[:, 100:].copy()
    lines[:, -100:] = moved
    stamp = 1000 * time.time() - EPOCH
    return stamp, steps + stamp

stamp, x = window()
{setup}

def stream(seconds):
    with open(STAMPS, "w") as file:
        begin = time.monotonic()
        due = begin
        while due < begin + seconds:
            stamp, x = window()
            update(x)
            file.write(f"{{stamp!r}} {{1000 * time.time() - EPOCH!r}}\\n")
            file.flush()
            due += PERIOD_S
            left = due - time.monotonic()
            if left > 0:
                time.sleep(left)
            else:
                due = time.monotonic()
        file.write("end\\n")

def begin(_):
    threading.Thread(target=stream, args=({seconds},), daemon=True).start()

start = ipywidgets.Button(description="Start")
start.add_class("start")
start.on_click(begin)
ipywidgets.VBox([start, chart])
"""

_OURS = """
from lepton_nb.widgets.chart import LiveChart

def figure(x):
    return go.Figure([go.Scatter(x=x, y=lines[number], name=names[number]) for number in range(SERIES)],
                     layout={"height": 400})

chart = LiveChart(figure(x))

def update(x):
    chart.show(figure(x))
"""

_FIGURE_WIDGET = """
chart = go.FigureWidget([go.Scatter(x=x, y=lines[number].copy(), name=names[number]) for number in range(SERIES)],
                        layout={"height": 400})

def update(x):
    with chart.batch_update():
        for number in range(SERIES):
            chart.data[number].x = x
            chart.data[number].y = lines[number].copy()
"""


def stream(
    *, ours: bool, epoch: int, stamps: str, seconds: float, points: int = 10_000, series: int = 4, rate: float = 20
) -> str:
    """A cell with a button that begins to update a chart `rate` times a second."""
    return _STREAM.format(
        epoch=epoch, points=points, series=series, period_s=1 / rate, stamps=stamps, seconds=seconds,
        setup=_OURS if ours else _FIGURE_WIDGET,
    )  # fmt: skip


MANY = """
import time
import ipywidgets
import numpy as np
import plotly.graph_objects as go
from lepton_nb.widgets.chart import LiveChart

ROWS = {rows}
random = np.random.default_rng(0)
figure = go.Figure(go.Scatter(x=np.arange(ROWS, dtype=float), y=np.cumsum(random.standard_normal(ROWS))),
                   layout={{"height": 400}})
box = ipywidgets.VBox()
told = ipywidgets.Label()
told.add_class("told")
make = ipywidgets.Button(description="Make")
make.add_class("start")

def made(_):
    begin = time.time()
    chart = LiveChart(figure)
    built = time.time()
    box.children = [chart]
    told.value = f"{{begin!r}} {{built!r}}"

make.on_click(made)
ipywidgets.VBox([make, told, box])
"""
