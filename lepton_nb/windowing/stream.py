"""A window query over a live source: micro-batches in the background, each result once, whatever happens."""

from __future__ import annotations

import os
import threading
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl

from lepton_nb.background import BackgroundRun, Control
from lepton_nb.cluster.scratch import Scratch
from lepton_nb.errors import WindowError
from lepton_nb.windowing import batch, durations, executors, sinks, sources, tasks
from lepton_nb.windowing.checkpoint import SIDES, Checkpoint, Commit
from lepton_nb.windowing.executors import Executor
from lepton_nb.windowing.microbatches import WAIT_S, Batches, Options, in_order
from lepton_nb.windowing.pairs import PairSource
from lepton_nb.windowing.programs import Bound, Program, needed_columns
from lepton_nb.windowing.progress import time_of
from lepton_nb.windowing.recent import Recent
from lepton_nb.windowing.sinks.base import Sink
from lepton_nb.windowing.sources.base import DEAD_SCHEMA, Source
from lepton_nb.windowing.spec import Spec

if TYPE_CHECKING:
    from lepton_nb.windowing.durations import Duration


def make(
    program: Program,
    source: Source,
    sink: Any,
    checkpoint: str | os.PathLike[str] | None,
    cluster: Any,
    batch_rows: int,
    idle: Duration | None,
) -> StreamRun:
    """The run that `WindowQuery.stream` promises, not started yet."""
    if isinstance(batch_rows, bool) or not isinstance(batch_rows, int) or batch_rows < 1:
        raise WindowError(f"batch_rows={batch_rows!r} must be a whole number of rows, 1 or more")
    idle_s = None if idle is None else durations.nanoseconds(idle, "idle") / 1e9
    if idle_s is not None and idle_s <= 0:
        raise WindowError(f"idle={idle!r} must be above zero, for example idle='30s'; leave it out for never")
    if checkpoint is not None and not isinstance(checkpoint, str | os.PathLike):
        raise WindowError(f"checkpoint={checkpoint!r} must be a path to a folder")
    client = None if cluster is None else batch.client_of(cluster)
    folder = None if checkpoint is None else Path(os.path.abspath(os.path.expanduser(checkpoint)))
    options = Options(folder, batch_rows, idle_s, client)
    return StreamRun(program, source, None if sink is None else sinks.of(sink), options)


def source_of(thing: Any, time: str) -> Source:
    """The source that a user means. Raises WindowError where there is none."""
    if thing is None:
        raise WindowError("the stream has no source; give one, such as lnb.sources.files(path), or a table")
    return sources.of(thing, time)


