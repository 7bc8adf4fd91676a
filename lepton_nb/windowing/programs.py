"""What a stream runs: a query, or a join of two, first as written and then bound to the types of its sources."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

import polars as pl

from lepton_nb.windowing import blobs, slices
from lepton_nb.windowing.assign import Sessions
from lepton_nb.windowing.plan import Plan, bind
from lepton_nb.windowing.spec import Spec
from lepton_nb.windowing.stores import store_for
from lepton_nb.windowing.stores.base import Emitted, Store, TableStore

# Partial results and the side that they come from: always 0 but in joins.
Tables = Sequence[tuple[int, pl.DataFrame]]


class Bound(ABC):
    """A program that knows its types: it travels to workers."""

    @property
    @abstractmethod
    def plans(self) -> tuple[Plan, ...]:
        """The plan of each side."""

    @property
    @abstractmethod
    def result_schema(self) -> dict[str, pl.DataType]:
        """Columns and types of the result."""

    @abstractmethod
    def new_store(self) -> Store:
        """An empty store."""

    @abstractmethod
    def absorb(self, store: Store, tables: Tables) -> Emitted:
        """Let a store of this program take in partial results."""

    def key_columns(self, table: str) -> list[str]:
        """The key columns of a store's table of this name."""
        return slices.key_names(self.plans[0])

    @property
    def keys(self) -> tuple[str, ...]:
        """Key columns of the result."""
        return self.plans[0].keys

    @property
    def time_dtype(self) -> pl.DataType:
        """Type of the times."""
        return self.plans[0].time_dtype

    @property
    def refires(self) -> bool:
        """True where a window can be emitted again."""
        return any(plan.refires for plan in self.plans)

    @property
    def out_of_order(self) -> int:
        """Ticks of disorder to bear."""
        # A row exactly a gap after a session still joins it: the session is over one tick later than its last one.
        return max(plan.out_of_order + isinstance(plan.layout, Sessions) for plan in self.plans)


class Program(ABC):
    """A program as it was written."""

    @property
    @abstractmethod
    def fingerprint(self) -> str:
        """Tells it from others."""

    @property
    @abstractmethod
    def specs(self) -> tuple[Spec, ...]:
        """The query of each side."""

    @abstractmethod
    def bind(self, schemas: Sequence[pl.Schema]) -> Bound:
        """Bind it to the types of each side's rows; raises WindowError that names the fix."""


@dataclass(frozen=True)
class BoundQuery(Bound):
    """One query."""

    plan: Plan

    @property
    def plans(self) -> tuple[Plan, ...]:
        """Its plan."""
        return (self.plan,)

    @property
    def result_schema(self) -> dict[str, pl.DataType]:
        """Columns and types of the result."""
        return self.plan.result_schema

    def new_store(self) -> Store:
        """An empty store."""
        return store_for(self.plan)

    def absorb(self, store: Store, tables: Tables) -> Emitted:
        """All tables at once."""
        assert isinstance(store, TableStore)
        return store.absorb([table for _, table in tables])


@dataclass(frozen=True)
class QueryProgram(Program):
    """One query."""

    spec: Spec

    @property
    def specs(self) -> tuple[Spec, ...]:
        """The query."""
        return (self.spec,)

    @property
    def fingerprint(self) -> str:
        """That of the query."""
        return blobs.fingerprint(self.spec)

    def bind(self, schemas: Sequence[pl.Schema]) -> BoundQuery:
        """Bind it to the types of the rows."""
        return BoundQuery(bind(self.spec, schemas[0]))


def needed_columns(spec: Spec) -> list[str]:
    """The columns that a query reads."""
    return list(dict.fromkeys([spec.time, *spec.keys, *(c for _, a in spec.aggregates for c in a.columns)]))
