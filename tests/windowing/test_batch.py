import json
import math
from collections import defaultdict
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import duckdb
import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

import lepton_nb as lnb

CONFORMANCE = json.loads(Path(__file__).with_name("conformance.json").read_text())
ALL = {
    "rows": lnb.count(),
    "values": lnb.count("v"),
    "sum": lnb.sum("v"),
    "mean": lnb.mean("v"),
    "min": lnb.min("v"),
    "max": lnb.max("v"),
    "half": lnb.quantile("v", 0.5),
    "most": lnb.quantile("v", 0.9),
}


def random_table(rows, keys=7, span_s=3_000, seed=0):
    """Whole-numbered floats, so that every sum is exact in any order; one value in ten is null."""
    rng = np.random.default_rng(seed)
    start = datetime(1969, 12, 31, 23, 50, tzinfo=UTC)
    return pl.DataFrame(
        {
            "ts": [start + timedelta(milliseconds=int(ms)) for ms in rng.integers(0, span_s * 1000, rows)],
            "key": rng.integers(0, keys, rows),
            "v": [None if rng.random() < 0.1 else float(x) for x in rng.integers(-1000, 1000, rows)],
        },
        schema={"ts": pl.Datetime("us", "UTC"), "key": pl.Int64, "v": pl.Float64},
    )


@pytest.mark.parametrize("kind", ["tumbling", "sliding"])
@pytest.mark.parametrize("case", CONFORMANCE["batch"], ids=lambda case: case["source"])
def test_cases_of_other_systems(case, kind):
    day = datetime(2020, 4, 15)
    frame = pl.DataFrame(
        {"t": [day + timedelta(minutes=m) for m, _ in case["rows"]], "price": [price for _, price in case["rows"]]}
    )
    shape = case[kind]
    query = lnb.windows(frame, time="t").agg(price=lnb.sum("price"))
    lengths = {name: timedelta(minutes=shape[name]) for name in ("size", "every") if name in shape}
    table = getattr(query, kind)(**lengths).collect()
    expected = [(day + timedelta(minutes=a), day + timedelta(minutes=b), price) for a, b, price in shape["result"]]
    assert table.rows() == expected


