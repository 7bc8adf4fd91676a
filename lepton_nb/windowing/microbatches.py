"""The batches of a stream: intended, read, merged, stored, committed, one after the other."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl

from lepton_nb.background import BackgroundRun, Control
from lepton_nb.errors import WindowError
from lepton_nb.windowing import arrivals
from lepton_nb.windowing.assign import Sessions
from lepton_nb.windowing.checkpoint import SIDES, Checkpoint, Commit, Intent
from lepton_nb.windowing.clocks import row_clock
from lepton_nb.windowing.executors import Executor
from lepton_nb.windowing.pairs import SIDES as SIDE_NAMES
from lepton_nb.windowing.programs import Bound
from lepton_nb.windowing.progress import Meter
from lepton_nb.windowing.sinks.base import Sink
from lepton_nb.windowing.sources.base import Part, Planned, Position, Source
from lepton_nb.windowing.stores.base import ENDLESS
from lepton_nb.windowing.tasks import Scanned
from lepton_nb.windowing.watermarks import Watermarks

if TYPE_CHECKING:
    from distributed import Client

# How long one look at the source may wait for news before the stream looks whether it should stop.
WAIT_S = 0.2


@dataclass(frozen=True)
class Options:
    """How a stream runs; see `WindowQuery.stream`."""

    checkpoint: Path | None
    batch_rows: int
    idle_s: float | None
    client: Client | None


@dataclass(frozen=True)
class _Next:
    """The batch that could come next: how far it goes, and, once read, what it holds."""

    planned: Planned
    channels: tuple[str, ...]
    idle: tuple[str, ...]
    parts: list[Part]
    scanned: tuple[list[Scanned], Any] | None = None


class Batches:
    """The loop over batches, and what it holds on to.

    storing: held while files change. done: told of every commit, with the rows given and those taken back.

    While a batch is merged and stored, the next one is read and pre-aggregated in a thread of its own. What it looks
    at is known by then: where it begins, and the watermark before it. Nothing of it is written down before its turn.
    """

    def __init__(
        self,
        control: Control,
        options: Options,
        storing: AbstractContextManager[Any],
        done: Callable[[Commit, pl.DataFrame, pl.DataFrame], None],
        checkpoint: Checkpoint,
        source: Source,
        sink: Sink,
        executor: Executor,
        bound: Bound,
    ) -> None:
        self.control = control
        self.checkpoint = checkpoint
        self.source = source
        self.sink = sink
        self.executor = executor
        self.bound = bound
        self.options = options
        self.storing = storing
        self.done = done
        self.commit = checkpoint.commit()
        self.watermarks = Watermarks(bound.out_of_order, self.commit.latest, self.commit.watermark, self.options.idle_s)
        self.meter = Meter(bound.time_dtype, self.commit.rows)
        # A source is asked by one thread at a time.
        self.asking = threading.Lock()
        self.ahead: BackgroundRun[_Next | None] | None = None

    def run(self) -> None:
        """Until the source ends or the run is stopped."""
        try:
            if self.commit.over:
                self._check_still_over()
            intent = self.checkpoint.intent()
            if intent is not None:
                self._do(intent, self._again(intent))
            while not self.commit.over and not self.control.stopping:
                upcoming = self._looked_ahead() or self._look(self.commit.position, WAIT_S)
                if upcoming is None:
                    continue
                planned = upcoming.planned
                finished = tuple(sorted(planned.finished))
                before = self.commit.position
                intent = Intent(
                    self.commit.batch + 1,
                    before,
                    planned.after,
                    planned.over,
                    upcoming.channels,
                    finished,
                    upcoming.idle,
                )
                self.checkpoint.intend(intent)
                self._do(intent, upcoming)
        finally:
            self._looked_ahead()

    def _check_still_over(self) -> None:
        """All windows were given when the source ended, so what has come since has nowhere to go."""
        with self.asking:
            planned = self.source.plan(self.commit.position, self.options.batch_rows, 0.0)
        if planned.after != self.commit.position:
            raise WindowError(
                f"this stream ended after {self.commit.rows} rows and gave all its windows, but its source has others "
                "since; give a new checkpoint and sink to read all of it again, or a source that does not end, such as "
                "lnb.sources.files(path, follow=True), from the start"
            )

    def _look(self, position: Position, wait_s: float) -> _Next | None:
        """What comes after a position; None where nothing does, and the watermark does not move either."""
        with self.asking:
            planned = self.source.plan(position, self.options.batch_rows, wait_s)
            channels = self.source.channels
        idle = self.watermarks.idle(channels, time.monotonic())
        news = planned.after != position or planned.over
        if not news and not self.watermarks.would_move(channels, planned.finished, idle):
            return None
        return _Next(planned, tuple(channels), idle, self._parts(position, planned.after))

    def _again(self, intent: Intent) -> _Next:
        planned = Planned(intent.after, finished=frozenset(intent.finished))
        return _Next(planned, intent.channels, intent.idle, self._parts(intent.before, intent.after))

    def _parts(self, before: Position, after: Position) -> list[Part]:
        with self.asking:
            return list(self.source.parts(before, after))

    def _read_ahead(
        self, control: Control, position: Position, latest: Mapping[str, int], watermark: int | None
    ) -> _Next | None:
        upcoming = self._look(position, 0.0)
        if upcoming is None or not upcoming.parts or control.stopping:
            return None
        return replace(upcoming, scanned=self._scan(upcoming, latest, watermark))

    def _scan(self, upcoming: _Next, latest: Mapping[str, int], watermark: int | None) -> tuple[list[Scanned], Any]:
        """Read a batch's parts, each with the clock of its channel after the parts before it."""
        telling = (upcoming.channels, upcoming.planned.finished, upcoming.idle)
        clocks = [
            row_clock(part.channel, latest, watermark, self.bound.out_of_order, *telling) for part in upcoming.parts
        ]
        scanned, handle = self.executor.scan(upcoming.parts, clocks)
        seen: dict[str, int] = {}
        exact = []
        for clock, head in zip(clocks, scanned, strict=True):
            known = seen.get(head.channel)
            exact.append(replace(clock, latest=clock.at_least(known)))
            if head.latest is not None:
                seen[head.channel] = head.latest if known is None else max(known, head.latest)
        # Parts are read side by side, so a later part of a channel does not know what the earlier ones showed. That
        # matters only where a row of it may be late.
        matters = [
            clock != better
            and arrivals.may_be_late(head.earliest, self.bound.plans[head.side], better.at_end(head.latest))
            for clock, better, head in zip(clocks, exact, scanned, strict=True)
        ]
        return self.executor.scan(upcoming.parts, exact) if any(matters) else (scanned, handle)

    def _looked_ahead(self) -> _Next | None:
        """What the other thread has found; None where it found nothing, or failed: it is then tried again in turn."""
        ahead, self.ahead = self.ahead, None
        if ahead is None:
            return None
        try:
            return ahead.wait()
        except Exception:
            return None

    def _do(self, intent: Intent, upcoming: _Next) -> None:
        begun = time.monotonic()
        given = [upcoming.scanned]  # used once: a second try reads again
        commit, rows, retracted, aside, sizes = self.executor.retried(
            lambda: self._compute(intent, upcoming, given.pop() if given else None)
        )
        with self.storing:
            for kind, table in aside.items():
                self.checkpoint.set_aside(kind, intent.batch, table)
            if rows.height or retracted.height:
                self.sink.write(intent.batch, rows, retracted)
            self.checkpoint.complete(commit)
            self.commit = commit
            self.done(commit, rows, retracted)
        values = self.meter.read(commit, upcoming.planned.lag, sizes, time.monotonic() - begun)
        self.control.progress(commit.rows, None, **values)
        with self.asking:
            self.source.committed(commit.position)

    def _compute(self, intent: Intent, upcoming: _Next, given: tuple[list[Scanned], Any] | None) -> Any:
        scanned, handle = given or self._scan(upcoming, self.commit.latest, self.commit.watermark)
        latest = self.watermarks.with_rows([(s.channel, s.latest) for s in scanned], time.monotonic())
        watermark: int | None = ENDLESS
        if not intent.over:
            watermark = self.watermarks.watermark(latest, intent.channels, intent.finished, intent.idle)
            if self.source.lookahead and self.ahead is None:
                position = intent.after
                work = BackgroundRun(
                    lambda control: self._read_ahead(control, position, latest, watermark), f"{self.control.name}-next"
                )
                self.ahead = work.start()
        stepped = self.executor.step(intent.batch, handle, watermark)
        aside = {kind: _together([self._labelled(s, kind) for s in scanned]) for kind in SIDES}
        late = [s.late for s in stepped if s.late is not None]
        aside["late"] = _together([aside["late"], *late])
        counts = {kind: self.commit.set_aside.get(kind, 0) + table.height for kind, table in aside.items()}
        rows = in_order([s.rows for s in stepped], self.bound)
        retracted = pl.concat([s.retracted for s in stepped])
        commit = Commit(
            batch=intent.batch,
            position=intent.after,
            latest=latest,
            watermark=watermark,
            shards=self.executor.shards,
            rows=self.commit.rows + sum(s.rows for s in scanned),
            emitted=self.commit.emitted + rows.height,
            set_aside=counts,
            over=intent.over,
        )
        sizes = (sum(s.state_rows for s in stepped), sum(s.state_bytes for s in stepped))
        return commit, rows, retracted, aside, sizes

    def _labelled(self, scanned: Scanned, kind: str) -> pl.DataFrame:
        """Rows set aside; in a join with their side, as the columns of the two differ."""
        table: pl.DataFrame = getattr(scanned, kind)
        if len(self.bound.plans) == 1 or kind == "dead" or not table.height:
            return table
        return table.with_columns(pl.lit(SIDE_NAMES[scanned.side]).alias("side"))


def _together(tables: list[pl.DataFrame]) -> pl.DataFrame:
    filled = [table for table in tables if table.height]
    return pl.concat(filled, how="diagonal_relaxed") if filled else (tables[0] if tables else pl.DataFrame())


def in_order(tables: list[pl.DataFrame], bound: Bound) -> pl.DataFrame:
    """One result from those of shards, sorted by key, then window."""
    filled = [table for table in tables if table.height]
    if not filled:
        return pl.DataFrame(schema=bound.result_schema)
    # Sessions that were taken apart are not in order; all others are within a shard.
    if len(filled) == 1 and not isinstance(bound.plans[0].layout, Sessions):
        return filled[0]
    by = [*bound.keys, "window_start", "window_end"]
    return pl.concat(filled).sort(by, maintain_order=True)
