"""Joins of two queries on key and window, over tables and over streams."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal, get_args

import polars as pl

from lepton_nb.errors import WindowError
from lepton_nb.windowing import blobs, slices
from lepton_nb.windowing.plan import Plan, bind
from lepton_nb.windowing.programs import Bound, Program, Tables
from lepton_nb.windowing.spec import END, START, GridShape, Spec, listed
from lepton_nb.windowing.stores.base import Emitted, Store
from lepton_nb.windowing.stores.slices import SliceStore

if TYPE_CHECKING:
    from distributed import Client

    from lepton_nb.cluster.session import Cluster
    from lepton_nb.windowing.durations import Duration
    from lepton_nb.windowing.query import WindowQuery
    from lepton_nb.windowing.stream import StreamRun

How = Literal["inner", "left", "full"]
RIGHT = "_right"


@dataclass(frozen=True)
class JoinSpec:
    """Two queries with the same windows, and which windows of them are kept."""

    left: Spec
    right: Spec
    how: How

    def __post_init__(self) -> None:
        if self.how not in get_args(How):
            raise WindowError.unknown("kind of join", str(self.how), get_args(How))
        for side in (self.left, self.right):
            if side.shape is None or not side.aggregates:
                raise WindowError(
                    "a join needs two queries with windows and aggregates; finish both before you join them"
                )
        if not isinstance(self.left.shape, GridShape):
            raise WindowError(
                f"{self.left.shape.kind if self.left.shape else 'such'} windows depend on the rows, so those of two "
                "streams have different bounds and never meet; join tumbling, sliding or cumulating windows"
            )
        if self.left.shape != self.right.shape:
            raise WindowError(
                f"the windows differ: {self.left.shape.text} and "
                f"{self.right.shape.text if self.right.shape else 'none'}; give both queries the same"
            )
        if len(self.left.keys) != len(self.right.keys):
            raise WindowError(
                f"the keys do not pair up: {listed(self.left.keys) or 'none'} and {listed(self.right.keys) or 'none'}"
            )

    def bind(self, left: pl.Schema, right: pl.Schema) -> BoundJoin:
        """Bind both sides; their keys and times must be of the same types."""
        plans = (bind(self.left, left), bind(self.right, right))
        pairs = [(self.left.time, self.right.time, *(plan.time_dtype for plan in plans))]
        pairs += zip(self.left.keys, self.right.keys, *(plan.key_dtypes for plan in plans), strict=True)
        for left_name, right_name, left_dtype, right_dtype in pairs:
            if left_dtype != right_dtype:
                raise WindowError(
                    f"{left_name!r} is {left_dtype} and {right_name!r} is {right_dtype}; cast one: "
                    f"frame.with_columns(pl.col({right_name!r}).cast(...))",
                    dtypes=(str(left_dtype), str(right_dtype)),
                )
        # What one side still takes in, the other must still have.
        allowed = max(plan.allowed for plan in plans)
        first, second = (replace(plan, allowed=allowed) for plan in plans)
        return BoundJoin(self, (first, second))


@dataclass(frozen=True)
class BoundJoin(Bound):
    """A join that knows its types."""

    spec: JoinSpec
    pair: tuple[Plan, Plan]

    @property
    def plans(self) -> tuple[Plan, ...]:
        """Left and right."""
        return self.pair

    @property
    def result_schema(self) -> dict[str, pl.DataType]:
        """The left keys, the window, the left aggregates, the right ones.

        A right name that is there already ends in _right.
        """
        left, right = (plan.result_schema for plan in self.pair)
        names = dict(zip(right, self.right_names, strict=True))
        return left | {names[name]: dtype for name, dtype in right.items() if name not in self._shared}

    @property
    def _shared(self) -> tuple[str, ...]:
        return (*self.pair[1].keys, START, END)

    @property
    def right_names(self) -> list[str]:
        """The columns of the right result, as they are called in the joined one."""
        taken = set(self.pair[0].result_schema)
        keys = dict(zip(self.pair[1].keys, self.pair[0].keys, strict=True)) | {START: START, END: END}
        names = []
        for name in self.pair[1].result_schema:
            new = keys.get(name, name)
            while name not in keys and new in taken:
                new += RIGHT
            names.append(new)
            taken.add(new)
        return names

    def joined(self, left: pl.DataFrame, right: pl.DataFrame) -> pl.DataFrame:
        """Two results, joined; sorted by key, then window."""
        on = [*self.keys, START, END]
        right = right.rename(dict(zip(right.columns, self.right_names, strict=True)))
        found = left.join(right, on=on, how=self.spec.how, coalesce=True, nulls_equal=True)
        return found.select(list(self.result_schema)).sort(on)

    def new_store(self) -> Store:
        """A store of two."""
        return JoinStore(self)

    def absorb(self, store: Store, tables: Tables) -> Emitted:
        """Each side takes its own."""
        assert isinstance(store, JoinStore)
        return store.absorb_sides(tables)

    def key_columns(self, table: str) -> list[str]:
        """Those of the side that the table belongs to."""
        return slices.key_names(self.pair[int(table[0])])


class JoinStore(Store):
    """The open windows of both sides, under one watermark."""

    def __init__(self, bound: BoundJoin) -> None:
        super().__init__(bound.pair[0])
        self.bound = bound
        self.sides = (SliceStore(bound.pair[0]), SliceStore(bound.pair[1]))

    def absorb_sides(self, tables: Tables) -> Emitted:
        """Windows that changed after they were given, on either side, with what the other has."""
        changed = []
        for number, side in enumerate(self.sides):
            rows = side.absorb([table for n, table in tables if n == number]).rows
            changed.append(rows.select(*side.plan.keys, START, END))
        if not any(rows.height for rows in changed):
            return self.nothing()
        on = [*self.plan.keys, START, END]
        windows = pl.concat([rows.rename(dict(zip(rows.columns, on, strict=True))) for rows in changed]).unique()
        now = self.bound.joined(*(side.given() for side in self.sides))
        return Emitted(now.join(windows, on=on, how="semi", nulls_equal=True, maintain_order="left"), self.no_windows())

    def advance(self, watermark: int) -> Emitted:
        """Both sides close the same windows."""
        left, right = (side.advance(watermark) for side in self.sides)
        self.watermark = self.sides[0].watermark
        return Emitted(self.bound.joined(left.rows, right.rows), self.no_windows())

    def early(self) -> pl.DataFrame:
        """The open windows of both sides, joined as they stand."""
        return self.bound.joined(*(side.early() for side in self.sides))

    def dump(self) -> dict[str, pl.DataFrame]:
        """The tables of both sides."""
        return {f"{n}:{name}": table for n, side in enumerate(self.sides) for name, table in side.dump().items()}

    def load(self, tables: dict[str, pl.DataFrame], watermark: int | None) -> None:
        """The tables of both sides."""
        self.watermark = watermark
        for n, side in enumerate(self.sides):
            side.load({name[2:]: table for name, table in tables.items() if name.startswith(f"{n}:")}, watermark)

    def empty(self) -> pl.DataFrame:
        """No result rows."""
        return pl.DataFrame(schema=self.bound.result_schema)


@dataclass(frozen=True)
class JoinProgram(Program):
    """A join as a stream runs it."""

    spec: JoinSpec

    @property
    def specs(self) -> tuple[Spec, ...]:
        """Left and right."""
        return (self.spec.left, self.spec.right)

    @property
    def fingerprint(self) -> str:
        """That of both queries and the kind of join."""
        return blobs.digest(repr(self.spec))

    def bind(self, schemas: Sequence[pl.Schema]) -> BoundJoin:
        """Bind both sides."""
        return self.spec.bind(*schemas)


@dataclass(frozen=True, eq=False)
class JoinQuery:
    """Two queries, joined on key and window. Made by `WindowQuery.join`."""

    left: WindowQuery
    right: WindowQuery
    spec: JoinSpec

    def collect(self, cluster: Cluster | Client | None = None) -> pl.DataFrame:
        """Compute the result: the left keys, window_start, window_end, the left aggregates, the right aggregates.

        One row a key and window; sorted by key, then window_start. A column of the right that has the name of another
        ends in _right. Errors and warnings are those of `WindowQuery.collect`, for either side.
        """
        sides = [query.collect(cluster) for query in (self.left, self.right)]
        schemas = [pl.Schema(query.input_schema()) for query in (self.left, self.right)]
        return self.spec.bind(*schemas).joined(*sides)

    def stream(
        self,
        left: Any = None,
        right: Any = None,
        sink: Any = None,
        *,
        checkpoint: str | os.PathLike[str] | None = None,
        cluster: Cluster | Client | None = None,
        batch_rows: int = 1_000_000,
        idle: Duration | None = None,
    ) -> StreamRun:
        """The join over two live sources; all else as in `WindowQuery.stream`.

        One watermark for both, the smaller: a window is emitted once both sides have passed it. The longer
        out_of_order of the two holds for both. Late rows of either side have a column `side`, "left" or "right".
        """
        from lepton_nb.windowing import stream as streams
        from lepton_nb.windowing.pairs import PairSource

        things = [query.frame if thing is None else thing for query, thing in ((self.left, left), (self.right, right))]
        source = PairSource(
            *(streams.source_of(thing, side.time) for thing, side in zip(things, self._sides, strict=True))
        )
        return streams.make(JoinProgram(self.spec), source, sink, checkpoint, cluster, batch_rows, idle)

    @property
    def _sides(self) -> tuple[Spec, Spec]:
        return (self.spec.left, self.spec.right)
