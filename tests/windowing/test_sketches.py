"""Aggregates that keep more than numbers: sketches, distinct values, top k, a user's own; and spread far from zero."""

import math
from datetime import date, datetime, timedelta

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

import lepton_nb as lnb
from lepton_nb.windowing import WindowState, sketches

START = datetime(2020, 1, 1)


def frame_of(values, dtype=None, seconds=1):
    times = [START + timedelta(seconds=seconds * i) for i in range(len(values))]
    return pl.DataFrame({"t": times, "v": pl.Series(values, dtype=dtype)})


def whole(values, dtype=None, **aggregates):
    frame = frame_of(values, dtype, seconds=0)
    return lnb.windows(frame, time="t").tumbling("1d").agg(**aggregates).collect().drop("window_start", "window_end")


@pytest.mark.parametrize("error", [0.05, 0.01])
def test_a_sketch_quantile_has_a_rank_within_its_error(error):
    values = np.random.default_rng(0).normal(size=50_000)
    frame = frame_of(values, seconds=1)
    qs = (0.01, 0.25, 0.5, 0.99)
    sketched = {f"q{q}": lnb.quantile("v", q, error=error) for q in qs}
    table = lnb.windows(frame, time="t").sliding("4h", "1h").agg(n=lnb.count(), **sketched).collect()
    for row in table.iter_rows(named=True):
        inside = frame.filter(pl.col("t").is_between(row["window_start"], row["window_end"], closed="left"))["v"]
        for q in qs:
            rank = (inside <= row[f"q{q}"]).sum() / row["n"]
            # The error holds with 99 % confidence each; twice it, for all of them.
            assert abs(rank - q) <= 2 * error + 1 / row["n"]


def test_a_sketch_of_few_values_is_one_of_them_and_leaves_out_nan():
    found = whole([3.0, 1.0, None, math.nan, 2.0], q=lnb.quantile("v", 0.5, error=0.01))
    assert found["q"].to_list() == [2.0]
    assert whole([None, None], pl.Float64, q=lnb.quantile("v", 0.5, error=0.01))["q"].to_list() == [None]


def test_the_size_of_a_sketch_does_not_follow_the_rows():
    sketch = sketches.Kll("v", sketches.kll_k(0.01))
    small, large = (len(sketch.pack(pl.Series(np.arange(n, dtype=float)))) for n in (10_000, 1_000_000))
    assert large < 1.5 * small


@pytest.mark.parametrize("error", [0.05, 0.01])
def test_a_distinct_sketch_is_within_a_few_of_its_errors(error):
    values = np.random.default_rng(1).integers(0, 20_000, 60_000)
    frame = frame_of(values)
    query = (
        lnb.windows(frame, time="t")
        .sliding("8h", "2h")
        .agg(exact=lnb.distinct("v"), about=lnb.distinct("v", error=error))
    )
    table = query.collect()
    assert table["exact"].max() > 10_000
    assert ((table["about"] - table["exact"]).abs() <= 4 * error * table["exact"] + 1).all()


def test_a_distinct_sketch_does_not_depend_on_the_order_of_rows():
    values = list(range(5_000)) * 2
    shuffled = np.random.default_rng(2).permutation(values)
    about = lnb.distinct("v", error=0.05)
    query = lnb.windows(time="t").tumbling("1d").agg(about=about)
    state = WindowState(query)
    for part in frame_of(shuffled, pl.Int64, seconds=0).iter_slices(777):
        state.ingest(part)
    assert state.finish()["about"].to_list() == whole(values, about=about)["about"].to_list()


@pytest.mark.parametrize(
    ("values", "dtype", "expected"),
    [
        (["a", "b", "a", None], pl.String, 2),
        (["a", "b", "a", None], pl.Categorical, 2),
        ([True, False, None, True], pl.Boolean, 2),
        ([date(2020, 1, 1), None, date(1960, 1, 1)], pl.Date, 2),
        ([START, START, None], pl.Datetime("ns"), 1),
        ([0.0, -0.0, math.nan, math.nan], pl.Float64, 2),
        ([2**64 - 1, 0], pl.UInt64, 2),
        ([None, None], pl.Int8, 0),
    ],
)
def test_distinct_of_every_type(values, dtype, expected):
    found = whole(values, dtype, exact=lnb.distinct("v"), about=lnb.distinct("v", error=0.02))
    assert found.row(0) == (expected, expected)


@given(st.lists(st.sampled_from("abcd") | st.none(), min_size=1, max_size=30), st.integers(1, 9), st.integers(1, 5))
def test_distinct_and_edges_of_text_in_sliding_windows(values, size, every):
    frame = frame_of(values, pl.String)
    query = lnb.windows(frame, time="t").sliding(f"{size}s", f"{every}s")
    table = query.agg(d=lnb.distinct("v"), f=lnb.first("v"), z=lnb.last("v")).collect()
    for start, end, found, first, last in table.iter_rows():
        inside = frame.filter(pl.col("t").is_between(start, end, closed="left"))["v"].drop_nulls()
        edges = (inside[0], inside[-1]) if len(inside) else (None, None)
        assert (found, first, last) == (inside.n_unique(), *edges)


def test_equal_times_have_a_first_and_last_that_the_order_of_rows_does_not_change():
    for values in ([3, 1, 2], [2, 3, 1]):
        assert whole(values, f=lnb.first("v"), z=lnb.last("v")).row(0) == (1, 3)


