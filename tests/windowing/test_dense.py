"""Counting in cells gives what hashing gives: rows to slices, and slices to slices."""

import math

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

import lepton_nb as lnb
from lepton_nb.windowing import dense, slices
from lepton_nb.windowing.compiled import Loader, compiled
from lepton_nb.windowing.plan import bind

AGGREGATES = {
    "n": lnb.count(), "known": lnb.count("v"), "sum": lnb.sum("v"), "mean": lnb.mean("v"), "min": lnb.min("v"),
    "max": lnb.max("v"), "first_time": lnb.min("ts"), "last_time": lnb.max("ts"),
}  # fmt: skip
KEYS = {
    "none": None, "int8": pl.Int8, "int64": pl.Int64, "uint32": pl.UInt32, "text": pl.String,
}  # fmt: skip
VALUES = {
    pl.Float64: st.integers(-9, 9).map(float) | st.just(math.nan) | st.just(math.inf),
    pl.Float32: st.integers(-9, 9).map(float),
    pl.Int64: st.integers(-(2**63), 2**63 - 1),
    pl.UInt64: st.integers(0, 2**64 - 1),
    pl.Int8: st.integers(-128, 127),
    pl.Boolean: st.booleans(),
}


@pytest.fixture(scope="module")
def loops():
    return compiled()


@pytest.fixture(scope="module", params=["numpy", "numba"], autouse=True)
def way(request, loops):
    """Everything by either way, from the first row on."""
    loader = Loader(lambda: loops, worth_rows=0 if request.param == "numba" else 2**62)
    loader.loops_for(1)
    assert (loader.wait() is loops) == (request.param == "numba")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(dense, "LOADER", loader)
        yield request.param


@st.composite
def tables(draw):
    key = draw(st.sampled_from(sorted(KEYS)))
    dtype = draw(st.sampled_from(list(VALUES)))
    size = draw(st.integers(1, 40))
    names = st.sampled_from(["b", "a", "", "é"]) if key == "text" else st.integers(3, 6)
    columns = {
        "key": draw(st.lists(names, min_size=size, max_size=size)),
        "ts": draw(st.lists(st.integers(-20, 20), min_size=size, max_size=size)),
        "v": draw(st.lists(VALUES[dtype] | st.none(), min_size=size, max_size=size)),
    }
    schema = {"key": KEYS[key] or pl.Int64, "ts": pl.Int64, "v": dtype}
    return pl.DataFrame(columns, schema=schema).with_columns(pl.col("ts").cast(pl.Datetime("ms"))), KEYS[key]


def plan_of(frame, key, size, every):
    query = lnb.windows(time="ts", key=None if key is None else "key").sliding(f"{size}ms", f"{every}ms")
    return bind(query.agg(**AGGREGATES).spec, frame.schema)


def ordered(table, plan):
    return table.sort([*slices.key_names(plan), slices.SLICE])


@given(tables(), st.integers(1, 20), st.integers(1, 9), st.integers(1, 39))
def test_cells_give_what_hashing_gives(table, size, every, cut):
    frame, key = table
    plan = plan_of(frame, key, size, every)
    hashed = ordered(slices._hashed(frame.lazy(), plan), plan)
    parts = [part for part in (frame[:cut], frame[cut:]) if part.height]
    for whole in ([frame], parts):
        cells = dense.Cells(plan)
        if all(cells.add_rows(part) == part.height for part in whole):
            assert_frame_equal(cells.table(), hashed, rel_tol=1e-12)
    cells = dense.Cells(plan)
    if all(cells.add_table(slices._hashed(part.lazy(), plan)) for part in parts):
        assert_frame_equal(cells.table(), hashed, rel_tol=1e-12)


@pytest.mark.parametrize("key", [pl.Int32, pl.String])
def test_many_rows_go_into_cells_and_come_out_in_order(key, tmp_path, monkeypatch):
    rng = np.random.default_rng(0)
    frame = pl.DataFrame(
        {"ts": rng.integers(0, 600_000, 50_000), "key": rng.integers(0, 20, 50_000), "v": rng.integers(-9, 9, 50_000)}
    ).with_columns(pl.col("ts").cast(pl.Datetime("ms")), pl.col("key").cast(key), pl.col("v").cast(pl.Float64))
    plan = plan_of(frame, key, 60_000, 10_000)
    cells = dense.Cells(plan)
    assert cells.add_rows(frame) == frame.height
    counted = cells.table()
    assert_frame_equal(counted, ordered(slices._hashed(frame.lazy(), plan), plan), rel_tol=1e-12)
    # Read from a file in chunks, and in more of them than wait to be merged.
    frame.write_parquet(tmp_path / "t.parquet", row_group_size=1_000)
    monkeypatch.setattr(slices, "CHUNK_ROWS", 400)
    found = slices.scan(pl.scan_parquet(tmp_path / "t.parquet"), plan)
    assert_frame_equal(ordered(found, plan), counted, rel_tol=1e-12)


