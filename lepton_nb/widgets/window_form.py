"""The form of the window panel: what to read, which windows, what to compute of them. It decides nothing itself."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import ipywidgets
import polars as pl

from lepton_nb.errors import LeptonError, WindowError
from lepton_nb.widgets.aggregate_form import AggregateForm
from lepton_nb.widgets.form import Field, Form
from lepton_nb.widgets.labels import in_labels
from lepton_nb.windowing.choices import KINDS, Parameter, QueryChoices, no_time_column
from lepton_nb.windowing.offers import FilesChoice, KafkaChoice, NamedChoice, SourceChoice, paced

if TYPE_CHECKING:
    from lepton_nb.widgets.panel import Panel

FILES = "files …"
KAFKA = "Kafka topic …"
TABLE_FIELDS = ("pace", "speed", "by")
FILES_FIELDS = ("path", "follow")
KAFKA_FIELDS = ("topic", "servers", "columns", "start")
PACES: tuple[tuple[str, float | str], ...] = (
    ("all at once, in order of time", "once"),
    ("all at once, as the rows lie", "table"),
    ("in about a minute", 60.0),
    ("in about ten minutes", 600.0),
    ("as it happened", "real"),
    ("at another speed", "speed"),
)
# Batches that are small enough for a view to see something move, and large enough to get on.
BATCH_ROWS = 20_000


@dataclass(frozen=True)
class Asked:
    """All that the form says. takes_s: how long the replay of a table should take, where that is to be reckoned."""

    source: SourceChoice
    takes_s: float | None
    query: QueryChoices
    batch_rows: int

    def paced(self) -> Asked:
        """With the speed reckoned. Reads the table's times."""
        if self.takes_s is None or not isinstance(self.source, NamedChoice):
            return self
        return replace(self, source=paced(self.source, self.query.time, self.takes_s), takes_s=None)


