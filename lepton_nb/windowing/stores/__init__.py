"""Stores of open windows: one for each kind."""

from __future__ import annotations

from lepton_nb.windowing.assign import LastRows, RowBlocks, Sessions
from lepton_nb.windowing.plan import Plan
from lepton_nb.windowing.stores.base import TableStore
from lepton_nb.windowing.stores.ordered import OrderedStore
from lepton_nb.windowing.stores.sessions import SessionStore
from lepton_nb.windowing.stores.slices import SliceStore


def store_for(plan: Plan) -> TableStore:
    """An empty store for the windows of a plan."""
    if isinstance(plan.layout, Sessions):
        return SessionStore(plan)
    return OrderedStore(plan) if isinstance(plan.layout, LastRows | RowBlocks) else SliceStore(plan)
