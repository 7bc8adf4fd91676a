"""`Dashboard`: panels and charts in a grid with tabs, with one time range and one choice of keys for all of them."""

from __future__ import annotations

import collections
import contextlib
import string
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import ipywidgets
import traitlets

from lepton_nb.errors import LeptonError, hint
from lepton_nb.figures.series import ends_of
from lepton_nb.widgets.chart import LiveChart
from lepton_nb.widgets.cluster_panel import ClusterPanel
from lepton_nb.widgets.form import Field, Form
from lepton_nb.widgets.panel import Panel
from lepton_nb.widgets.panels import panel_of
from lepton_nb.widgets.still import Piece, heading
from lepton_nb.widgets.style import side_by_side

if TYPE_CHECKING:
    import plotly.graph_objects as go

LETTERS = string.ascii_uppercase
Layout = str | Mapping[str, str]


class Dashboard(Panel):
    """Panels, charts, figures and widgets on one page; a cluster, a run or a stream is shown by its panel.

    layout: where each of them is, by letters in the order in which they were given: "AB\\nCC" puts the first two side
    by side and the third below, over the whole width; a mapping such as {"Flights": "AB", "Cluster": "C"} makes tabs.
    By default two columns. keys: names of lines (of any chart) that can be chosen; by default those that two parts
    share. Charts over time show the same part of it: who zooms one zooms all. Raises LeptonError for a layout that
    leaves something out or names what is not there.
    """

    def __init__(
        self,
        *parts: Any,
        layout: Layout | None = None,
        title: str = "Dashboard",
        keys: Sequence[str] | None = None,
    ) -> None:
        if not parts:
            raise LeptonError("a dashboard needs something to show; give panels, figures, a cluster, a run or a stream")
        grids = arrange(len(parts), layout)
        super().__init__(title)
        self._own: list[Panel] = []
        self._parts = [self._part(part) for part in parts]
        self._keys = None if keys is None else list(keys)
        self._linked: dict[str, LiveChart] = {}
        self._sharing = False
        self._range = Form(
            [
                Field(name="first", label="From", optional=True, help="First time shown, such as 2013-01-31 06:00"),
                Field(name="last", label="To", optional=True, help="Last time shown, such as 2013-02-01"),
            ]
        )
        self._choice = ipywidgets.SelectMultiple(
            description="Show only", tooltip="Lines to show in all charts; none chosen shows all"
        )
        self._choice.observe(lambda _: self._filter(), "value")
        shared = [self.button("Show this time", self._set_range), self.button("Show all", self._reset, icon="undo")]
        self._time_bar = ipywidgets.VBox([self._range.view, side_by_side(shared)])
        self._bar = side_by_side([self._time_bar, self._choice])
        self._bar.add_class("lepton-bar")
        self._time_bar.layout.flex = "1 1 20rem"
        self._grids = grids
        boxes = [self._grid(rows) for rows in grids.values()]
        pages = ipywidgets.Tab(boxes, titles=tuple(grids)) if isinstance(layout, Mapping) else boxes[0]
        self.body.children = [self._bar, pages]
        self.body.add_class("lepton-page")
        self._link()
        self.every(1.0, self._link)

    @property
    def panels(self) -> tuple[Panel, ...]:
        """The panels on it."""
        return tuple(part for part in self._parts if isinstance(part, Panel))

    @property
    def charts(self) -> tuple[LiveChart, ...]:
        """All charts on it, those of its panels too."""
        found = {chart.model_id: chart for part in self._parts for chart in charts_in(_widget(part))}
        return tuple(found.values())

    @property
    def time_range(self) -> tuple[str, str] | None:
        """The part of the time that all charts over time show, as text; None: all of it."""
        for chart in self._linked.values():
            if chart.x_range is not None:
                return str(chart.x_range[0]), str(chart.x_range[1])
        return None

    @time_range.setter
    def time_range(self, span: tuple[Any, Any] | None) -> None:
        for chart in self._linked.values():
            chart.x_range = None if span is None else [str(span[0]), str(span[1])]

    @property
    def shown_keys(self) -> tuple[str, ...]:
        """The names of the lines that are chosen; none: all are shown."""
        return tuple(self._choice.value)

    @shown_keys.setter
    def shown_keys(self, keys: Sequence[str]) -> None:
        for key in keys:
            if key not in self._choice.options:
                raise LeptonError(f"no chart has a line {key!r}{hint(key, self._choice.options)}")
        self._choice.value = tuple(keys)

    def opened(self) -> None:
        """The dashboard is shown, and with it all of its panels."""
        super().opened()
        for panel in self.panels:
            panel.opened()

    def wait(self) -> None:
        """Wait until what the panels show is over."""
        with contextlib.ExitStack() as stack:
            for panel in self.panels:
                # Of others the whole course is known at the end; of a cluster, only what was seen.
                if isinstance(panel, ClusterPanel):
                    stack.enter_context(panel.watching())
            for panel in self.panels:
                panel.wait()

    def figures(self) -> list[go.Figure]:
        """Of all parts, in their order."""
        found: list[go.Figure] = []
        for part in self._parts:
            found += part.figures() if isinstance(part, Panel) else [one.figure for one in charts_in(part)]
        return found

    def report(self, level: int = 2) -> Iterator[Piece]:
        """All parts, by their tabs, each under the tab's name; without tabs under the title."""
        for name, rows in self._grids.items():
            yield heading(name or self.title, level)
            parts = [self._parts[LETTERS.index(letter)] for letter in dict.fromkeys("".join(rows).replace(".", ""))]
            for part in parts:
                if isinstance(part, Panel):
                    if len(parts) > 1:
                        yield heading(part.title, level + 1)
                    yield from part.report(level + (2 if len(parts) > 1 else 1))
                elif isinstance(part, ipywidgets.HTML):
                    yield {"text/html": part.value, "text/plain": part.value}
                else:
                    yield from (LiveChart.still(chart.figure) for chart in charts_in(part))

    def summary(self) -> str:
        """Of all parts, a paragraph each."""
        said = [part.summary() if isinstance(part, Panel) else charts_text(part) for part in self._parts]
        return "\n\n".join(text for text in said if text)

    def _close(self) -> None:
        for panel in self._own:
            panel.close()

    def _part(self, part: Any) -> Panel | ipywidgets.Widget:
        if isinstance(part, Panel | ipywidgets.Widget):
            return part
        if hasattr(part, "to_plotly_json") and hasattr(part, "data"):
            return LiveChart(part)
        panel = panel_of(part)
        self._own.append(panel)
        return panel

    def _grid(self, rows: Sequence[str]) -> ipywidgets.GridBox:
        letters = dict.fromkeys("".join(rows).replace(".", ""))
        children = []
        for letter in letters:
            child = ipywidgets.Box([_widget(self._parts[LETTERS.index(letter)])])
            child.layout.grid_area = letter
            child.add_class("lepton-cell")
            children.append(child)
        areas = " ".join(f'"{" ".join(row)}"' for row in rows)
        columns = f"repeat({len(rows[0])}, minmax(0, 1fr))"
        layout = ipywidgets.Layout(grid_template_areas=areas, grid_template_columns=columns, grid_gap="12px")
        box = ipywidgets.GridBox(children, layout=layout)
        box.add_class("lepton-grid")
        return box

    def _link(self) -> None:
        """Let charts that came meanwhile follow the others, and offer their lines."""
        charts = self.charts
        for chart in charts:
            if chart.over_time and chart.model_id not in self._linked:
                chart.x_range = next((one.x_range for one in self._linked.values()), chart.x_range)
                self._linked[chart.model_id] = chart
                chart.observe(self._share_range, "x_range")
        self._time_bar.layout.display = "" if len(self._linked) > 1 else "none"
        names = self._keys if self._keys is not None else self._shared_names()
        if tuple(self._choice.options) != tuple(names):
            chosen = self._choice.value
            self._choice.options = names
            self._choice.value = tuple(name for name in chosen if name in names)
        self._choice.layout.display = "" if len(names) > 1 else "none"
        self._bar.layout.display = "" if len(names) > 1 or len(self._linked) > 1 else "none"
        self._filter()

    def _shared_names(self) -> list[str]:
        """Names of lines that two parts have, in their order."""
        counts: collections.Counter[str] = collections.Counter()
        for part in self._parts:
            counts.update({name for chart in charts_in(_widget(part)) for name in chart.names})
        names = dict.fromkeys(name for chart in self.charts for name in chart.names)
        return [name for name in names if counts[name] > 1]

    def _share_range(self, change: traitlets.Bunch) -> None:
        if self._sharing:
            return
        self._sharing = True
        try:
            for chart in self._linked.values():
                chart.x_range = change["new"]
            first, last = self.time_range or (None, None)
            self._range.set(first=first, last=last)
        finally:
            self._sharing = False

    def _set_range(self) -> None:
        wanted = self._range.values()
        if wanted["first"] is None or wanted["last"] is None:
            raise LeptonError("give both ends of the time to show, such as 2013-01-31 06:00")
        check_times(wanted["first"], wanted["last"])
        self.time_range = (wanted["first"], wanted["last"])

    def _reset(self) -> None:
        self.time_range = None
        self._range.set(first=None, last=None)

    def _filter(self) -> None:
        chosen = set(self._choice.value)
        hidden = [name for name in self._choice.options if chosen and name not in chosen]
        for chart in self.charts:
            chart.hidden = hidden


