"""Nexmark's queries 5, 7, 8, 11 and 12: over tables, over streams, and in DuckDB's SQL.

Definitions and window lengths are those of Apache Flink's Nexmark suite. Where it leaves something open, or asks for a
wall clock, this is what all forms here do:

- Query 7 gives auction, bidder and price of the highest bid. Bids that agree in all three are one row.
- Query 12 counts by the time of arrival that the generator has written beside each bid, where the suite reads the
  machine's clock: a result that anybody can find again.
- Streams get their rows in the order of arrival, up to 3 s out of the order of event time.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass

import duckdb
import polars as pl

import lepton_nb as lnb
from lepton_nb.data.nexmark import Nexmark
from lepton_nb.windowing.joins import JoinQuery
from lepton_nb.windowing.query import WindowQuery

BOUND = "3s"


def in_order_of_arrival(tables: Nexmark) -> Nexmark:
    """The same rows as streams bring them."""
    return Nexmark(*(table.sort("arrival", maintain_order=True) for table in tables))


def highest(rows: pl.DataFrame, value: str) -> pl.DataFrame:
    """The rows that hold the largest `value` of their window. All rows of a window come together."""
    return rows.filter(pl.col(value) == pl.col(value).max().over("window_start"))


@dataclass(frozen=True)
class Question:
    """A query; `build` makes it over the streams, `best` is the column whose largest value in a window is wanted.

    events: the streams that are read. sql: the same for DuckDB, times as microseconds since the epoch.
    """

    title: str
    build: Callable[[Nexmark], WindowQuery | JoinQuery]
    events: tuple[str, ...]
    sql: str
    best: str = ""

    def over_table(self, tables: Nexmark) -> pl.DataFrame:
        """The answer over the finished tables."""
        found = self.build(tables).collect()
        return highest(found, self.best) if self.best else found

    def over_stream(self, streams: Nexmark, batch_rows: int) -> pl.DataFrame:
        """The answer as a stream gives it, batch by batch; rows as they arrive. No row may be late."""
        emitted: list[pl.DataFrame] = []
        sink = (lambda rows: emitted.append(highest(rows, self.best))) if self.best else None
        run = self.build(streams).stream(sink=sink, batch_rows=batch_rows)
        run.wait()
        assert run.late().height == 0
        return pl.concat(emitted) if self.best else run.table()

    def over_duckdb(self, connection: duckdb.DuckDBPyConnection) -> pl.DataFrame:
        """The answer of DuckDB, in our types."""
        found = pl.from_arrow(connection.sql(self.sql).to_arrow_table())
        assert isinstance(found, pl.DataFrame)
        return found.with_columns(pl.col("window_start", "window_end").cast(pl.Datetime("us", "UTC")))

    def rows(self, tables: Nexmark) -> int:
        """How many events are read."""
        return sum(getattr(tables, name).height for name in self.events)


def tidy(found: pl.DataFrame) -> pl.DataFrame:
    """Rows in one order, whoever found them: by window, then by all the others."""
    first = ["window_start", "window_end"]
    return found.sort([*first, *(name for name in found.columns if name not in first)])


def loaded(tables: Nexmark) -> duckdb.DuckDBPyConnection:
    """A DuckDB in memory with tables persons, auctions and bids of its own."""
    connection = duckdb.connect()
    connection.execute(f"set threads = {os.cpu_count()}; set timezone = 'UTC'")
    for name, table in tables._asdict().items():
        connection.register("given", table.to_arrow())
        connection.execute(f"create table {name} as select * from given")
        connection.unregister("given")
    return connection


def hot_items(streams: Nexmark) -> WindowQuery:
    bids = lnb.windows(streams.bids, time="date_time", key="auction")
    return bids.sliding("10s", every="2s").lateness(BOUND).agg(bids=lnb.count())


def highest_bid(streams: Nexmark) -> WindowQuery:
    bids = lnb.windows(streams.bids, time="date_time", key=["auction", "bidder"])
    return bids.tumbling("10s").lateness(BOUND).agg(price=lnb.max("price"))


def new_users(streams: Nexmark) -> JoinQuery:
    joined = lnb.windows(streams.persons, time="date_time", key="id").tumbling("10s").lateness(BOUND)
    opened = lnb.windows(streams.auctions, time="date_time", key="seller").tumbling("10s").lateness(BOUND)
    return joined.agg(name=lnb.first("name")).join(opened.agg(auctions=lnb.count()))


def user_sessions(streams: Nexmark) -> WindowQuery:
    bids = lnb.windows(streams.bids, time="date_time", key="bidder")
    return bids.session("10s").lateness(BOUND).agg(bids=lnb.count())


def arrivals(streams: Nexmark) -> WindowQuery:
    return lnb.windows(streams.bids, time="arrival", key="bidder").tumbling("10s").agg(bids=lnb.count())


# A window of 10 s holds five slices of 2 s; epoch_us counts from 1970, and all times here are later.
HOT_ITEMS = """
    with slices as (
        select auction, epoch_us(date_time) // 2000000 as slice, count(*) as n from bids group by all),
    counts as (
        select auction, start * 2000000 as window_start, sum(n)::bigint as bids
        from (select auction, slice - unnest(range(5)) as start, n from slices) group by all)
    select auction, window_start, window_start + 10000000 as window_end, bids
    from counts qualify bids = max(bids) over (partition by window_start)
"""
HIGHEST_BID = """
    with timed as (
        select auction, bidder, epoch_us(date_time) // 10000000 * 10000000 as window_start, price from bids),
    most as (select window_start, max(price) as price from timed group by all)
    select distinct auction, bidder, window_start, window_start + 10000000 as window_end, price
    from timed join most using (window_start, price)
"""
NEW_USERS = """
    with joined as (
        select id, name, epoch_us(date_time) // 10000000 * 10000000 as window_start from persons),
    opened as (
        select seller, epoch_us(date_time) // 10000000 * 10000000 as window_start, count(*) as auctions
        from auctions group by all)
    select id, p.window_start, p.window_start + 10000000 as window_end, name, auctions
    from joined p join opened a on id = seller and p.window_start = a.window_start
"""
USER_SESSIONS = """
    with gaps as (
        select bidder, epoch_us(date_time) as t,
               coalesce(t - lag(t) over (partition by bidder order by t) > 10000000, true) as begins
        from bids),
    numbered as (select bidder, t, sum(begins::int) over (partition by bidder order by t) as session from gaps)
    select bidder, min(t) as window_start, max(t) + 10000000 as window_end, count(*) as bids
    from numbered group by bidder, session
"""
ARRIVALS = """
    select bidder, epoch_us(arrival) // 10000000 * 10000000 as window_start, window_start + 10000000 as window_end,
           count(*) as bids
    from bids group by all
"""

QUESTIONS = {
    5: Question(
        "hot items: the auctions with the most bids in 10 s, every 2 s", hot_items, ("bids",), HOT_ITEMS, "bids"
    ),
    7: Question("the highest bid of every 10 s", highest_bid, ("bids",), HIGHEST_BID, "price"),
    8: Question("who joined and opened an auction in the same 10 s", new_users, ("persons", "auctions"), NEW_USERS),
    11: Question("bids of a user in each session, 10 s apart at most", user_sessions, ("bids",), USER_SESSIONS),
    12: Question("bids of a user that arrived in the same 10 s", arrivals, ("bids",), ARRIVALS),
}
