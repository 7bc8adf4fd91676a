"""Windows of a grid are those that the slices' ends give."""

import math

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

import lepton_nb as lnb
from lepton_nb.windowing import combine, grids, slices
from lepton_nb.windowing.plan import bind
from lepton_nb.windowing.state import WindowState

AGGREGATES = {"n": lnb.count(), "known": lnb.count("v"), "sum": lnb.sum("v"), "min": lnb.min("v"), "max": lnb.max("v")}


@pytest.mark.parametrize("operation", [np.add, np.minimum, np.maximum, np.fmin, np.fmax])
@pytest.mark.parametrize("length", [1, 2, 3, 6, 8, 60, 100])
def test_every_so_many_neighbours(operation, length, monkeypatch):
    monkeypatch.setattr(grids, "CHUNK", 50)
    values = np.random.default_rng(length).integers(-99, 99, 437).astype(float)
    values[100] = math.nan if operation in (np.fmin, np.fmax) else 7.0
    found = grids.neighbours(operation, values, length)
    expected = [operation.reduce(values[i : i + length]) for i in range(len(values) - length + 1)]
    np.testing.assert_array_equal(found, expected)


@given(
    st.lists(st.tuples(st.integers(0, 3), st.integers(-30, 30), st.integers(-9, 9) | st.none()), min_size=1),
    st.integers(1, 20),
    st.integers(1, 9),
    st.none() | st.tuples(st.integers(-15, 15), st.integers(-15, 15)),
)
def test_a_grid_gives_the_windows_that_ends_give(rows, size, every, between):
    frame = pl.DataFrame(rows, schema={"key": pl.Int64, "ts": pl.Int64, "v": pl.Float64}, orient="row")
    frame = frame.with_columns(pl.col("ts").cast(pl.Datetime("ms")))
    query = lnb.windows(time="ts", key="key").sliding(f"{size}ms", f"{every}ms").agg(**AGGREGATES)
    plan = bind(query.spec, frame.schema)
    table, _ = slices.split_aside(slices.merge([slices.scan(frame, plan)], plan), plan)
    most = grids.MOST_PLACES_PER_SLICE
    try:
        grids.MOST_PLACES_PER_SLICE = 1_000
        found = combine.windows_table(table, plan, between)
        grids.MOST_PLACES_PER_SLICE = 0
        expected = combine.windows_table(table, plan, between)
    finally:
        grids.MOST_PLACES_PER_SLICE = most
    assert_frame_equal(found, expected)


def test_one_line_has_no_use_for_what_the_next_holds():
    values = {"key": ["a", "b"], "ts": [5, 5], "v": [math.nan, 1.0]}
    frame = pl.DataFrame(values).with_columns(pl.col("ts").cast(pl.Datetime("ms")))
    query = lnb.windows(frame, time="ts", key="key").sliding("2ms", "1ms")
    found = query.agg(sum=lnb.sum("v"), max=lnb.max("v")).collect()
    assert found.get_column("sum").is_nan().to_list() == [True, True, False, False]
    assert found.filter(key="b").get_column("max").to_list() == [1.0, 1.0]


@pytest.mark.parametrize(
    ("dtype", "keys"),
    [
        (pl.Int128, [2**100, -(2**100)]),
        (pl.UInt64, [2**64 - 1, 0]),
        (pl.Float64, [math.nan, -1.5]),
        (pl.Boolean, [True, False]),
        (pl.Date, [1, 0]),
        (pl.Datetime("ns", "Europe/Berlin"), [1, 0]),
        (pl.Enum(["b", "a"]), ["a", "b"]),
    ],
)
def test_keys_of_every_type_stay_as_they_are(dtype, keys):
    rows = pl.DataFrame({"ts": [1, 2, 3, 4] * 2, "v": range(8)}).with_columns(pl.col("ts").cast(pl.Datetime("ms")))
    rows = rows.with_columns(pl.Series("key", [key for key in keys for _ in range(4)], dtype=dtype, strict=False))
    query = lnb.windows(rows, time="ts", key="key").sliding("2ms", "1ms").agg(n=lnb.count(), sum=lnb.sum("v"))
    found = query.collect()
    assert found.schema["key"] == dtype
    lower = pl.DataFrame({"key": pl.Series(sorted(keys, key=str), dtype=dtype, strict=False)}).sort("key")
    assert_frame_equal(found.select("key").unique(maintain_order=True), lower)
    assert found.get_column("n").to_list() == [1, 2, 2, 2, 1] * 2
    assert sorted(found.get_column("sum").to_list()) == sorted([0, 1, 3, 5, 3, 4, 9, 11, 13, 7])
    state = WindowState(query)
    state.ingest(rows)
    assert_frame_equal(state.finish(), found)
