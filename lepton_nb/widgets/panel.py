"""What all panels share: a title, a status line, errors that land where they were caused, work beside the kernel."""

from __future__ import annotations

import contextlib
import html
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, TypeVar

import ipywidgets

from lepton_nb.background import BackgroundRun, Control
from lepton_nb.errors import LeptonError
from lepton_nb.widgets.display import Shown, bundle, failing_the_cell, is_live
from lepton_nb.widgets.faults import Faults
from lepton_nb.widgets.labels import in_labels
from lepton_nb.widgets.still import Piece, words
from lepton_nb.widgets.style import STYLE

if TYPE_CHECKING:
    import plotly.graph_objects as go

    from lepton_nb.widgets.form import Field

T = TypeVar("T")


class Panel:
    """A part of a page. `view` is its widget, `body` the box that a subclass fills.

    Displayed in JupyterLab or in an app it is live; in a report and a script it waits for what it shows, and leaves
    figures and words. Handlers run guarded: an error is shown in the panel and nothing else stops. `close` ends what
    the panel started.
    """

    def __init__(self, title: str) -> None:
        _import_early()
        self.title = title
        self.closed = False
        self._status = ipywidgets.HTML()
        self._faults = Faults()
        self.body = ipywidgets.VBox()
        header = ipywidgets.HTML(f'{STYLE}<h2 class="lepton-title">{html.escape(title)}</h2>')
        self.view = ipywidgets.VBox([header, self._status, self._faults.view, self.body])
        self.view.add_class("lepton-panel")
        self._repeated: list[tuple[float, Callable[[], None]]] = []
        self._ticker: BackgroundRun[None] | None = None
        self._works: list[BackgroundRun[None]] = []
        self._lock = threading.Lock()
        self._shown: list[Shown] = []
        self.say("")

    def say(self, words: str) -> None:
        """Show `words` in the status line, which screen readers read out."""
        text = f'<div role="status" class="lepton-status">{html.escape(words)}</div>'
        if self._status.value != text:
            self._status.value = text

    @contextlib.contextmanager
    def guard(self, what: str) -> Iterator[None]:
        """Show an error of this block in the panel: `what` says what was tried, such as "start the cluster"."""
        try:
            yield
        except Exception as error:
            self.fail(what, error)

    def fail(self, what: str, error: BaseException) -> None:
        """Show that `what` could not be done, and why."""
        words = in_labels(error.message, self._fields()) if isinstance(error, LeptonError) else ""
        self._faults.add(what, error, words)

    def _fields(self) -> Mapping[str, Field]:
        """By the name that code has for it, each field that the panel asks for: errors are told with their labels."""
        return {}

    def clear_faults(self) -> None:
        """Take the errors away that are shown."""
        self._faults.clear()

    def button(self, label: str, on_click: Callable[[], None], *, icon: str = "", help: str = "") -> ipywidgets.Button:
        """A button whose handler runs guarded."""
        made = ipywidgets.Button(description=label, icon=icon, tooltip=help or label)
        made.layout.width = "auto"

        def clicked(_: Any) -> None:
            # What the last try of it came to is told no longer.
            self._faults.drop(label.lower())
            with self.guard(label.lower()):
                on_click()

        made.on_click(clicked)
        return made

    def do(self, what: str, work: Callable[[], T], then: Callable[[T], None] | None = None) -> None:
        """Do `work` beside the kernel, then call `then` with its result; an error of either lands in the panel.

        what: what is tried, such as "start the cluster".
        """

        def run(_: Control) -> None:
            self._faults.drop(what)
            with self.guard(what):
                result = work()
                if then is not None and not self.closed:
                    then(result)

        with self._lock:
            self._works = [one for one in self._works if not one.status.over]
            self._works.append(BackgroundRun(run, name=f"panel-work-{what.replace(' ', '-')}").start())

    @property
    def busy(self) -> bool:
        """True while work that `do` began goes on."""
        return any(not one.status.over for one in self._works)

    def every(self, interval_s: float, refresh: Callable[[], None]) -> None:
        """Call `refresh` about every `interval_s` while the panel is shown."""
        self._repeated.append((interval_s, refresh))

    def refresh(self) -> None:
        """Do now what is done from time to time."""
        for _, refresh in self._repeated:
            with self.guard(f"refresh the panel {self.title!r}"):
                refresh()

    def opened(self) -> None:
        """The panel is shown: what is done from time to time begins."""
        with self._lock:
            if self._repeated and self._ticker is None and not self.closed:
                self._ticker = BackgroundRun(self._tick, name=f"panel-{self.title.lower().replace(' ', '-')}").start()

    @contextlib.contextmanager
    def watching(self) -> Iterator[None]:
        """Do what is done from time to time also while nobody sees the panel, until the end of the block."""
        had = self._ticker is not None
        self.opened()
        try:
            yield
        finally:
            with self._lock:
                ticker, self._ticker = self._ticker, self._ticker if had else None
            if ticker is not None and not had:
                ticker.stop()

    def _tick(self, control: Control) -> None:
        due = [0.0] * len(self._repeated)
        while not control.stopping:
            now = time.monotonic()
            for index, (interval_s, refresh) in enumerate(self._repeated):
                if now >= due[index]:
                    with self.guard(f"refresh the panel {self.title!r}"):
                        refresh()
                    due[index] = time.monotonic() + interval_s
            control.wait_for_stop(max(0.01, min(due) - time.monotonic()))

    def settle(self) -> None:
        """What is shown is over: a saved notebook is to have this state."""
        for shown in self._shown:
            shown.renew()

    def close(self) -> None:
        """End what the panel started, and its views. Safe to call twice."""
        if self.closed:
            return
        self.closed = True
        if self._ticker is not None:
            self._ticker.stop()
        self._close()
        for work in self._works:
            if not work.status.over:
                work.stop()
        self.view.close()

    def _close(self) -> None:
        """What a subclass ends."""

    def figures(self) -> list[go.Figure]:
        """What a report shows of the panel, in this order."""
        return []

    def summary(self) -> str:
        """What is seen, in words."""
        return self.title

    def report(self, level: int = 2) -> Iterator[Piece]:
        """What a report has of the panel, as outputs of a cell: words first, then figures. No controls.

        level: that of the headings in it.
        """
        from lepton_nb.widgets.chart import LiveChart

        yield words(self.summary())
        for figure in self.figures():
            yield LiveChart.still(figure)

    def wait(self) -> None:
        """Wait until what is shown is over; raises what it raised."""

    def _bundle(self) -> dict[str, Any]:
        from lepton_nb.widgets.chart import LiveChart

        figures = self.figures()
        still = LiveChart.still(figures[0]) if figures else {}
        return dict(bundle(self.view._repr_mimebundle_(), still | {"text/plain": self.summary()}))

    def _ipython_display_(self) -> None:
        from IPython.display import display

        if is_live():
            self.opened()
            self._shown.append(Shown(self._bundle))
            return
        with failing_the_cell():
            self.wait()
            for piece in self.report():
                display(piece, raw=True)


def _import_early() -> None:
    """Import here what figures need: two threads that do so at the same time can each find the other's half done."""
    import plotly.graph_objects  # noqa: F401

    with contextlib.suppress(ImportError):
        import pandas  # noqa: F401