class WindowForm:
    """Inputs for a source and a query; `asked()` gives what they say, `view` is what is shown.

    given: what a user offers to read, by name.
    """

    def __init__(self, panel: Panel, given: Mapping[str, Any]) -> None:
        self._panel, self._given = panel, given
        self._schema: pl.Schema | None = None
        self.source = Form(self._source_fields(), on_change=self._source_changed)
        self.query = Form(self._query_fields(), on_change=self._query_changed)
        self.aggregates = AggregateForm(panel)
        self._read = panel.button(
            "Read the columns", self.read_columns, icon="table", help="See which columns there are"
        )
        self._read.layout.align_self = "flex-start"
        self.view = ipywidgets.VBox(
            [
                _heading("Source"),
                self.source.view,
                self._read,
                _heading("Windows"),
                self.query.view,
                _heading("What to compute of each"),
                self.aggregates.view,
            ]
        )
        self._columns_known(None)
        self._show_source()
        if self._kind() == "table":
            self.read_columns()

    def asked(self) -> Asked:
        """What the form says now. Raises LeptonError for inputs that are no values, and marks them."""
        of_source, of_query = self.source.values(self._source_shown()), self.query.values(self._query_shown())
        known = self._schema is not None
        query = QueryChoices(
            time=of_query["time" if known else "time_text"] or "",
            keys=of_query["keys"] if known else _listed(of_query["keys_text"] or ""),
            kind=of_query["kind"],
            sizes={parameter.name: of_query[_name(parameter)] for parameter in KINDS[of_query["kind"]].parameters},
            out_of_order=of_query["out_of_order"] or "",
            allowed=of_query["allowed"] or "",
            aggregates=self.aggregates.rows,
        )
        source, pace = self._source(), of_source.get("pace")
        takes_s = pace if isinstance(pace, float) and isinstance(source, NamedChoice) and source.replayable else None
        return Asked(source, takes_s, query, of_source["batch_rows"])

    def choose(self, source: str | None = None, query: QueryChoices | None = None, **of_source: Any) -> None:
        """Show other choices, as if they had been made by hand; a field that is not named stays as it is.

        source: a name of what is given, `FILES` or `KAFKA`. of_source: other fields of the source, such as path.
        """
        if source is not None:
            known = [value for _, value in _field(self.source, "source").choices or ()]
            if source not in known:
                raise WindowError.unknown("source", source, known)
            self.source.set(source=source)
        self.source.set(**of_source)
        if query is not None:
            sizes = {_name(one): query.sizes.get(one.name) for one in KINDS[query.kind].parameters}
            columns: dict[str, Any] = {"time_text": query.time, "keys_text": ", ".join(query.keys)}
            if self._schema is not None:
                columns = {"time": query.time, "keys": tuple(query.keys)}
            self.query.set(kind=query.kind, out_of_order=query.out_of_order, allowed=query.allowed, **columns, **sizes)
            self.aggregates.show(query.aggregates)

    def mark(self, error: LeptonError) -> None:
        """Tell an error at the field that it names."""
        name = error.facts.get("field", "")
        if not name:
            return
        kind = KINDS[self.query.value("kind")]
        shown = {parameter.name: _name(parameter) for parameter in kind.parameters}.get(name, name)
        if self._schema is None:
            shown = {"time": "time_text", "keys": "keys_text"}.get(shown, shown)
        for form in (self.source, self.query, self.aggregates.form):
            if shown in form.by_name:
                said = in_labels(error.message, self.fields)
                form.mark({shown: said.partition(": ")[2] or said})

    @property
    def fields(self) -> dict[str, Field]:
        """What the form asks for now, by the names that queries, sources and streams have for it."""
        source, query = self.source.by_name, self.query.by_name
        sizes = {one.name: query[_name(one)] for one in KINDS[self.query.value("kind")].parameters}
        given = (
            source | self.aggregates.form.by_name | {name: query[name] for name in ("time", "out_of_order", "allowed")}
        )
        return given | sizes | {"key": query["keys"], "keys": query["keys"], "schema": source["columns"]}

    def read_columns(self) -> None:
        """Look, beside the kernel, which columns the source has; the fields then offer them."""
        source = self._source()
        self._panel.do("read the columns", source.schema, then=lambda schema: self._columns_read(source, schema))

    @property
    def disabled(self) -> bool:
        """True where nothing can be changed."""
        return self.query.disabled

    @disabled.setter
    def disabled(self, disabled: bool) -> None:
        self.source.disabled = self.query.disabled = self.aggregates.disabled = self._read.disabled = disabled

    def _source_fields(self) -> list[Field]:
        names = [(name, name) for name in self._given]
        return [
            Field(name="source", label="Read", choices=[*names, (FILES, FILES), (KAFKA, KAFKA)],
                  default=next(iter(self._given), FILES), help="what the stream reads"),
            Field(name="pace", label="Pace", choices=PACES, default=60.0 if self._given else "once",
                  help="a table is played by the clock; the result is the same at any pace"),
            Field(name="speed", label="Speed", kind=float, default=3600.0, minimum=0,
                  help="seconds of the table that pass in one second"),
            Field(name="by", label="In the order of", choices=[("the time column", "")], default="",
                  help="a time of arrival shows rows come out of order, and late"),
            Field(name="path", label="Path", optional=True, example="such as data/*.parquet",
                  help="path, glob, folder or URL: Parquet, CSV, JSON lines"),
            Field(name="follow", label="Follow", kind=bool, default=False, help="also read what comes later"),
            Field(name="topic", label="Topic", optional=True, example="such as events",
                  help="messages are JSON objects"),
            Field(name="servers", label="Servers", default="localhost:9092", optional=True,
                  example="such as localhost:9092", help="host:port, ..."),
            Field(name="columns", label="Columns", optional=True, example="such as ts datetime, value float",
                  help="names and types: ts datetime, key text, value float"),
            Field(name="start", label="Begin", choices=[("at the first message", "earliest"), ("now", "latest")],
                  default="earliest", help="where reading begins"),
            Field(name="batch_rows", label="Rows a batch", kind=int, default=BATCH_ROWS, minimum=1,
                  help="at most about so many: fewer are shown sooner, more get on faster"),
        ]  # fmt: skip

    def _query_fields(self) -> list[Field]:
        parameters = {_name(one): one for kind in KINDS.values() for one in kind.parameters}
        sizes = [
            Field(name=name, label=one.label, default=None if one.default is None else str(one.default), optional=True,
                  help=one.help)
            for name, one in sorted(parameters.items(), key=lambda pair: pair[1].optional)
        ]  # fmt: skip
        return [
            Field(name="time", label="Time column", choices=[], help="when the events happened"),
            Field(name="time_text", label="Time column", optional=True, example="such as ts",
                  help="when the events happened"),
            Field(name="keys", label="Keys", choices=[], multiple=True, default=(),
                  help="a result for each of their values; hold Ctrl or ⌘ to choose several, or none"),
            Field(name="keys_text", label="Keys", optional=True, example="none",
                  help="names of columns, commas between; none for all"),
            Field(name="kind", label="Windows", choices=[(kind.label, name) for name, kind in KINDS.items()],
                  default="tumbling", help="how time is divided"),
            *sizes,
            Field(name="out_of_order", label="Out of order", default="0s", optional=True,
                  help="how long to wait for rows that are overdue, before a window is given out"),
            Field(name="allowed", label="Allowed lateness", default="0s", optional=True,
                  help="for how long after that a window is corrected; later rows are kept aside"),
        ]  # fmt: skip

    def _kind(self) -> str:
        return {FILES: "files", KAFKA: "kafka"}.get(self.source.value("source"), "table")

    def _source(self) -> SourceChoice:
        get = self.source.value
        if self._kind() == "files":
            return FilesChoice(get("path") or "", get("follow"))
        if self._kind() == "kafka":
            return KafkaChoice(get("topic") or "", get("servers") or "", get("columns") or "", get("start"))
        named = NamedChoice(get("source"), self._given, by=get("by"))
        if not named.replayable:
            return named
        fixed = {"once": math.inf, "real": 1.0}
        speed = get("speed") if get("pace") == "speed" else fixed.get(get("pace"))
        return replace(named, speed=speed)

    def _source_changed(self, name: str) -> None:
        if name == "source":
            self._columns_known(None)
            if self._kind() == "table":
                self.read_columns()
        elif name in ("path", "columns"):
            self._columns_known(None)
        self._show_source()

    def _query_changed(self, name: str) -> None:
        if name == "kind":
            self._show_kind()

    def _source_shown(self) -> list[str]:
        table = TABLE_FIELDS if NamedChoice(self.source.value("source"), self._given).replayable else ()
        fields = {"files": FILES_FIELDS, "kafka": KAFKA_FIELDS, "table": table}[self._kind()]
        hidden = "" if self.source.value("pace") == "speed" else "speed"
        return ["source", *(name for name in fields if name != hidden), "batch_rows"]

    def _query_shown(self) -> list[str]:
        columns = ("time", "keys") if self._schema is not None else ("time_text", "keys_text")
        sizes = [_name(parameter) for parameter in KINDS[self.query.value("kind")].parameters]
        return [*columns, "kind", *sizes, "out_of_order", "allowed"]

    def _show_source(self) -> None:
        self.source.show_only(self._source_shown())
        self._read.layout.display = "none" if self._kind() == "table" else ""

    def _show_kind(self) -> None:
        self.query.show_only(self._query_shown())

    def _columns_read(self, source: SourceChoice, schema: pl.Schema | None) -> None:
        # The pace may have been changed meanwhile, which changes no column.
        if _columns_of(source) == _columns_of(self._source()):
            self._columns_known(schema)

    def _columns_known(self, schema: pl.Schema | None) -> None:
        self._schema = schema
        names = [] if schema is None else schema.names()
        moments = [name for name, dtype in (schema or {}).items() if dtype in (pl.Datetime, pl.Date)]
        self.query.choose("time", [(name, name) for name in moments])
        self.query.choose("keys", [(name, name) for name in names])
        self.source.choose("by", [("the time column", ""), *((name, name) for name in moments)])
        # What was written before the columns were known is chosen now.
        time, keys = self.query.value("time_text"), _listed(self.query.value("keys_text") or "")
        if time in moments:
            self.query.set(time=time, time_text=None)
        if keys and set(keys) <= set(names):
            self.query.set(keys=keys, keys_text=None)
        self.aggregates.offer(schema)
        if schema is not None and not moments:
            self.query.mark({"time": no_time_column(schema)})
        self._show_kind()


def _name(parameter: Parameter) -> str:
    """What its field is called: kinds of windows share a parameter where they mean the same by it."""
    return f"{parameter.name}_{parameter.label.lower().replace(' ', '_')}"


def _columns_of(source: SourceChoice) -> tuple[str, ...]:
    """Two sources with the same one have the same columns."""
    if isinstance(source, FilesChoice):
        return ("files", source.path)
    if isinstance(source, KafkaChoice):
        return ("kafka", source.columns)
    return ("given", source.name) if isinstance(source, NamedChoice) else ()


def _field(form: Form, name: str) -> Field:
    return next(field for field in form.fields if field.name == name)


def _listed(text: str) -> tuple[str, ...]:
    return tuple(filter(None, (part.strip() for part in text.split(","))))


def _heading(words: str) -> ipywidgets.HTML:
    return ipywidgets.HTML(f'<h3 class="lepton-heading">{words}</h3>')
