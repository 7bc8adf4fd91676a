"""What a stream may be asked to read, out of plain values: a table by its name, files, a Kafka topic; and its code."""

from __future__ import annotations

import keyword
import math
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import date
from typing import Any, Literal, Protocol

import polars as pl

from lepton_nb.data import frames
from lepton_nb.errors import WindowError
from lepton_nb.windowing import sources
from lepton_nb.windowing.choices import blamed
from lepton_nb.windowing.sources.base import Source
from lepton_nb.windowing.sources.tables import is_frame
from lepton_nb.windowing.written import call, literal

# The types that a Kafka message's columns may be given by name, as code writes them, and as Polars has them.
TYPES: Mapping[str, tuple[str, pl.DataType]] = {
    "datetime": ('pl.Datetime("us", "UTC")', pl.Datetime("us", "UTC")),
    "date": ("pl.Date()", pl.Date()),
    "text": ("pl.String()", pl.String()),
    "int": ("pl.Int64()", pl.Int64()),
    "float": ("pl.Float64()", pl.Float64()),
    "bool": ("pl.Boolean()", pl.Boolean()),
}


@dataclass(frozen=True)
class Example:
    """A table that is read when it is first wanted; `code` is the expression that gives it."""

    load: Callable[[], Any]
    code: str


class SourceChoice(Protocol):
    """A source as plain values."""

    def source(self, time: str) -> Source:
        """The source itself; `time` is the query's time column. Raises WindowError and DataError."""

    def schema(self) -> pl.Schema | None:
        """Types of its columns; None where only reading it can tell. May read from disk or the network."""

    def code(self, time: str) -> str:
        """The expression that makes it."""


@dataclass(frozen=True)
class NamedChoice:
    """One of the things that a user gave by name: any frame, a source, files, or what else a stream reads.

    A frame is replayed: speed is how many seconds of it pass in one, None for all at once; by is the column that the
    replay follows, the query's time column if "".
    """

    name: str
    given: Mapping[str, Any]
    speed: float | None = None
    by: str = ""

    @property
    def data(self) -> Any:
        """What goes by this name."""
        if self.name not in self.given:
            with blamed("source", "Source"):
                raise WindowError.unknown("source", self.name, self.given)
        found = self.given[self.name]
        return found.load() if isinstance(found, Example) else found

    @property
    def replayable(self) -> bool:
        """Whether it can be played against the clock."""
        found = self.given.get(self.name)
        return isinstance(found, Example) or is_frame(found) or frames.paths_of(found) is not None

    def source(self, time: str) -> Source:
        with blamed("source", "Source"):
            data = self.data
            if self.speed is None:
                return sources.of(data, time)
            if not self.replayable:
                raise WindowError(f"{self.name!r} brings its rows at its own pace; choose: all at once")
        with blamed("pace", "Pace"):
            return sources.replay(data, self.by or time, speed=self.speed)

    def schema(self) -> pl.Schema | None:
        with blamed("source", "Source"):
            data = self.data
            if self.replayable:
                return frames.schema(frames.lazy(data))
            # Only reading it can tell its columns, but what is no source is told before.
            sources.of(data)
            return None

    def code(self, time: str) -> str:
        found = self.given.get(self.name)
        if isinstance(found, Example):
            said = found.code
        elif isinstance(found, str | os.PathLike):
            said = literal(os.fspath(found))
        else:
            # As a notebook calls it, where the name can be that of a variable.
            plain = self.name.isidentifier() and not keyword.iskeyword(self.name)
            said = self.name if plain else f"sources[{literal(self.name)}]"
        if self.speed is None:
            return said
        speed = "math.inf" if math.isinf(self.speed) else f"{self.speed:,.10g}".replace(",", "_")
        return f"lnb.sources.replay({said}, time={literal(self.by or time)}, speed={speed})"


@dataclass(frozen=True)
class FilesChoice:
    """Files: a path, glob, folder or URL. follow: also read what comes later."""

    path: str
    follow: bool = False

    def source(self, time: str) -> Source:
        with blamed("path", "Path"):
            return sources.files(self._path(), follow=self.follow)

    def schema(self) -> pl.Schema | None:
        with blamed("path", "Path"):
            return frames.schema(frames.lazy(self._path()))

    def code(self, time: str) -> str:
        return call("lnb.sources.files", self.path.strip(), **({"follow": True} if self.follow else {}))

    def _path(self) -> str:
        if not self.path.strip():
            raise WindowError("give a path, glob, folder or URL, such as data/*.parquet")
        return self.path.strip()


