"""Which rows are late, and what the others give, does not depend on where batches end or how they are cut."""

import reference
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal
from window_cases import frame_of, shapes

import lepton_nb as lnb

AGGREGATES = {"n": lnb.count(), "sum": lnb.sum("v"), "last": lnb.last("v"), "half": lnb.quantile("v", 0.5)}
ROWS = st.lists(st.tuples(st.sampled_from("ab"), st.integers(-40, 40), st.integers(0, 9).map(float)), max_size=30)


def run(query, frame, batch_rows, cluster=None):
    stream = query.stream(frame, batch_rows=batch_rows, cluster=cluster)
    stream.wait()
    order = ["key", "ts", "v"]
    return stream.table(), stream.late().select(order).sort(order)


@settings(max_examples=60, deadline=None)
@given(shapes(), ROWS, st.integers(0, 6), st.integers(0, 6), st.integers(2, 40))
def test_any_batches_give_what_single_rows_give(shape, rows, bound, allowed, batch_rows):
    kind, _, query = shape
    rows = [*rows, ("a", 0, 1.0)]
    allowed = 0 if kind in ("last_rows", "counting") else allowed
    query = query.agg(**AGGREGATES).lateness(f"{bound}ms", f"{allowed}ms")
    frame = frame_of(rows)
    table, late = run(query, frame, 1)
    whole_table, whole_late = run(query, frame, batch_rows)
    assert_frame_equal(whole_late, late)
    assert_frame_equal(whole_table, table)


def late_by_definition(rows, size, every, bound, allowed):
    """Rows all of whose sliding windows had passed when they came."""
    late, latest = [], None
    for row in rows:
        latest = row[1] if latest is None else max(latest, row[1])
        starts = [start for start, _, _ in reference.sliding([row], size, every)]
        if starts and all(start + size - 1 + allowed <= latest - bound - 1 for start in starts):
            late.append(row)
    return late


@settings(max_examples=60, deadline=None)
@given(ROWS, st.integers(1, 20), st.integers(1, 10), st.integers(0, 6), st.integers(0, 6), st.integers(1, 40))
def test_late_rows_are_those_of_the_definition(rows, size, every, bound, allowed, batch_rows):
    rows = [*rows, ("a", 0, 1.0)]
    query = lnb.windows(time="ts", key="key").sliding(f"{size}ms", f"{every}ms").agg(**AGGREGATES)
    _, late = run(query.lateness(f"{bound}ms", f"{allowed}ms"), frame_of(rows), batch_rows)
    expected = late_by_definition(rows, size, every, bound, allowed)
    assert_frame_equal(late, frame_of(expected).select("key", "ts", "v").sort("key", "ts", "v"))


def test_workers_find_the_same_late_rows(cluster):
    """Several parts of a batch are read at a time; a later one learns what the earlier ones have shown."""
    rows = [("ab"[n % 2], n * 7 % 50 + n // 3, float(n)) for n in range(200)]
    for query in (
        lnb.windows(time="ts", key="key").sliding("10ms", "4ms"),
        lnb.windows(time="ts", key="key").session("2ms"),
        lnb.windows(time="ts", key="key").rolling("5ms"),
    ):
        query = query.agg(**AGGREGATES).lateness("5ms")
        table, late = run(query, frame_of(rows), 1)
        assert late.height > 10
        there_table, there_late = run(query, frame_of(rows), 50, cluster)
        assert_frame_equal(there_late, late)
        assert_frame_equal(there_table, table)
