"""What figures of training and of predictions share: their layout, and lines of few points."""

from __future__ import annotations

import html
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from lepton_nb.errors import TrainingError
from lepton_nb.figures.palette import COLOURS, GREY

if TYPE_CHECKING:
    import plotly.graph_objects as go

Array = npt.NDArray[Any]
# What each model gave, by its name.
Scores = Mapping[str, Array]

# Of a title of an axis, and of a name in a legend.
LONGEST = 60

DASHES = ("solid", "dash", "dot", "dashdot")


def text(words: object) -> str:
    """Words of a user as Plotly shows them: it reads some tags of HTML, and these are none."""
    return html.escape(str(words), quote=False)


def named(scores: Scores) -> Scores:
    """The scores; raises TrainingError where they are not given by the name of a model."""
    if not isinstance(scores, Mapping) or not scores:
        raise TrainingError("scores must name at least one model; give {'name': scores}")
    return scores


def short(words: str) -> str:
    """Words cut off where they are so long that they would leave no place for what is drawn."""
    return words if len(words) <= LONGEST else words[: LONGEST - 1] + "…"


def style(number: int) -> dict[str, str]:
    """Colour and dash of a line: 32 that can be told apart."""
    return {"color": COLOURS[number % len(COLOURS)], "dash": DASHES[number // len(COLOURS) % len(DASHES)]}


def lay_out(figure: go.Figure, title: str, x: str, y: str) -> None:
    """Give `figure` the look of all of them, a title and the axes' titles."""
    figure.update_layout(
        template="plotly_white",
        title={"text": text(title)} if title else None,
        showlegend=True,
        xaxis={"title": {"text": text(short(x))}},
        yaxis={"title": {"text": text(short(y))}},
    )


def make_square(figure: go.Figure) -> go.Figure:
    """Both axes from 0 to 1, of the same length."""
    figure.update_xaxes(range=[0, 1], constrain="domain")
    figure.update_yaxes(range=[0, 1], scaleanchor="x", scaleratio=1, constrain="domain")
    return figure


def say(figure: go.Figure, words: str) -> None:
    """Say in the middle of `figure` why there is nothing to be seen; its axes have no numbers then."""
    figure.update_xaxes(showticklabels=False, ticks="", showgrid=False, zeroline=False)
    figure.update_yaxes(showticklabels=False, ticks="", showgrid=False, zeroline=False)
    figure.add_annotation(text=text(words), showarrow=False, xref="paper", yref="paper", x=0.5, y=0.5)


def add_diagonal(figure: go.Figure, name: str, start: float = 0.0, end: float = 1.0) -> None:
    """A dotted line on which both axes are equal."""
    line = {"color": GREY, "width": 1, "dash": "dot"}
    figure.add_scatter(x=[start, end], y=[start, end], mode="lines", name=name, line=line, hoverinfo="skip")


def along(x: Array, y: Array, points: int) -> npt.NDArray[np.int64]:
    """Which of the points of a curve to draw: at most `points`, evenly spread along it, the ends among them.

    Lengths are taken as if both axes reached from 0 to 1.
    """
    if x.size <= points:
        return np.arange(x.size)
    way = np.append(0.0, np.cumsum(np.abs(np.diff(x)) + np.abs(np.diff(y))))
    kept = np.searchsorted(way, np.linspace(0.0, way[-1], points - 1))
    return np.unique(np.append(kept, x.size - 1))


def compact(figure: go.Figure, height: int) -> go.Figure:
    """Make `figure` as low as `height` pixels, with its legend in a line above, for a place among others on a page."""
    figure.update_layout(
        height=height,
        margin={"l": 64, "r": 16, "t": 84 if figure.layout.title.text else 34, "b": 48},
        legend={"orientation": "h", "x": 0, "xanchor": "left", "y": 1.01, "yanchor": "bottom"},
        title={
            "x": 0,
            "xanchor": "left",
            "xref": "paper",
            "y": 0.98,
            "yref": "container",
            "yanchor": "top",
            "font": {"size": 15},
        },
    )
    return figure