@dataclass(frozen=True)
class KafkaChoice:
    """JSON messages of a Kafka topic. columns: names and types as text, such as "ts datetime, key text, v float"."""

    topic: str
    servers: str
    columns: str
    start: Literal["earliest", "latest"] = "earliest"

    def source(self, time: str) -> Source:
        for name, label, value, example in (
            ("topic", "Topic", self.topic, "events"),
            ("servers", "Servers", self.servers, "localhost:9092"),
        ):
            if not value.strip():
                raise WindowError(f"{label}: this is needed; for example {example}", field=name)
        schema = self.schema()
        with blamed("topic", "Topic"):
            return sources.kafka(self.topic.strip(), servers=self.servers.strip(), schema=schema, start=self.start)

    def schema(self) -> pl.Schema:
        return pl.Schema({name: TYPES[kind][1] for name, kind in self._named().items()})

    def code(self, time: str) -> str:
        types = ", ".join(f"{literal(name)}: {TYPES[kind][0]}" for name, kind in self._named().items())
        start = "" if self.start == "earliest" else f", start={literal(self.start)}"
        servers = literal(self.servers.strip())
        return f"lnb.sources.kafka({literal(self.topic.strip())}, servers={servers}, schema={{{types}}}{start})"

    def _named(self) -> dict[str, str]:
        found: dict[str, str] = {}
        with blamed("columns", "Columns"):
            for part in filter(None, (part.strip() for part in self.columns.split(","))):
                name, _, kind = part.replace(":", " ").partition(" ")
                kind = kind.strip().lower()
                if kind not in TYPES:
                    raise WindowError.unknown(f"type of {name!r}", kind, TYPES)
                found[name] = kind
            if not found:
                raise WindowError("name the columns of a message and their types: ts datetime, key text, value float")
            if not {"datetime", "date"} & set(found.values()):
                raise WindowError("none of them is a time; give one that holds it the type datetime: ts datetime")
        return found


def program(choice: SourceChoice, time: str, query: str, **options: str) -> str:
    """The whole of it as Python: imports, source, query and stream.

    query: the expression that makes the query. options: those of the stream, as code writes them.
    """
    source = choice.code(time)
    imports = ["import math\n\n"] if "math.inf" in source else []
    imports += ["import polars as pl\n\n"] if "pl." in source else []
    given = "".join(f", {name}={value}" for name, value in options.items())
    return (
        f"{''.join(imports)}import lepton_nb as lnb\n\nsource = {source}\nquery = {query}\n"
        f"stream = query.stream(source{given})\nstream.start()"
    )


def speed_for(frame: Any, column: str, takes_s: float) -> float:
    """The speed at which a replay of a table takes about so many seconds. Raises DataError where it cannot be read."""
    times = frames.eager(frame, [column]).get_column(column)
    if times.dtype not in (pl.Datetime, pl.Date):
        raise WindowError(f"a replay follows a column of times, and {column!r} is {times.dtype}; choose another column")
    first, last = times.min(), times.max()
    if not isinstance(first, date) or not isinstance(last, date):
        # A table without a row takes no time at any speed.
        if not times.len():
            return 1.0
        raise WindowError(
            f"there is no time to follow: column {column!r} holds nothing but nulls; choose another column, or "
            "read all at once"
        )
    exact = max((last - first).total_seconds() / takes_s, 1e-3)
    # Two digits: nobody reads more.
    return float(f"{exact:.1e}")


def paced(choice: NamedChoice, time: str, takes_s: float) -> NamedChoice:
    """The table replayed in about so many seconds. Raises WindowError and DataError, of the field "pace"."""
    with blamed("pace", "Pace"):
        if not choice.replayable:
            raise WindowError(f"{choice.name!r} brings its rows at its own pace; choose: all at once")
        return replace(choice, speed=speed_for(choice.data, choice.by or time, takes_s))


def examples() -> dict[str, Example]:
    """What there is to play with where a user has given nothing."""
    from lepton_nb.data import datasets

    return {"flights": Example(datasets.flights, "lnb.datasets.flights()")}