def test_top_k_keeps_the_type_of_the_column():
    values = [2**60 + 1, 2**60, 2**60 + 1, 5, None]
    found = whole(values, pl.Int64, most=lnb.top_k("v", 2), largest=lnb.top_k("v", 2, by="value"))
    assert found["most"].to_list() == [[{"value": 2**60 + 1, "count": 2}, {"value": 5, "count": 1}]]
    assert found["largest"].to_list() == [[2**60 + 1, 2**60 + 1]]
    assert found.schema["most"] == pl.List(pl.Struct({"value": pl.Int64, "count": pl.Int64}))
    words = whole(["b", "a", "b"], most=lnb.top_k("v", 1), largest=lnb.top_k("v", 5, by="value"))
    assert words.row(0) == ([{"value": "b", "count": 2}], ["b", "b", "a"])
    nothing = whole([None], pl.Float64, most=lnb.top_k("v", 3), largest=lnb.top_k("v", 3, by="value"))
    assert nothing.row(0) == ([], [])


@pytest.mark.parametrize("far", [1e9, -1e12])
def test_the_variance_of_values_far_from_zero_keeps_its_digits(far):
    """The sum of squares less the square of the sum would leave nothing of it."""
    values = far + np.random.default_rng(3).integers(0, 10, 3_000)
    table = (
        lnb.windows(frame_of(values), time="t").sliding("20m", "1m").agg(v=lnb.var("v"), s=lnb.std("v", 0)).collect()
    )
    for start, end, var, std in table.iter_rows():
        inside = frame_of(values).filter(pl.col("t").is_between(start, end, closed="left"))["v"].to_numpy()
        near = inside - far
        bound = 4 * 2.0**-52 * abs(far) / max(near.std(), 1)
        assert var == pytest.approx(near.var(ddof=1), rel=bound)
        assert std == pytest.approx(near.std(), rel=bound)


def test_the_variance_of_one_value():
    assert whole([5.0], s=lnb.var("v"), p=lnb.var("v", ddof=0)).row(0) == (None, 0.0)
    assert whole([None], pl.Int8, s=lnb.std("v"), p=lnb.std("v", ddof=0)).row(0) == (None, None)
    assert math.isnan(whole([math.inf, 1.0], s=lnb.var("v")).item())


SHARE = lnb.custom(
    "v",
    init=lambda: [0, 0],
    add=lambda a, x: [a[0] + (x > 2), a[1] + 1],
    merge=lambda a, b: [a[0] + b[0], a[1] + b[1]],
    finish=lambda a: a[0] / a[1] if a[1] else None,
)


def test_an_aggregate_of_your_own_merges_everywhere(cluster):
    frame = frame_of([1, 2, 3, 4, None, 6] * 100)
    query = lnb.windows(frame, time="t").sliding("1m", "10s").agg(share=SHARE, mean=lnb.mean("v"))
    here = query.collect()
    full = here.filter(pl.col("window_start") >= START)["share"][:5]
    assert full.to_list() == [0.6] * 5
    assert_frame_equal(query.collect(cluster), here)
    state = WindowState(lnb.windows(time="t").sliding("1m", "10s").agg(share=SHARE, mean=lnb.mean("v")))
    for part in frame.iter_slices(97):
        state.ingest(part)
    assert_frame_equal(state.finish(), here)


def test_two_aggregates_of_your_own_on_one_column():
    one, two = (
        lnb.custom("v", init=lambda: 0, add=lambda a, x, k=k: a + k * x, merge=lambda a, b: a + b, dtype=int)
        for k in (1, 10)
    )
    assert whole([1, 2], one=one, two=two).row(0) == (3, 30)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: lnb.quantile("v", 0.5, error=0), "between 0 and 1"),
        (lambda: lnb.quantile("v", 0.5, error=1e-9), "no sketch is as exact as error=1e-09"),
        (lambda: lnb.distinct("v", error=1e-9), "no sketch is as exact as error=1e-09"),
        (lambda: lnb.distinct("v", error=True), "between 0 and 1"),
        (lambda: lnb.distinct("v", eror=0.1), r"unknown option of distinct\(\) 'eror'; did you mean 'error'"),
        (lambda: lnb.top_k("v", 0), r"k=0 of top_k\(\) must be a whole number"),
        (lambda: lnb.top_k("v", 3, by="size"), r"unknown order of top_k\(\) 'size'"),
        (lambda: lnb.rows(), "one or more different columns"),
        (lambda: lnb.rows("v", "v"), "one or more different columns"),
        (lambda: lnb.rows(3), r"rows\(\) takes the name of a column, not 3"),
        (lambda: whole([[1]], x=lnb.rows("v")), r"rows\('v'\) needs columns that can be sorted"),
        (lambda: lnb.var("v", ddof=2), "ddof is 1 for a sample or 0"),
        (lambda: lnb.custom("v", init=0, add=max, merge=max), r"custom\('v', init=...\) takes a function, not 0"),
        (lambda: lnb.custom("v", init=list, add=max, merge=max, dtype="number"), "give a Polars type"),
        (
            lambda: whole([1.0], x=lnb.custom("v", init=set, add=lambda a, x: a | {x}, merge=lambda a, b: a | b)),
            "made of numbers, strings, .* not set",
        ),
        (
            lambda: whole([1.0], x=lnb.custom("v", init=str, add=lambda a, x: "s", merge=max)),
            "the custom aggregate 'x' gave values that are not Float64: .*'s'.*; give the type",
        ),
        (lambda: whole([[1]], x=lnb.distinct("v")), r"distinct\('v'\) needs numbers, .* text, but the column is List"),
        (lambda: whole([[1]], x=lnb.first("v")), r"first\('v'\) needs numbers, .* text, but the column is List"),
    ],
)
def test_wrong_arguments_name_the_fix(make, message):
    with pytest.raises(lnb.WindowError, match=message):
        make()
