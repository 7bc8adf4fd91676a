"""Every kind of window and aggregate against the definition: as a table, in parts, and as a stream in any order."""

import math
import random

import polars as pl
import pytest
import reference
from hypothesis import given
from hypothesis import strategies as st
from window_cases import expected, found, frame_of, shapes

import lepton_nb as lnb
from lepton_nb.data import frames
from lepton_nb.windowing import WindowState, batch
from lepton_nb.windowing import plan as planning

pytestmark = pytest.mark.filterwarnings("ignore::lepton_nb.errors.WindowWarning")

ALL = {
    "rows": lnb.count(),
    "values": lnb.count("v"),
    "sum": lnb.sum("v"),
    "mean": lnb.mean("v"),
    "min": lnb.min("v"),
    "max": lnb.max("v"),
    "var": lnb.var("v"),
    "std": lnb.std("v", ddof=0),
    "first": lnb.first("v"),
    "last": lnb.last("v"),
    "half": lnb.quantile("v", 0.5),
    "most": lnb.quantile("v", 0.9),
    "distinct": lnb.distinct("v"),
    "frequent": lnb.top_k("v", 2),
    "largest": lnb.top_k("v", 2, by="value"),
    "kept": lnb.rows("v"),
    "own": lnb.custom(
        "v", init=lambda: 0, add=lambda a, x: a + (x > 0), merge=lambda a, b: a + b, dtype=pl.Int64
    ),
}  # fmt: skip


TIME = st.integers(-60, 60)
VALUE = st.none() | st.integers(-3, 3).map(float) | st.just(math.nan)


@given(
    shapes(), st.lists(st.tuples(st.sampled_from(["a", "b", None]), st.none() | TIME, VALUE), max_size=25), st.data()
)
def test_a_table_whole_and_in_parts(shape, rows, data):
    kind, lengths, query = shape
    rows.append(("a", 0, 1.0))
    query = lnb.windows(frame_of(rows), time="ts", key="key").agg(**ALL)._shaped(query.spec.shape)
    right = expected(rows, kind, lengths)
    assert found(query.collect()) == right
    plan = planning.bind(query.spec, query.frame.schema)
    parts = data.draw(st.integers(1, 4))
    tables = [batch.scan(part, plan) for part in frames.partitions(query.frame, parts)]
    assert found(batch.finish(tables, plan).table) == right


@given(
    shapes(),
    st.lists(st.tuples(st.sampled_from(["a", "b"]), TIME, VALUE), max_size=25),
    st.integers(0, 8),
    st.randoms(),
)
def test_a_stream_in_any_order_within_the_bound(shape, rows, bound, chance):
    """Rows are shuffled by up to `bound`, cut anywhere, and the state is saved and restored on the way."""
    kind, lengths, query = shape
    query = query.agg(**ALL).lateness(f"{bound}ms")
    delayed = [(row[1] + chance.randint(0, bound), chance.random(), row) for row in rows]
    shuffled = [row for _, _, row in sorted(delayed, key=lambda r: r[:2])]
    state, given_rows, latest, at = WindowState(query), [], None, 0
    state.ingest(frame_of([]))

    def take(table):
        """A session that a row joins exactly on its end is taken back and given anew."""
        for window in found(state.retracted):
            given_rows.remove(next(row for row in given_rows if row[:3] == window))
        given_rows.extend(found(table))

    while at < len(shuffled):
        step = chance.randint(1, 6)
        some, at = shuffled[at : at + step], at + step
        take(state.ingest(frame_of(some)))
        latest = max([t for _, t, _ in some] + ([] if latest is None else [latest]))
        take(state.advance(latest - bound - 1))
        if chance.random() < 0.3:
            state = WindowState.restore(query, state.snapshot())
    take(state.finish())
    assert state.late.height == 0
    assert sorted(given_rows, key=str) == sorted(expected(rows, kind, lengths), key=str)


@given(shapes(), st.lists(st.tuples(st.sampled_from(["a", "b"]), TIME, VALUE), max_size=20), st.randoms())
def test_with_enough_allowed_lateness_the_last_results_are_those_of_the_table(shape, rows, chance):
    kind, lengths, query = shape
    if kind in ("last_rows", "counting"):
        return
    query = query.agg(**ALL).lateness(allowed="1s")
    state, windows = WindowState(query), {}
    state.ingest(frame_of([]))

    def take(table):
        for row in found(state.retracted):
            windows.pop(row, None)
        fresh = {}
        for row in found(table):
            fresh.setdefault(row[:3], []).append(row)
        windows.update(fresh)

    chance.shuffle(rows)
    for at in range(0, len(rows), 3):
        take(state.ingest(frame_of(rows[at : at + 3])))
        take(state.advance(max(t for _, t, _ in rows[: at + 3])))
        if chance.random() < 0.3:
            state = WindowState.restore(query, state.snapshot())
    take(state.finish())
    assert state.late.height == 0
    last = sorted((row for mine in windows.values() for row in mine), key=str)
    assert last == sorted(expected(rows, kind, lengths), key=str)


def test_chance_reaches_every_kind():
    """The strategies above draw all kinds: each gives windows for plain rows."""
    rows = [("a", t, 1.0) for t in random.Random(0).sample(range(60), 20)]
    for kind, shape in {
        "tumbling": {"size": 7}, "sliding": {"size": 7, "every": 2}, "cumulating": {"size": 6, "every": 2},
        "session": {"gap": 3}, "rolling": {"size": 4}, "last_rows": {"count": 3}, "counting": {"count": 3, "every": 2},
    }.items():  # fmt: skip
        assert reference.windows(rows, kind, **shape)
