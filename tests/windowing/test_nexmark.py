"""The queries of benchmarks/nexmark.py: the same rows from a table, a stream, DuckDB and Spark."""

import importlib.util
import sys
from pathlib import Path

import polars as pl
import pytest
from polars.testing import assert_frame_equal
from spark_session import local_spark

import lepton_nb as lnb

ROOT = Path(__file__).resolve().parents[2]
NUMBERS = [5, 7, 8, 11, 12]
KEYS = {5: ["auction"], 7: ["auction", "bidder"], 8: ["id"], 11: ["bidder"], 12: ["bidder"]}

# DuckDB's SQL counts in microseconds by hand; Spark's uses the window functions of that engine.
COUNTS = """
    select auction, w.start as window_start, w.end as window_end, count(*) as bids
    from (select auction, window(date_time, '10 seconds', '2 seconds') as w from bids) group by auction, w
"""
SPARK = {
    5: f"""
        with counts as ({COUNTS}),
        most as (select window_start, max(bids) as bids from counts group by window_start)
        select auction, window_start, window_end, bids from counts join most using (window_start, bids)
    """,
    7: """
        with timed as (select auction, bidder, price, window(date_time, '10 seconds') as w from bids),
        most as (select w, max(price) as price from timed group by w)
        select distinct auction, bidder, w.start as window_start, w.end as window_end, price
        from timed join most using (w, price)
    """,
    8: """
        with joined as (select id, name, window(date_time, '10 seconds') as w from persons),
        opened as (
            select seller as id, window(date_time, '10 seconds') as w, count(*) as auctions
            from auctions group by seller, window(date_time, '10 seconds'))
        select id, w.start as window_start, w.end as window_end, name, auctions from joined join opened using (id, w)
    """,
    11: """
        select bidder, w.start as window_start, w.end as window_end, bids from (
            select bidder, session_window(date_time, '10 seconds') as w, count(*) as bids
            from bids group by bidder, session_window(date_time, '10 seconds'))
    """,
    12: """
        select bidder, w.start as window_start, w.end as window_end, bids from (
            select bidder, window(arrival, '10 seconds') as w, count(*) as bids
            from bids group by bidder, window(arrival, '10 seconds'))
    """,
}


def loaded_from(path):
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    # Dataclasses look their module up by name.
    sys.modules[path.stem] = module
    spec.loader.exec_module(module)
    return module


nexmark = loaded_from(ROOT / "benchmarks" / "support" / "nexmark_queries.py")


@pytest.fixture(scope="module")
def tables():
    # Slow enough for sessions to end: 100 s, in which everybody bids every 20 s or so.
    return lnb.datasets.nexmark(20_000, rate=200, seed=1)


