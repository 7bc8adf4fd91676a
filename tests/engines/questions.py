"""What all engines are asked: tables, and queries over them that say nothing of any engine."""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl
import sql_cases

import lepton_nb as lnb
from lepton_nb.windowing.query import WindowQuery

DISORDER = "10m"


@dataclass(frozen=True)
class Question:
    """A query over one of the `tables`. live: asked of a stream, too, where the engine has both."""

    name: str
    table: str
    query: WindowQuery
    live: bool = False


def tables() -> dict[str, pl.DataFrame]:
    """The flights of a year in almost the order of their time; and made-up rows around 1970 with nulls everywhere.

    Times are milliseconds without a zone, which all engines have.
    """
    columns = ["scheduled_departure", "carrier", "origin", "dest", "dep_delay", "distance", "tailnum"]
    flights = lnb.datasets.flights().select(pl.col(columns[0]).alias("ts"), *columns[1:])
    # The n-th row is out of order by less than ten minutes.
    jitter = pl.int_range(pl.len()) * 7919 % 600
    flights = flights.sort("ts").sort(pl.col("ts") + pl.duration(seconds=jitter), maintain_order=True)
    made_up = sql_cases.table(rows=2_000, zone=None).sort("ts").with_columns(pl.col("v").fill_nan(None))
    as_ticks = pl.col("ts").dt.cast_time_unit("ms").dt.replace_time_zone(None)
    return {"flights": flights.with_columns(as_ticks), "made_up": made_up.with_columns(as_ticks)}


def questions(tables: dict[str, pl.DataFrame]) -> list[Question]:
    """In the order in which they are asked."""
    flights = {
        "flights": lnb.count(),
        "known": lnb.count("dep_delay"),
        "miles": lnb.sum("distance"),
        "delay": lnb.mean("dep_delay"),
        "best": lnb.min("dep_delay"),
        "worst": lnb.max("dep_delay"),
    }
    more = flights | {
        "planes": lnb.distinct("tailnum"),
        "p95": lnb.quantile("dep_delay", 0.95),
        "spread": lnb.std("dep_delay"),
    }
    in_time = {"first": lnb.first("dep_delay"), "last": lnb.last("dep_delay"), "flights": lnb.count()}
    values = {
        "rows": lnb.count(),
        "total": lnb.sum("v"),
        "whole": lnb.sum("n"),
        "yes": lnb.sum("b"),
        "middle": lnb.mean("v"),
        "low": lnb.min("v"),
        "high": lnb.max("n"),
        "texts": lnb.distinct("s"),
        "half": lnb.quantile("v", 0.5),
        "width": lnb.std("n", ddof=0),
    }

    def of(*keys: str, **aggregates: lnb.windowing.aggregates.Aggregate) -> WindowQuery:
        return lnb.windows(tables["flights"], time="ts", key=list(keys)).lateness(DISORDER).agg(**aggregates)

    made_up = lnb.windows(tables["made_up"], time="ts", key=["key", "group"]).lateness(DISORDER).agg(**values)
    asked = [
        ("tumbling 1 h by carrier", of("carrier", **more).tumbling("1h"), True),
        ("tumbling 1 d, offset 5 h", of(**more).tumbling("1d", offset="5h"), False),
        ("sliding 6 h every 1 h by origin", of("origin", **flights).sliding("6h", every="1h"), True),
        ("cumulating 1 d every 6 h", of("carrier", **more).cumulating("1d", every="6h"), True),
        ("sessions with gap 45 m", of("carrier", "origin", **flights).session("45m"), False),
        ("rolling 3 h by carrier", of("carrier", **more).rolling("3h"), False),
        ("rolling 10 rows by dest", of("dest", **flights | in_time).rolling(rows=10), False),
        ("counting 100 every 50", of("carrier", **more).counting(100, every=50), False),
        ("first and last of a day", of("carrier", **in_time).tumbling("1d"), False),
        ("days of New York by origin", of("origin", **more).tumbling("1d", tz="America/New_York"), False),
        ("months by carrier", of("carrier", **more).tumbling("1mo"), False),
    ]
    kinds = ["tumbling with offset", "sliding, no multiple", "sliding with gaps", "cumulating with offset", "session"]
    kinds += ["counting with overlap", "counting with gaps"]
    return [
        *(Question(name, "flights", query, live) for name, query, live in asked),
        *(Question(f"nulls: {kind}", "made_up", sql_cases.DENSE[kind](made_up)) for kind in kinds),
    ]