def arrange(parts: int, layout: Layout | None) -> dict[str, list[str]]:
    """Rows of letters by the name of their tab. Raises LeptonError where a part is left out or a letter names none."""
    if parts > len(LETTERS):
        raise LeptonError(f"a dashboard shows up to {len(LETTERS)} parts, not {parts}; make two")
    letters = LETTERS[:parts]
    if layout is None:
        pairs = [letters[at : at + 2] for at in range(0, parts, 2)]
        return {"": [letters] if parts == 1 else [pair if len(pair) == 2 else pair * 2 for pair in pairs]}
    if not isinstance(layout, str | Mapping):
        raise LeptonError(f"layout={layout!r} must be text such as 'AB\\nCC', or a mapping from tabs to such text")
    tabs = {"": layout} if isinstance(layout, str) else dict(layout)
    grids = {}
    for name, text in tabs.items():
        rows = [row.strip().replace(" ", "") for row in str(text).strip().splitlines()]
        if not rows or len({len(row) for row in rows}) > 1:
            raise LeptonError(f"the rows of layout {text!r} must be equally long, such as 'AB\\nCC'")
        grids[name] = rows
    used = {letter for rows in grids.values() for row in rows for letter in row if letter != "."}
    if unknown := sorted(used - set(letters)):
        raise LeptonError(f"the layout names {', '.join(unknown)}; there are {parts} parts: {', '.join(letters)}")
    if missing := sorted(set(letters) - used):
        raise LeptonError(f"the layout leaves {', '.join(missing)} out; give each part a place")
    return grids


def charts_in(widget: Any) -> Iterator[LiveChart]:
    """The charts in a widget and in those that it holds."""
    if isinstance(widget, LiveChart):
        yield widget
    for child in getattr(widget, "children", ()):
        yield from charts_in(child)


def charts_text(widget: Any) -> str:
    """The charts of a widget in words."""
    return "\n\n".join(chart.text for chart in charts_in(widget))


def check_times(first: str, last: str) -> None:
    """Raises LeptonError unless both are times, the first before the last."""
    ends = {time: ends_of((time, time), dates=True) for time in (first, last)}
    for time, end in ends.items():
        if end is None:
            raise LeptonError(f"{time!r} is not a time; write it like 2013-01-31 06:00")
    if not ends[first] < ends[last]:  # type: ignore[operator]
        raise LeptonError(f"the first time, {first}, is not before the last, {last}")


def _widget(part: Any) -> Any:
    return part.view if isinstance(part, Panel) else part