def expected(tables, number):
    """The answer in plain words: no windows of ours, no SQL."""
    second = pl.col("date_time").dt.epoch("s")
    bids = tables.bids.with_columns(start=second // 10 * 10)
    if number == 5:
        starts = pl.concat([tables.bids.with_columns(start=second // 2 * 2 - 2 * back) for back in range(5)])
        counted = starts.group_by("auction", "start").agg(bids=pl.len())
        return counted.filter(pl.col("bids") == pl.col("bids").max().over("start"))
    if number == 7:
        best = bids.filter(pl.col("price") == pl.col("price").max().over("start"))
        return best.select("auction", "bidder", "start", "price").unique()
    if number == 8:
        auctions = (
            tables.auctions.with_columns(start=second // 10 * 10).group_by("seller", "start").agg(auctions=pl.len())
        )
        persons = tables.persons.select("id", "name", start=second // 10 * 10)
        return persons.join(auctions, left_on=["id", "start"], right_on=["seller", "start"]).select(
            "id", "start", "name", "auctions"
        )
    if number == 12:
        return bids.group_by("bidder", start=pl.col("arrival").dt.epoch("s") // 10 * 10).agg(bids=pl.len())
    sessions = []
    for (bidder,), rows in bids.sort("date_time").group_by("bidder"):
        for time in rows["date_time"].dt.epoch("us"):
            if sessions and sessions[-1][0] == bidder and time - sessions[-1][2] <= 10_000_000:
                sessions[-1][2:] = [time, sessions[-1][3] + 1]
            else:
                sessions.append([bidder, time, time, 1])
    return pl.DataFrame(sessions, schema=["bidder", "start", "last", "bids"], orient="row")


@pytest.mark.parametrize("number", NUMBERS)
def test_a_table_gives_the_rows_of_a_count_by_hand(tables, number):
    found = nexmark.QUESTIONS[number].over_table(tables)
    wanted = expected(tables, number)
    unit = "us" if number == 11 else "s"
    start = pl.col("window_start").dt.epoch(unit).alias("start")
    names = [*KEYS[number], start, *(name for name in wanted.columns if name not in (*KEYS[number], "start", "last"))]
    order = [*KEYS[number], "start"]
    assert found.height > 9
    by_hand = wanted.drop("last", strict=False).sort(order)
    assert_frame_equal(found.select(names).sort(order), by_hand, check_dtypes=False, check_column_order=False)
    length = (found["window_end"] - found["window_start"]).dt.total_seconds(fractional=True)
    if number == 11:
        ends = wanted.sort(order)["last"] + 10_000_000
        assert found.sort("bidder", "window_start")["window_end"].dt.epoch("us").to_list() == ends.to_list()
    else:
        assert length.unique().to_list() == [10.0]


@pytest.mark.parametrize("number", NUMBERS)
@pytest.mark.parametrize("batch_rows", [700, 5_000, 1_000_000])
def test_a_stream_of_arrivals_gives_the_rows_of_the_table(tables, number, batch_rows):
    question = nexmark.QUESTIONS[number]
    streams = nexmark.in_order_of_arrival(tables)
    assert not streams.bids["date_time"].is_sorted()
    found = question.over_stream(streams, batch_rows)
    assert_frame_equal(nexmark.tidy(found), nexmark.tidy(question.over_table(tables)))


def test_duckdb_gives_the_same_rows(tables):
    with nexmark.loaded(tables) as connection:
        for question in nexmark.QUESTIONS.values():
            found = question.over_duckdb(connection)
            assert_frame_equal(nexmark.tidy(found), nexmark.tidy(question.over_table(tables)))


@pytest.fixture(scope="module")
def spark(tables, tmp_path_factory):
    """A session that knows the three tables."""
    folder = tmp_path_factory.mktemp("nexmark")
    with local_spark(str(folder / "spark")) as session:
        for name, table in tables._asdict().items():
            table.write_parquet(folder / f"{name}.parquet")
            session.read.parquet(str(folder / f"{name}.parquet")).createOrReplaceTempView(name)
        yield session


@pytest.mark.slow
@pytest.mark.parametrize("number", NUMBERS)
def test_spark_gives_the_same_rows(tables, spark, number):
    found = pl.from_arrow(spark.sql(SPARK[number]).toArrow())
    found = found.with_columns(pl.col("window_start", "window_end").cast(pl.Datetime("us", "UTC")))
    assert_frame_equal(nexmark.tidy(found), nexmark.tidy(nexmark.QUESTIONS[number].over_table(tables)))


def test_bids_that_agree_in_all_but_time_are_one_highest_bid(tables):
    bids = tables.bids.head(40)
    most = bids.filter(pl.col("price") == pl.col("price").max())
    again = most.with_columns(pl.col("date_time") + pl.duration(milliseconds=1))
    other = again.with_columns(bidder=pl.lit(7, pl.Int64))
    found = nexmark.QUESTIONS[7].over_table(tables._replace(bids=pl.concat([bids, again, other])))
    assert sorted(found["bidder"]) == sorted([7, *most["bidder"]])


def test_the_bound_is_needed_rows_beyond_a_smaller_one_are_late_and_kept(tables):
    streams = nexmark.in_order_of_arrival(tables)
    run = nexmark.highest_bid(streams).lateness("1s").agg(bids=lnb.count()).stream(batch_rows=500)
    run.wait()
    late = run.late()
    assert late.height > 0
    assert run.table()["bids"].sum() == tables.bids.height - late.height