def test_what_does_not_go_into_cells_is_hashed():
    far = pl.DataFrame({"ts": [0, 10**9], "key": [1, 10**9], "v": [1.0, 2.0]}).with_columns(
        pl.col("ts").cast(pl.Datetime("ms"))
    )
    plan = plan_of(far, pl.Int64, 1, 1)
    assert not dense.Cells(plan).add_rows(far)
    assert slices.scan(far, plan).height == 2
    nulls = far.with_columns(key=pl.Series([None, 3]))
    assert not dense.Cells(plan).add_rows(nulls)


@pytest.mark.parametrize("key", [pl.Int64, pl.String])
def test_a_table_that_was_given_stays_as_it_is(key):
    """The cells go on; keys and slices come before and after those that were there."""
    frame = pl.DataFrame({"ts": [50, 51, 10, 90, 12], "key": [5, 5, 3, 9, 4], "v": [1.0, None, 3.0, 4.0, 5.0]})
    frame = frame.with_columns(pl.col("ts").cast(pl.Datetime("ms")), pl.col("key").cast(key))
    plan = plan_of(frame, key, 10, 10)
    cells = dense.Cells(plan)
    given = []
    for end in range(1, 1 + frame.height):
        assert cells.add_rows(pl.concat([frame[end - 1 : end]] * 20)) == 20
        given.append(cells.table())
    for end, table in enumerate(given, 1):
        rows = pl.concat([frame[:end]] * 20)
        assert_frame_equal(table, ordered(slices._hashed(rows.lazy(), plan), plan))


def test_rows_in_pieces_that_do_not_match_are_counted():
    one = pl.DataFrame({"ts": [1, 2, 3, 4], "key": [1, 1, 2, 2], "v": [1.0, 2.0, 3.0, 4.0]})
    one = one.with_columns(pl.col("ts").cast(pl.Datetime("ms")))
    parts = pl.concat([one[:1], one[1:]], rechunk=False).with_columns(v=one.get_column("v"))
    assert parts.get_column("ts").n_chunks() != parts.get_column("v").n_chunks()
    plan = plan_of(parts, pl.Int64, 2, 2)
    cells = dense.Cells(plan)
    assert cells.add_rows(parts) == parts.height
    assert_frame_equal(cells.table(), ordered(slices._hashed(one.lazy(), plan), plan))


@pytest.mark.parametrize("key", [2**63 - 2, -(2**63)])
@pytest.mark.parametrize("time", [2**63 - 10_000, -(2**63) + 10_000])
def test_keys_and_times_at_the_end_of_their_range(key, time):
    frame = pl.DataFrame({"ts": [time, time + 1, time + 1], "key": [key, key + 1, key + 1], "v": [1.0, 2.0, 3.0]})
    frame = frame.with_columns(pl.col("ts").cast(pl.Datetime("ns")))
    query = lnb.windows(time="ts", key="key").tumbling("1ns").agg(n=lnb.count(), sum=lnb.sum("v"))
    plan = bind(query.spec, frame.schema)
    cells = dense.Cells(plan)
    assert cells.add_rows(frame) == frame.height
    assert cells.table().select("key:key", "slice", "sum:v").rows() == [(key, time, 1.0), (key + 1, time + 1, 5.0)]


