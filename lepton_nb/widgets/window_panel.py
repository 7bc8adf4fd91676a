"""`WindowPanel`: a window query over a live source, asked for and watched with the mouse."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from lepton_nb.errors import LeptonError, WindowError
from lepton_nb.events import Status
from lepton_nb.figures.watched import Watched
from lepton_nb.widgets.fold import Fold
from lepton_nb.widgets.form import Field
from lepton_nb.widgets.panel import Panel
from lepton_nb.widgets.still import Piece
from lepton_nb.widgets.style import side_by_side
from lepton_nb.widgets.tables import table_text
from lepton_nb.widgets.window_code import CodeView
from lepton_nb.widgets.window_export import ExportView
from lepton_nb.widgets.window_form import Asked, WindowForm
from lepton_nb.widgets.window_results import ROWS_SHOWN, ResultsView
from lepton_nb.widgets.window_still import stream_pieces
from lepton_nb.windowing.choices import QueryChoices
from lepton_nb.windowing.offers import examples
from lepton_nb.windowing.query import WindowQuery
from lepton_nb.windowing.read_back import choices_of

if TYPE_CHECKING:
    import plotly.graph_objects as go
    from distributed import Client

    from lepton_nb.cluster.session import Cluster
    from lepton_nb.windowing.stream import StreamRun

REFRESH_S = 0.5
HINT = "Nothing runs yet. Choose what to read and what to compute, then start."


class WindowPanel(Panel):
    """A stream of window results: choose a source and a query, start it, watch it, save what it found.

    stream: one that code made, to be watched; it goes on when the panel is closed. sources: what the form offers to
    read, by name: any frame, files, one of `lnb.sources`; an example if left out. cluster: where streams that the panel
    starts do their work; here if left out. What the mouse has chosen can be had in code: `stream`, `query`, and the
    Python that makes them, which the panel shows.
    """

    def __init__(
        self,
        stream: StreamRun | None = None,
        *,
        sources: Mapping[str, Any] | None = None,
        cluster: Cluster | Client | None = None,
    ) -> None:
        super().__init__("Windows over a stream")
        self._cluster = cluster
        self._query: WindowQuery | None = None
        self._watched: Watched | None = None
        self._started: list[StreamRun] = []
        self._starting = threading.Lock()
        self._drawing = threading.Lock()
        self._drawn: Any = None
        self.form: WindowForm | None = None
        if stream is None or sources is not None:
            self.form = WindowForm(self, examples() if sources is None else sources)
        self._start = self.button("Start", self.start, icon="play", help="Start the stream")
        self._stop = self.button("Stop", self.stop, icon="stop", help="Stop after the batch under way")
        self._results = ResultsView(lambda: self.do("draw", self._draw))
        self._code = CodeView()
        self.export = ExportView(self, lambda: self.stream)
        # Of a stream that is there already, what it gives comes first.
        self._asking = None if self.form is None else Fold("Source and query", self.form.view, open=stream is None)
        self._in_code = Fold("The same in code", self._code.view)
        saving = Fold("Save the results", self.export.view)
        write = self.button("Write the code", self.write_code, icon="code", help="Show the Python that does this")
        buttons = [self._start, self._stop, *([write] if self.form is not None else [])]
        asked = [] if self._asking is None else [self._asking.view]
        self.body.children = [
            *asked, side_by_side(buttons), self._results.view, self._in_code.view, saving.view
        ]  # fmt: skip
        self.every(REFRESH_S, self._draw)
        if stream is not None:
            self._adopt(stream)
            self._fill_in(stream)
        self._draw()

    @property
    def stream(self) -> StreamRun | None:
        """The stream that is shown: the one that was given, or that was started last."""
        return None if self._watched is None else self._watched.stream

    @property
    def query(self) -> WindowQuery | None:
        """The query of the stream that is shown; None where there is none yet, and for a join."""
        return self._query

    @property
    def code(self) -> str:
        """The Python that the panel shows."""
        return self._code.text

    def choose(self, source: str | None = None, query: QueryChoices | None = None, **of_source: Any) -> None:
        """Fill in the form, as if by hand: a source's name, other fields of the source, and the query.

        Raises WindowError for a source that is not offered, and where the panel has no form.
        """
        self._asked_form().choose(source, query, **of_source)

    def start(self) -> None:
        """Start what the form says, or the stream that was given and does not run yet."""
        stream = self.stream
        if stream is not None and not stream.status.over:
            if stream.status is Status.PENDING:
                self._begin(stream)
                self._draw()
            return
        form = self._asked_form()
        self.clear_faults()
        asked = form.asked()
        self.say("Starting …")
        self._start.disabled = True
        self.do("start the stream", lambda: self._make(asked), then=self._made)

    def stop(self) -> None:
        """Stop the stream after the batch under way, beside the kernel."""
        stream = self.stream
        if stream is not None and not stream.status.over:
            self.say("Stopping …")
            self.do("stop the stream", stream.stop, then=lambda _: self._draw())

    def write_code(self) -> None:
        """Show the Python that does what the form says."""
        asked = self._asked_form().asked()

        def write() -> None:
            query = self._marking(asked.query.query)
            self._code.show(self._marking(asked.paced), query.spec, self._cluster is not None)
            self._in_code.open = True

        self.do("write the code", write)

    def wait(self) -> None:
        """Wait until the stream is over; raises what it raised."""
        while self.busy:
            time.sleep(0.02)
        if self.stream is not None:
            self.stream.wait()
        self._draw()

    def figures(self) -> list[go.Figure]:
        """The last windows, and how the stream ran."""
        watched = self._watched
        if watched is None or not watched.batches:
            return []
        return self._results.figures(watched)

    def report(self, level: int = 2) -> Iterator[Piece]:
        """What was computed and from how many rows, all windows, those that ended last, and how the stream ran."""
        watched = self._watched
        if watched is None or not watched.batches or not watched.drawable:
            return super().report(level)
        return stream_pieces(watched, self._words(watched), level, value=self._results.value(watched))

    def summary(self) -> str:
        """What is computed, how the stream stands, and the results that end last."""
        watched = self._watched
        if watched is None:
            return f"{self.title}. {HINT}"
        said = [f"{self.title}: {self._words(watched)}"]
        said += [f"{label}: {value}" for label, value in watched.facts()]
        rows = watched.last_rows(ROWS_SHOWN)
        return "\n".join([*said, *(["The windows that ended last:", table_text(rows)] if rows.height else [])])

    def _close(self) -> None:
        with self._starting:
            running = [one for one in self._started if not one.status.over]
        if self._watched is not None:
            self._watched.close()
        for stream in running:
            stream.stop()
        self._results.close()

    def _fields(self) -> Mapping[str, Field]:
        return {} if self.form is None else self.form.fields

    def _asked_form(self) -> WindowForm:
        if self.form is None:
            raise WindowError(
                "the panel shows a stream that code made, and has no form; give sources= for one, or make a panel of "
                "its own: lnb.WindowPanel(sources={'name': table})"
            )
        return self.form

    def _make(self, asked: Asked) -> tuple[WindowQuery, StreamRun, Asked] | None:
        """Check what was asked, and start it. Beside the kernel: it may read files, or ask a broker."""
        try:
            schema = self._marking(asked.source.schema)
            query = self._marking(lambda: asked.query.query(schema))
            asked = self._marking(asked.paced)
            source = self._marking(lambda: asked.source.source(asked.query.time))
            stream = query.stream(source, cluster=self._cluster, batch_rows=asked.batch_rows)
        except BaseException:
            self._start.disabled = False
            self.say("Not started.")
            raise
        return (query, stream, asked) if self._begin(stream) else None

    def _begin(self, stream: StreamRun) -> bool:
        """Start a stream that the panel then has to stop; False where it was closed meanwhile."""
        with self._starting:
            if self.closed:
                return False
            stream.start()
            self._started = [one for one in self._started if not one.status.over] + [stream]
            return True

    def _made(self, made: tuple[WindowQuery, StreamRun, Asked] | None) -> None:
        if made is None:
            return
        query, stream, asked = made
        self._adopt(stream)
        self._query = query
        self._code.show(asked, query.spec, self._cluster is not None)
        if self._asking is not None:
            self._asking.open = False
        self._draw()

    def _adopt(self, stream: StreamRun) -> None:
        if self._watched is not None:
            self._watched.close()
        specs = stream.specs
        self._query = WindowQuery(specs[0]) if len(specs) == 1 else None
        self._watched = Watched(stream)
        self._code.show(None, specs[0] if len(specs) == 1 else specs, False)
        self._drawn = None

    def _fill_in(self, stream: StreamRun) -> None:
        """Let the form begin with the query of a stream that code made, so that it can be started again as it was."""
        if self.form is not None and len(stream.specs) == 1:
            known = choices_of(stream.specs[0])
            if known is not None:
                self.form.choose(query=known)

    def _marking(self, work: Any) -> Any:
        """Do `work`; an error that names a field is told there too."""
        try:
            return work()
        except LeptonError as error:
            if self.form is not None:
                self.form.mark(error)
            raise

    def _words(self, watched: Watched) -> str:
        query = " and ".join(repr(WindowQuery(spec)).strip("<>") for spec in watched.stream.specs)
        lacking = watched.nothing_found
        if watched.stream.status is Status.RUNNING and not watched.batches:
            lacking = "Nothing has come yet"
        return f"{STATES[watched.stream.status]} {query[0].upper()}{query[1:]}.{f' {lacking}.' if lacking else ''}"

    def _draw(self) -> None:
        """Show how the stream stands, if that has changed."""
        with self._drawing:
            watched = self._watched
            status = None if watched is None else watched.stream.status
            batches = 0 if watched is None else watched.batches
            state = (watched, status, batches, self._results.chosen)
            if state == self._drawn or self.closed:
                return
            self._drawn = state
            running = status is not None and not status.over and status is not Status.PENDING
            self._start.disabled = running or (self.form is None and status is not Status.PENDING)
            self._stop.disabled = not running
            if self.form is not None:
                self.form.disabled = running
            self._results.view.layout.display = "" if batches else "none"
            self.say(HINT if watched is None else self._words(watched))
            if watched is not None and batches:
                self._results.draw(watched)
            if watched is not None and status is not None and status.over:
                if watched.stream.error is not None:
                    self.fail("run the stream", watched.stream.error)
                self.settle()


STATES = {
    Status.PENDING: "Not started yet.",
    Status.RUNNING: "Running.",
    Status.STOPPED: "Stopped.",
    Status.FINISHED: "The source has ended.",
    Status.FAILED: "Failed.",
}