class StreamRun(BackgroundRun[None]):
    """A query that runs over a source in the background. Made by `WindowQuery.stream`, begun by `start()`.

    `stop()` ends it after the batch under way and keeps its state, `wait()` waits for the end of the source. Its
    `Progress` events have the number of rows so far, and values: see `lepton_nb.windowing.progress`.
    """

    def __init__(self, program: Program, source: Source, sink: Sink | None, options: Options) -> None:
        super().__init__(self._run, name=None)
        self._program = program
        self._source = source
        self._sink = sink
        self._own_sink = sink is None
        self._options = options
        self._bound: Bound | None = None
        self._folder: Path | None = options.checkpoint
        self._checkpoint: Checkpoint | None = None
        self._commit = Commit()
        # Held while files change that `table`, `late` and the others read.
        self._storing = threading.RLock()
        self._kept: dict[str, pl.DataFrame] = {}
        self._recent: Recent | None = None

    @property
    def specs(self) -> tuple[Spec, ...]:
        """What it computes: the query, or both queries of a join."""
        return self._program.specs

    def wait(self, timeout_s: float | None = None) -> None:
        """Wait for the end of the source, which starts the stream if `start()` has not; raises what the stream raised.

        Ctrl-C while waiting stops the stream cleanly, then raises KeyboardInterrupt as usual.
        """
        if self._thread is None:
            self.start()
        super().wait(timeout_s)

    def table(self) -> pl.DataFrame:
        """The results so far: every window once, with its latest values, sorted by key, then window_start.

        Raises WindowError where the sink cannot be read back.
        """
        with self._storing:
            if "table" in self._kept:
                return self._kept["table"]
            if self._bound is None or self._sink is None:
                raise WindowError("the stream has read nothing yet; start() it, or wait a moment")
            return self._sink.table()

    def recent(self) -> pl.DataFrame:
        """The results given last, since this run began: each window once, with its latest values, as in `table()`.

        The 20,000 rows whose windows end last. They are kept in memory, so that looking at them costs little, however
        long the stream has run and wherever its results go.
        """
        if self._recent is None:
            raise WindowError("the stream has read nothing yet; start() it, or wait a moment")
        return self._recent.table()

    def late(self) -> pl.DataFrame:
        """The input rows so far that came too late for every one of their windows: the columns that the query needs."""
        return self._side("late")

    def aside(self) -> pl.DataFrame:
        """The input rows so far that have no time or no key, and are in no window."""
        return self._side("aside")

    def dead(self) -> pl.DataFrame:
        """Dead letters: what the source could not read as rows. Columns: channel, offset, reason, value."""
        return self._side("dead")

    def early(self) -> pl.DataFrame:
        """The windows that are still open, as they stood after the last batch.

        They are not in `table()`, and nothing changes.
        """
        with self._storing:
            if "early" in self._kept:
                return self._kept["early"]
            bound, folder = self._require()
            number, shards = self._commit.batch, self._commit.shards
            stores = [tasks.load(folder, number, shard, shards, bound) for shard in range(shards)]
            return in_order([store.early() for store in stores], bound)

    @property
    def watermark(self) -> date | None:
        """Time up to which all rows have come; None before the first rows, and after the source's end."""
        return None if self._bound is None else time_of(self._commit.watermark, self._bound.time_dtype)

    def _require(self) -> tuple[Bound, Path]:
        if self._bound is None or self._folder is None:
            raise WindowError("the stream has read nothing yet; start() it, or wait a moment")
        return self._bound, self._folder

    def _side(self, kind: str) -> pl.DataFrame:
        with self._storing:
            if kind in self._kept:
                return self._kept[kind]
            bound, _ = self._require()
            found = None if self._checkpoint is None else self._checkpoint.side(kind)
            schema = DEAD_SCHEMA if kind == "dead" else bound.plans[0].input_schema
            return pl.DataFrame(schema=schema) if found is None else found

    # What the run's thread does.

    def _run(self, control: Control) -> None:
        scratch = Scratch("stream") if self._folder is None else None
        try:
            if scratch is not None:
                self._folder = scratch.path / "checkpoint"
            assert self._folder is not None
            checkpoint = Checkpoint(self._folder, self._program.fingerprint, durable=scratch is None)
            self._checkpoint = checkpoint
            try:
                self._with_source(control, checkpoint)
            finally:
                checkpoint.close()
        finally:
            if scratch is not None:
                scratch.close()

    def _committed(self, commit: Commit, rows: pl.DataFrame, retracted: pl.DataFrame) -> None:
        self._commit = commit
        if self._recent is not None:
            self._recent.add(rows, retracted)

    def _keep_results(self) -> None:
        """Take into memory what the temporary folder holds."""
        with self._storing:
            kept = {kind: self._side(kind) for kind in SIDES} | {"early": self.early()}
            if self._own_sink:
                kept["table"] = self.table()
            self._kept = kept

    def _with_source(self, control: Control, checkpoint: Checkpoint) -> None:
        parallel = 1 if self._options.client is None else executors.threads(self._options.client)
        with self._source as source:
            needed = [needed_columns(spec) for spec in self._program.specs]
            for side, columns in zip(sides_of(source), needed, strict=True):
                side.open(columns, parallel)
            schemas = checkpoint.schemas() or self._opened(source, control)
            if schemas is None:
                return
            bound = self._program.bind(schemas)
            checkpoint.keep_schemas([pl.Schema(plan.input_schema) for plan in bound.plans])
            self._commit = checkpoint.commit()
            sink = self._sink or sinks.parquet(checkpoint.path / "results")
            with sink:
                sink.open(pl.Schema(bound.result_schema), bound.keys, refires=bound.refires)
                with self._storing:
                    self._sink, self._bound = sink, bound
                    self._recent = Recent(bound.keys, pl.Schema(bound.result_schema))
                executor = self._executor(checkpoint, bound)
                try:
                    Batches(
                        control,
                        self._options,
                        self._storing,
                        self._committed,
                        checkpoint,
                        source,
                        sink,
                        executor,
                        bound,
                    ).run()
                finally:
                    executor.close()
                    if self._options.checkpoint is None:
                        self._keep_results()

    def _executor(self, checkpoint: Checkpoint, bound: Bound) -> Executor:
        client = self._options.client
        executor: Executor
        if client is None:
            executor = executors.Here(checkpoint.path, bound, durable=checkpoint.durable)
        else:
            executor = executors.Workers(client, checkpoint.path, bound, durable=checkpoint.durable)
        done = self._commit
        if done.batch and done.shards != executor.shards:
            tasks.divide_anew(
                checkpoint.path, done.batch, bound, done.shards, executor.shards, durable=checkpoint.durable
            )
            self._commit = replace(done, shards=executor.shards)
            checkpoint.complete(self._commit)
        return executor

    def _opened(self, source: Source, control: Control) -> list[pl.Schema] | None:
        """The types of each side's rows, told by the source or by its first rows; None where it is stopped before."""
        known = [side.schema for side in sides_of(source)]
        while any(schema is None for schema in known) and not control.stopping:
            planned = source.plan(None, self._options.batch_rows, WAIT_S)
            for part in source.parts(None, planned.after):
                side = tasks.side_of(part)
                known[side] = known[side] or part.read().frame.schema
            if planned.over and None in known:
                raise WindowError(
                    "the source ended without a row, so the types of its columns are unknown; give rows, "
                    "or their schema: lnb.sources.iterate(rows, schema={...})"
                )
        found = [schema for schema in known if schema is not None]
        return found if len(found) == len(known) else None


def sides_of(source: Source) -> tuple[Source, ...]:
    """The sources of a join, or the one source."""
    return source.sides if isinstance(source, PairSource) else (source,)