@pytest.mark.parametrize("size", ["60s", "25s"])
@pytest.mark.parametrize("value", [pl.Float64, pl.Int64, pl.Int16, pl.Float32])
def test_numpy_and_numba_give_the_same_bits(value, size, loops, way, monkeypatch):
    """Rows out of order and in pieces; keys and times that come later grow the grid on every side."""
    rng = np.random.default_rng(3)
    rows = 30_000
    ts = np.arange(rows) * 20 + rng.integers(-900, 900, rows) - 200_000
    key = rng.integers(-5, 5, rows) * np.where(np.arange(rows) < rows // 2, 1, 3)
    v = (rng.standard_normal(rows) * 1_000).astype(np.float64)
    frame = pl.DataFrame({"ts": ts, "key": key, "v": pl.Series(v).cast(value, strict=False)})
    frame = frame.with_columns(pl.col("ts").cast(pl.Datetime("ms")))
    frame = frame.with_columns(v=pl.when(pl.int_range(rows) % 97 != 0).then("v"))
    query = lnb.windows(time="ts", key="key").sliding(size, "10s").agg(**AGGREGATES)
    plan = bind(query.spec, frame.schema)
    parts = [frame[7_000:20_000], frame[:7_000], frame[20_000:]]

    def counted(load):
        loader = Loader(load, worth_rows=0)
        loader.loops_for(1)
        loader.wait()
        monkeypatch.setattr(dense, "LOADER", loader)
        cells = dense.Cells(plan)
        assert [cells.add_rows(part) for part in parts] == [part.height for part in parts]
        return cells.table()

    def missing():
        raise ModuleNotFoundError("No module named 'numba'")

    assert_frame_equal(counted(lambda: loops), counted(missing), check_exact=True)


def test_of_two_zeros_the_same_stays(loops, way):
    frame = pl.DataFrame({"ts": [0, 0, 1, 1], "key": [1] * 4, "v": [0.0, -0.0, -0.0, 0.0]})
    frame = frame.with_columns(pl.col("ts").cast(pl.Datetime("ms")))
    cells = dense.Cells(plan_of(frame, pl.Int64, 1, 1))
    assert cells.add_rows(frame) == 4
    signs = [math.copysign(1, value) for name in ("min:v", "max:v") for value in cells.table()[name]]
    assert signs == [-1, 1, -1, 1]


@pytest.mark.parametrize("lengths", [(2_000, 2_000), (1_000, 300), (500,) * 6])
@pytest.mark.parametrize("key", [None, "key"])
def test_pieces_that_end_with_a_batch_leave_empty_ones(lengths, key, monkeypatch):
    """Polars gives batches with an empty piece where one of the frame's ends falls on a batch's."""
    monkeypatch.setattr(slices, "CHUNK_ROWS", 500)
    parts = [
        pl.DataFrame({"ts": range(rows), "key": [rows % 7] * rows, "v": [1.0] * rows}).with_columns(
            pl.col("ts").cast(pl.Datetime("ms"))
        )
        for rows in lengths
    ]
    frame = pl.concat(parts, rechunk=False)
    query = lnb.windows(frame, time="ts", key=key).tumbling("1s").agg(n=lnb.count(), sum=lnb.sum("v"))
    found = query.collect()
    assert found["n"].sum() == found["sum"].sum() == sum(lengths)
    assert_frame_equal(
        found,
        lnb.windows(frame.rechunk(), time="ts", key=key).tumbling("1s").agg(n=lnb.count(), sum=lnb.sum("v")).collect(),
    )


@pytest.mark.parametrize("keys", [10**12, 2**31 - 5])
def test_dates_with_large_keys(keys):
    """Days are counted in 32 bits, and the numbers of cells do not fit into them."""
    days = np.arange(1_000) // 10 + 20_000
    frame = pl.DataFrame({"ts": days, "key": keys + np.arange(1_000) % 10}).with_columns(
        pl.col("ts").cast(pl.Int32).cast(pl.Date)
    )
    found = lnb.windows(frame, time="ts", key="key").tumbling("1d").agg(n=lnb.count()).collect()
    assert found["n"].to_list() == [1] * 1_000
    assert found["key"].unique().sort().to_list() == list(range(keys, keys + 10))


def test_rows_up_to_one_that_is_far_are_counted(way):
    """With the loops the rows before it are in the cells already, and only the others are left to be hashed."""
    near = pl.DataFrame({"ts": range(1_000), "key": [1] * 1_000, "v": [1.0] * 1_000})
    frame = pl.concat([near, near.with_columns(ts=pl.lit(2**50)), near])
    near, frame = (table.with_columns(pl.col("ts").cast(pl.Datetime("ms"))) for table in (near, frame))
    plan = plan_of(frame, pl.Int64, 1, 1)
    cells = dense.Cells(plan)
    assert cells.add_rows(near) == 1_000
    taken = cells.add_rows(frame)
    assert taken == (1_000 if way == "numba" else 0)
    counted = ordered(slices._hashed(pl.concat([near, frame[:taken]]).lazy(), plan), plan)
    assert_frame_equal(cells.table(), counted)
    assert cells.add_rows(near) == 1_000
