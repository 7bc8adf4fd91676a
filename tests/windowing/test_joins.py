from datetime import datetime, timedelta

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

import lepton_nb as lnb

START = datetime(2020, 1, 1)
LEFT = lnb.windows(time="ts", key="person").agg(n=lnb.count(), v=lnb.sum("v"))
RIGHT = lnb.windows(time="at", key="seller").agg(n=lnb.count(), most=lnb.max("price"))


def frame_of(rows, time, key, value):
    schema = {key: pl.Int64, time: pl.Int64, value: pl.Int64}
    frame = pl.DataFrame(rows, schema=schema, orient="row")
    return frame.with_columns((pl.lit(START) + pl.duration(seconds=pl.col(time))).alias(time))


def pair(left, right, shape=lambda query: query.tumbling("10s")):
    return shape(LEFT), shape(RIGHT), frame_of(left, "ts", "person", "v"), frame_of(right, "at", "seller", "price")


def on(query, frame):
    return (
        lnb.windows(frame, time=query.spec.time, key=query.spec.keys)
        .agg(**dict(query.spec.aggregates))
        ._shaped(query.spec.shape)
    )


def test_the_joined_columns():
    first, second, left, right = pair([(1, 0, 5), (2, 3, 7), (1, 12, 1)], [(1, 1, 9), (1, 2, 8), (3, 3, 4)])
    joined = on(first, left).join(on(second, right))
    assert joined.collect().rows() == [(1, START, START + timedelta(seconds=10), 1, 5, 2, 9)]
    assert joined.collect().columns == ["person", "window_start", "window_end", "n", "v", "n_right", "most"]
    assert on(first, left).join(on(second, right), how="left").collect()["n_right"].to_list() == [2, None, None]
    full = on(first, left).join(on(second, right), how="full").collect()
    assert full["person"].to_list() == [1, 1, 2, 3]
    assert full["n"].to_list() == [1, 1, 1, None]


def test_pairs_of_rows_of_two_streams():
    """All pairs of rows with one key in one window, as a window join elsewhere gives them."""
    people = [(1, 0, 5), (1, 3, 7), (2, 4, 1), (1, 12, 1)]
    sales = [(1, 1, 9), (1, 2, 8), (3, 3, 4), (1, 11, 6)]
    shape = lambda query: query.tumbling("10s")  # noqa: E731
    first = shape(lnb.windows(time="ts", key="person")).agg(left=lnb.rows("v")).lateness("60s")
    second = shape(lnb.windows(time="at", key="seller")).agg(right=lnb.rows("price")).lateness("60s")
    left, right = frame_of(people, "ts", "person", "v"), frame_of(sales, "at", "seller", "price")
    run = first.join(second).stream(left, right, batch_rows=2)
    run.wait()
    pairs = run.table().explode("left").explode("right").unnest("left", "right").select("person", "v", "price")
    assert pairs.rows() == [(1, 5, 9), (1, 5, 8), (1, 7, 9), (1, 7, 8), (1, 1, 6)]


ROWS = st.lists(st.tuples(st.integers(0, 2), st.integers(0, 60), st.integers(-5, 5)), max_size=20)
SHAPES = [
    lambda query: query.tumbling("10s"),
    lambda query: query.sliding("10s", "4s"),
    lambda query: query.cumulating("20s", "5s"),
]


@settings(max_examples=25, deadline=None)
@given(ROWS, ROWS, st.sampled_from(SHAPES), st.sampled_from(["inner", "left", "full"]), st.integers(1, 9))
def test_two_streams_give_the_join_of_the_tables(left_rows, right_rows, shape, how, batch_rows):
    first, second, left, right = pair(left_rows, right_rows, shape)
    expected = on(first, left).join(on(second, right), how=how).collect()
    joined = first.lateness("60s").join(second.lateness("60s"), how=how)
    run = joined.stream(lnb.sources.table(left), lnb.sources.table(right), batch_rows=batch_rows)
    run.wait()
    assert_frame_equal(run.table(), expected)
    assert run.late().height == 0


@settings(max_examples=25, deadline=None)
@given(ROWS, ROWS, st.sampled_from(SHAPES), st.sampled_from(["inner", "left", "full"]), st.integers(1, 9))
def test_late_rows_of_either_side_make_a_joined_window_come_again(left_rows, right_rows, shape, how, batch_rows):
    first, second, left, right = pair(left_rows, right_rows, shape)
    expected = on(first, left).join(on(second, right), how=how).collect()
    joined = first.lateness(allowed="100s").join(second.lateness(allowed="100s"), how=how)
    run = joined.stream(lnb.sources.table(left), lnb.sources.table(right), batch_rows=batch_rows)
    run.wait()
    assert_frame_equal(run.table(), expected)


def test_late_rows_say_their_side():
    first, second, left, right = pair([(1, 50, 5), (1, 0, 7)], [(1, 50, 9), (1, 0, 8), (1, 1, 8)])
    run = first.join(second).stream(lnb.sources.table(left), lnb.sources.table(right), batch_rows=2)
    run.wait()
    assert sorted(run.late()["side"].to_list()) == ["left", "right", "right"]


def test_a_join_on_the_cluster(cluster, tmp_path):
    rows = [(n % 7, n, n % 5) for n in range(60)]
    first, second, left, right = pair(rows, rows[::2])
    expected = on(first, left).join(on(second, right)).collect()
    run = first.join(second).stream(left, right, cluster=cluster, checkpoint=tmp_path / "c", batch_rows=20)
    run.wait()
    assert_frame_equal(run.table(), expected)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: LEFT.join(RIGHT), "finish both"),
        (lambda: LEFT.tumbling("10s").join(RIGHT.tumbling("20s")), "windows differ: tumbling 10s and tumbling 20s"),
        (lambda: LEFT.session("10s").join(RIGHT.session("10s")), "session windows depend on the rows"),
        (lambda: LEFT.tumbling("10s").join(RIGHT.tumbling("10s"), how="outer"), "unknown kind of join 'outer'"),
        (
            lambda: LEFT.tumbling("10s").join(lnb.windows(time="at").tumbling("10s").agg(n=lnb.count())),
            "do not pair up: 'person' and none",
        ),
    ],
)
def test_what_cannot_be_joined_names_the_fix(make, message):
    with pytest.raises(lnb.WindowError, match=message):
        make()


def test_keys_of_two_types_are_refused():
    first, second, left, right = pair([(1, 0, 5)], [(1, 1, 9)])
    joined = on(first, left).join(on(second, right.with_columns(pl.col("seller").cast(pl.String))))
    with pytest.raises(lnb.WindowError, match="'person' is Int64 and 'seller' is String; cast one"):
        joined.collect()