def brute_force(rows, size, every, offset):
    """The result by the definition: every row into every window that holds it. Times in milliseconds."""
    windows = defaultdict(list)
    for key, time, value in rows:
        if key is None or time is None:
            continue
        for k in range((time - offset - size) // every, (time - offset) // every + 1):
            start = offset + k * every
            if start <= time < start + size:
                windows[key, start].append(value)
    return [(key, start, start + size, *_aggregates(values)) for (key, start), values in sorted(windows.items())]


def _aggregates(values):
    known = sorted((v for v in values if v is not None), key=lambda v: (math.isnan(v), v))
    numbers = [v for v in known if not math.isnan(v)] or known
    low, high = (numbers[0], numbers[-1]) if known else (None, None)
    mean = sum(known) / len(known) if known else None
    return len(values), len(known), float(sum(known)), mean, low, high, _quantile(known, 0.5), _quantile(known, 0.9)


def _quantile(ordered, q):
    if not ordered:
        return None
    rank = q * (len(ordered) - 1)
    low, high = ordered[math.floor(rank)], ordered[min(math.floor(rank) + 1, len(ordered) - 1)]
    return low if rank == math.floor(rank) or low == high else low + (high - low) * (rank - math.floor(rank))


@st.composite
def cases(draw):
    every = draw(st.integers(1, 12))
    shape = (draw(st.integers(1, 40)), every, draw(st.integers(1 - every, every - 1)))
    time = st.none() | st.integers(-60, 60)
    value = st.none() | st.integers(-9, 9).map(float) | st.just(math.nan)
    row = st.tuples(st.sampled_from(["a", "b", None]), time, value)
    rows = draw(st.lists(row, max_size=30))
    return rows, shape


@pytest.mark.filterwarnings("ignore::lepton_nb.errors.WindowWarning")
@given(cases(), st.integers(1, 3))
def test_the_definition(case, parts):
    rows, (size, every, offset) = case
    if rows and all(key is None or time is None for key, time, _ in rows):
        rows.append(("a", 0, 1.0))
    schema = {"key": pl.String, "ts": pl.Int64, "v": pl.Float64}
    frame = pl.DataFrame(rows, schema=schema, orient="row").with_columns(pl.col("ts").cast(pl.Datetime("ms")))
    query = lnb.windows(frame, time="ts", key="key").sliding(f"{size}ms", f"{every}ms", offset=f"{offset}ms").agg(**ALL)
    expected = brute_force(rows, size, every, offset)
    assert_same(query.collect(), expected)
    assert_same(in_parts(query, parts), expected)


def assert_same(table, expected):
    found = table.with_columns(pl.col("window_start", "window_end").dt.epoch("ms")).rows()
    assert [plain(row) for row in found] == [plain(row) for row in expected]


def plain(row):
    """NaN as text, so that rows compare."""
    return tuple("NaN" if isinstance(x, float) and math.isnan(x) else x for x in row)


def in_parts(query, parts):
    """As a cluster does it: slice tables of several partitions, merged."""
    from lepton_nb.data import frames
    from lepton_nb.windowing import batch
    from lepton_nb.windowing import plan as planning

    plan = planning.bind(query.spec, query.frame.schema)
    tables = [batch.scan(part, plan) for part in frames.partitions(query.frame, parts)]
    return batch.finish(tables, plan).table


@pytest.mark.parametrize(
    ("size_ms", "every_ms", "offset_ms"),
    [
        (60_000, 60_000, 0),
        (60_000, 10_000, -3_000),
        (70_000, 30_000, 29_999),
        (5_000, 20_000, 1),
        (3_600_000, 7_001, 0),
    ],
)
def test_duckdb_agrees(size_ms, every_ms, offset_ms):
    frame = random_table(3_000, seed=size_ms)
    query = lnb.windows(frame, time="ts", key="key").agg(**ALL)
    found = query.sliding(*(timedelta(milliseconds=ms) for ms in (size_ms, every_ms, offset_ms))).collect()
    flat = frame.select(pl.col("ts").dt.epoch("ms").alias("t"), "key", "v")
    connection = duckdb.connect()
    connection.register("flat", flat.to_arrow())
    answer = connection.sql(
        f"""
        with bounds as (select min(t) - {size_ms} as low, max(t) as high from flat),
        starts as (select unnest(range(
            (select (low // {every_ms} - 2) * {every_ms} + {offset_ms} from bounds),
            (select high + 1 from bounds), {every_ms})) as s)
        select key, s, s + {size_ms}, count(*), count(v), coalesce(sum(v), 0), avg(v), min(v), max(v),
               quantile_cont(v, 0.5), quantile_cont(v, 0.9)
        from flat join starts on t >= s and t < s + {size_ms} group by key, s order by key, s
        """
    )
    expected = pl.from_arrow(answer.to_arrow_table())
    connection.close()
    times = found.with_columns(pl.col("window_start", "window_end").dt.epoch("ms"))
    assert_frame_equal(times, expected.rename(dict(zip(expected.columns, times.columns, strict=True))), rel_tol=1e-12)


@pytest.mark.parametrize("unit", ["ns", "us", "ms"])
@pytest.mark.parametrize("zone", [None, "UTC", "Asia/Kolkata"])
def test_every_time_unit_and_zone(unit, zone):
    dtype = pl.Datetime(unit, zone)
    moments = [datetime(1969, 12, 31, 23, 59, 59, 999_000), datetime(1970, 1, 1), datetime(1970, 1, 1, 0, 59)]
    frame = pl.DataFrame({"t": pl.Series(moments, dtype=pl.Datetime(unit)).cast(pl.Int64).cast(dtype)})
    table = lnb.windows(frame, time="t").tumbling("1h").agg(n=lnb.count()).collect()
    assert table.schema["window_start"] == table.schema["window_end"] == dtype
    hour = 3600 * {"ns": 10**9, "us": 10**6, "ms": 10**3}[unit]
    assert table["window_start"].cast(pl.Int64).to_list() == [-hour, 0]
    assert table["n"].to_list() == [1, 2]


def test_times_of_whole_seconds_from_pandas_and_arrow():
    """Polars has no seconds: they come as milliseconds."""
    pandas, arrow = pytest.importorskip("pandas"), pytest.importorskip("pyarrow")
    seconds = np.array([-1, 0, 3599, 3600], dtype="datetime64[s]")
    frames = (
        pandas.DataFrame({"t": pandas.Series(seconds)}),
        arrow.table({"t": arrow.array([-1, 0, 3599, 3600], arrow.timestamp("s"))}),
    )
    for frame in frames:
        table = lnb.windows(frame, time="t").tumbling("1h").agg(n=lnb.count()).collect()
        assert table["window_start"].dt.epoch("s").to_list() == [-3600, 0, 3600]
        assert table["n"].to_list() == [1, 2, 1]


def test_dates():
    frame = pl.DataFrame({"day": [date(1969, 12, 31), date(1970, 1, 1), date(1970, 1, 8)], "v": [1, 2, 4]})
    table = lnb.windows(frame, time="day").tumbling("7d").agg(v=lnb.sum("v")).collect()
    assert table["window_start"].to_list() == [date(1969, 12, 25), date(1970, 1, 1), date(1970, 1, 8)]
    assert table["window_end"].to_list() == [date(1970, 1, 1), date(1970, 1, 8), date(1970, 1, 15)]
    assert table["v"].to_list() == [1, 2, 4]
    with pytest.raises(lnb.WindowError, match="not a whole number of ticks.*one tick: 1d"):
        lnb.windows(frame, time="day").tumbling("1h").agg(v=lnb.sum("v")).collect()


def test_a_window_larger_than_the_data():
    frame = random_table(100, keys=1)
    table = lnb.windows(frame, time="ts").tumbling("3650d").agg(**ALL).collect()
    assert table["rows"].sum() == 100
    assert table.height == 2  # the data cross 1970
    sliding = lnb.windows(frame, time="ts").sliding("36500d", "18250d").agg(n=lnb.count()).collect()
    assert sliding["n"].max() == 100


def test_far_apart_rows_make_no_windows_between_them():
    frame = pl.DataFrame({"t": [datetime(1700, 1, 1), datetime(2200, 1, 1)]})
    table = lnb.windows(frame, time="t").sliding("3s", "1s").agg(n=lnb.count()).collect()
    assert table["n"].to_list() == [1] * 6


def windows_of_one_row(time, dtype, *shape, offset=0):
    frame = pl.DataFrame({"t": pl.Series([time]).cast(dtype)})
    query = lnb.windows(frame, time="t").agg(n=lnb.count())
    return (query.sliding(*shape) if len(shape) > 1 else query.tumbling(*shape, offset=offset)).collect()


@pytest.mark.parametrize(
    ("time", "dtype", "shape"),
    [
        (datetime(2200, 1, 1), pl.Datetime("ns"), ["80000d"]),
        (datetime(2262, 4, 11, 23, 30), pl.Datetime("ns"), ["1h"]),
        (datetime(1677, 9, 21, 0, 15), pl.Datetime("ns"), ["1h"]),
        (datetime(2262, 4, 11, 1), pl.Datetime("ns"), ["1d1h", "1d"]),
        (datetime(1700, 1, 1), pl.Datetime("ns"), ["100000d", "50000d"]),
        (datetime(1700, 1, 1), pl.Datetime("ns"), ["100000d", "1ns"]),
        (datetime(2020, 1, 1), pl.Datetime("ns"), ["110000d"]),
        (datetime(2020, 1, 1), pl.Datetime("ns"), ["99999999999w"]),
        (datetime(2020, 1, 1), pl.Datetime("us"), ["99999999999w"]),
        (datetime(2020, 1, 1), pl.Datetime("us"), ["100000000d"]),
        (date(2020, 1, 1), pl.Date, ["3000000000d"]),
    ],
)
def test_windows_beyond_the_range_of_the_time_column_are_refused(time, dtype, shape):
    with pytest.raises(lnb.WindowError, match="beyond the times that column 't', .*; use shorter windows"):
        windows_of_one_row(time, dtype, *shape)


def test_windows_that_just_fit_the_time_column_are_computed():
    table = windows_of_one_row(datetime(2262, 4, 11, 21), pl.Datetime("ns"), "1h")
    assert table["window_end"].to_list() == [datetime(2262, 4, 11, 22)]
    table = windows_of_one_row(datetime(2020, 1, 1), pl.Datetime("us"), "94000000d")
    assert table["window_start"].to_list() == [datetime(1970, 1, 1)]
    assert table["window_end"].cast(pl.Int64).to_list() == [94_000_000 * 86_400 * 10**6]
    table = windows_of_one_row(date(9999, 12, 31), pl.Date, "1d")
    assert table["window_end"].cast(pl.Int32).to_list() == [(date(9999, 12, 31) - date(1970, 1, 1)).days + 1]


def test_a_long_offset_does_not_wrap_around():
    dtype = pl.Datetime("ns")
    table = windows_of_one_row(datetime(2200, 1, 1), dtype, "50000d", offset="-49999d")
    assert table["window_start"].to_list() == [datetime(1970, 1, 2) + timedelta(days=50_000)]
    with pytest.raises(lnb.WindowError, match="cast the column: .*cast_time_unit"):
        windows_of_one_row(datetime(2200, 1, 1), dtype, "80000d", offset="-79999d")


def test_strong_overlap():
    frame = random_table(2_000, keys=2, span_s=86_400 * 5)
    query = lnb.windows(frame, time="ts", key="key").sliding("1d", "1m").agg(**ALL)
    table = query.collect()
    first = table.row(4_000, named=True)
    inside = frame.filter(
        (pl.col("key") == first["key"])
        & pl.col("ts").is_between(first["window_start"], first["window_end"], closed="left")
    )["v"]
    assert first["sum"] == inside.sum()
    assert first["max"] == inside.max()
    assert first["most"] == pytest.approx(inside.quantile(0.9, "linear"))
    assert table["rows"].sum() == 2_000 * 1_440


def test_more_windows_than_memory_are_refused():
    query = lnb.windows(random_table(100), time="ts", key="key").sliding("3650d", "1us").agg(n=lnb.count())
    with pytest.raises(lnb.WindowError, match="use a longer 'every'"):
        query.collect()


def test_several_keys_in_order():
    frame = random_table(500).with_columns(
        name=pl.col("key").cast(pl.String).cast(pl.Categorical), half=pl.col("key") % 2
    )
    table = lnb.windows(frame, time="ts", key=["half", "name"]).sliding("5m", "2m").agg(n=lnb.count()).collect()
    assert table.columns == ["half", "name", "window_start", "window_end", "n"]
    assert table.schema["name"] == pl.Categorical
    order = table.select("half", pl.col("name").cast(pl.String), "window_start").rows()
    assert order == sorted(order)


def test_an_empty_table_gives_an_empty_result_with_its_columns():
    frame = random_table(10)
    query = lnb.windows(frame, time="ts", key="key").sliding("5m", "1m").agg(**ALL)
    empty = lnb.windows(frame.clear(), time="ts", key="key").sliding("5m", "1m").agg(**ALL).collect()
    assert empty.height == 0
    assert empty.schema == query.collect().schema


def test_rows_in_gaps_only_give_an_empty_result():
    frame = pl.DataFrame({"t": [datetime(2020, 1, 1, 0, 30)]})
    table = lnb.windows(frame, time="t").sliding("10m", "1h").agg(n=lnb.count()).collect()
    assert table.shape == (0, 3)


def test_null_times_and_keys_are_counted_and_kept_aside():
    frame = pl.DataFrame(
        {
            "t": [datetime(2020, 1, 1), None, datetime(2020, 1, 1), datetime(2020, 1, 1)],
            "k": ["a", "a", None, "a"],
            "v": [1, 2, 3, None],
        }
    )
    query = lnb.windows(frame, time="t", key="k").tumbling("1d").agg(rows=lnb.count(), v=lnb.count("v"))
    with pytest.warns(lnb.WindowWarning, match="2 of 4 rows have no time or key"):
        table = query.collect()
    assert table.select("k", "rows", "v").rows() == [("a", 2, 1)]
    assert_frame_equal(query.aside(), frame[[1, 2]])


def test_all_null_times_are_an_error():
    frame = pl.DataFrame({"t": [None, None]}, schema={"t": pl.Datetime("us")})
    with pytest.raises(lnb.WindowError, match=r"all 2 rows lack a time \('t'\)"):
        lnb.windows(frame, time="t").tumbling("1h").agg(n=lnb.count()).collect()
    untyped = pl.DataFrame({"t": [None, None]})
    with pytest.raises(lnb.WindowError, match="nothing but nulls"):
        lnb.windows(untyped, time="t").tumbling("1h").agg(n=lnb.count()).collect()


def test_all_null_values_give_nulls():
    frame = random_table(50).with_columns(v=pl.lit(None, dtype=pl.Float64))
    table = lnb.windows(frame, time="ts").sliding("10m", "5m").agg(**ALL).collect()
    assert table["values"].to_list() == [0] * table.height
    assert table["sum"].to_list() == [0.0] * table.height
    assert table.select("mean", "min", "max", "half").null_count().row(0) == (table.height,) * 4


@pytest.fixture
def parquet(tmp_path):
    random_table(20_000).write_parquet(tmp_path / "table.parquet", row_group_size=3_000)
    return tmp_path / "table.parquet"


@pytest.mark.parametrize("shape", [("10m", "10m"), ("10m", "1m"), ("7m", "2m"), ("1m", "4m")])
def test_the_cluster_gives_the_same_result(cluster, parquet, shape):
    expected = lnb.windows(random_table(20_000), time="ts", key="key").sliding(*shape).agg(**ALL).collect()
    for source in (parquet, pl.read_parquet(parquet), pl.scan_parquet(parquet), pl.read_parquet(parquet).to_pandas()):
        query = lnb.windows(source, time="ts", key="key").sliding(*shape).agg(**ALL)
        assert_frame_equal(query.collect(), expected, check_exact=True)
        assert_frame_equal(query.collect(cluster), expected, check_exact=True)


def test_a_dask_frame_stays_on_the_cluster(cluster):
    dask_frame = pytest.importorskip("dask.dataframe")
    frame = random_table(2_000)
    query = lnb.windows(frame, time="ts", key="key").sliding("10m", "3m").agg(**ALL)
    with_dask = lnb.windows(dask_frame.from_pandas(frame.to_pandas(), npartitions=3), time="ts", key="key")
    found = with_dask.sliding("10m", "3m").agg(**ALL).collect(cluster)
    assert_frame_equal(found, query.collect(), check_exact=True)


def test_float_sums_agree_within_the_stated_bound(cluster):
    frame = random_table(5_000).with_columns(v=pl.Series(np.random.default_rng(1).normal(size=5_000) * 1e6))
    query = lnb.windows(frame, time="ts").sliding("10m", "1m").agg(n=lnb.count(), sum=lnb.sum("v"), mean=lnb.mean("v"))
    size = lnb.windows(frame.with_columns(pl.col("v").abs()), time="ts").sliding("10m", "1m").agg(sum=lnb.sum("v"))
    here, there = query.collect(), query.collect(cluster)
    bound = here["n"] * 2.0**-52 * size.collect()["sum"]
    assert ((here["sum"] - there["sum"]).abs() <= bound).all()
    assert ((here["mean"] - there["mean"]).abs() <= 2 * bound / here["n"]).all()


def test_nulls_and_errors_cross_the_cluster(cluster, tmp_path):
    frame = random_table(100).with_columns(key=pl.when(pl.col("key") > 0).then("key"))
    query = lnb.windows(frame, time="ts", key="key").tumbling("1h").agg(n=lnb.count())
    with pytest.warns(lnb.WindowWarning, match=f"{frame['key'].null_count()} of 100 rows"):
        query.collect(cluster)
    broken = tmp_path / "broken.csv"
    broken.write_text("ts,v\n2020-01-01T00:00:00,1\n" * 1 + "2020-01-01T00:00:01,1\n" * 20_000 + "nonsense,2\n")
    with pytest.raises(lnb.DataError, match="cannot be read"):
        lnb.windows(broken, time="ts").tumbling("1h").agg(n=lnb.count()).collect(cluster)


def write_times(folder, units):
    for number, unit in enumerate(units):
        part = pl.DataFrame({"ts": [datetime(2020, 1, 1, number)], "v": [1.0]})
        part.with_columns(pl.col("ts").cast(pl.Datetime(unit))).write_parquet(folder / f"{number}.parquet")


def test_files_of_two_time_units_are_refused_on_a_cluster_too(cluster, tmp_path):
    write_times(tmp_path, ["us"] * 4 + ["ms"] * 4)
    query = lnb.windows(tmp_path, time="ts").tumbling("1d").agg(n=lnb.count())
    for place in (None, cluster):
        with pytest.raises(lnb.DataError, match="column ts.*Datetime.*ms.*Datetime.*s"):
            query.collect(place)


def test_files_with_times_and_dates_give_the_same_result_on_a_cluster(cluster, tmp_path):
    for number in range(8):
        time = f"2020-01-01T0{number}:30:00" if number < 4 else f"2020-01-0{number}"
        (tmp_path / f"{number}.csv").write_text(f"ts,v\n{time},{number}\n")
    query = lnb.windows(tmp_path, time="ts").tumbling("1d").agg(n=lnb.count(), v=lnb.sum("v"))
    expected = query.collect()
    assert expected["n"].to_list() == [4, 1, 1, 1, 1]
    assert_frame_equal(query.collect(cluster), expected)


def test_partitions_of_two_types_are_refused_with_column_and_types(cluster):
    dask_frame = pytest.importorskip("dask.dataframe")
    frame = random_table(100).to_pandas()
    mixed = dask_frame.from_pandas(frame, npartitions=2).map_partitions(with_whole_seconds, meta=frame)
    with pytest.raises(lnb.DataError, match="column 'ts' is .*us.* in one part .* and .*ms.* in another; cast"):
        lnb.windows(mixed, time="ts").tumbling("1h").agg(n=lnb.count()).collect(cluster)


def with_whole_seconds(part):
    return part if part.index[0] == 0 else part.assign(ts=part["ts"].dt.as_unit("ms"))


def test_a_relative_path_means_the_same_on_the_workers(cluster, parquet, monkeypatch):
    monkeypatch.chdir(parquet.parent)
    query = lnb.windows(parquet.name, time="ts", key="key").tumbling("10m").agg(**ALL)
    assert_frame_equal(query.collect(cluster), query.collect())


def test_what_is_no_cluster_is_refused():
    query = lnb.windows(random_table(10), time="ts").tumbling("1h").agg(n=lnb.count())
    with pytest.raises(lnb.ClusterError, match=r"an lnb\.Cluster or a distributed\.Client, not 'local'"):
        query.collect("local")


def test_a_closed_cluster_is_an_error():
    from distributed import Client

    with Client(processes=False, n_workers=1, dashboard_address=None) as client:
        pass
    query = lnb.windows(random_table(10), time="ts").tumbling("1h").agg(n=lnb.count())
    with pytest.raises(lnb.ClusterError, match="closed"):
        query.collect(client)


def test_a_dead_worker_is_an_error_that_says_so():
    import dask
    import dask.dataframe as dd

    frame = random_table(100).to_pandas()
    with dask.config.set({"distributed.scheduler.allowed-failures": 0}), lnb.Cluster(workers=1) as own:
        deadly = dd.from_pandas(frame, npartitions=2).map_partitions(die, meta=frame)
        with pytest.raises(lnb.ClusterError, match="a worker died .* more memory"):
            lnb.windows(deadly, time="ts").tumbling("1h").agg(n=lnb.count()).collect(own)


def die(_):
    import os

    os._exit(1)
