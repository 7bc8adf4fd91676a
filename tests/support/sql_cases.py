"""What the tests of SQL share: tables, windows of every kind, every aggregate, and the comparison of two results."""

import math
from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl

import lepton_nb as lnb

AGGREGATES = {
    "rows": lnb.count(),
    "known": lnb.count("v"),
    "total": lnb.sum("v"),
    "whole": lnb.sum("n"),
    "yes": lnb.sum("b"),
    "middle": lnb.mean("v"),
    "share": lnb.mean("b"),
    "low": lnb.min("v"),
    "high": lnb.max("v"),
    "least": lnb.min("n"),
    "latest": lnb.max("ts"),
    "spread": lnb.var("x"),
    "spread_of_all": lnb.var("x", ddof=0),
    "width": lnb.std("n"),
    "width_of_all": lnb.std("n", ddof=0),
    "first": lnb.first("v"),
    "last": lnb.last("v"),
    "first_text": lnb.first("s"),
    "last_text": lnb.last("s"),
    "half": lnb.quantile("v", 0.5),
    "most": lnb.quantile("n", 0.93),
    "different": lnb.distinct("v"),
    "texts": lnb.distinct("s"),
    "top": lnb.top_k("s", 2),
    "top_values": lnb.top_k("v", 2),
    "largest": lnb.top_k("n", 3, by="value"),
    "largest_values": lnb.top_k("v", 2, by="value"),
}
# Windows over three days around 1970, and over twenty years.
DENSE = {
    "tumbling": lambda q: q.tumbling("1h"),
    "tumbling with offset": lambda q: q.tumbling("1h", offset="-7m"),
    "tumbling over 90 minutes": lambda q: q.tumbling("90m", offset="250ms"),
    "sliding": lambda q: q.sliding("3h", every="1h"),
    "sliding with offset": lambda q: q.sliding("2h", every="30m", offset="11m"),
    "sliding, no multiple": lambda q: q.sliding("100m", every="45m", offset="-10m"),
    "sliding with gaps": lambda q: q.sliding("25m", every="1h", offset="10m"),
    "cumulating": lambda q: q.cumulating("6h", every="2h"),
    "cumulating with offset": lambda q: q.cumulating("1d", every="6h", offset="90m"),
    "session": lambda q: q.session("20m"),
    "rolling": lambda q: q.rolling("2h"),
    "rolling over rows": lambda q: q.rolling(rows=4),
    "counting": lambda q: q.counting(5),
    "counting with overlap": lambda q: q.counting(5, every=2),
    "counting with gaps": lambda q: q.counting(3, every=5),
    "fixed": lambda q: q.fixed(4, "15m"),
    "both ends": lambda q: q.sliding_inclusive(3, "10m"),
}
WIDE = {
    "days": lambda q: q.tumbling("100d", offset="30d"),
    "weeks": lambda q: q.tumbling("10w"),
    "sliding weeks": lambda q: q.sliding("6w", every="4w", offset="3d"),
    "months": lambda q: q.tumbling("1mo"),
    "months with offset": lambda q: q.tumbling("5mo", offset="2mo"),
    "months that begin late": lambda q: q.tumbling("3mo", offset="9d"),
    "sliding quarters": lambda q: q.sliding("1y", every="1q"),
    "months with gaps": lambda q: q.sliding("1mo", every="1q", offset="1mo"),
    "cumulating months": lambda q: q.cumulating("1y", every="3mo"),
    "cumulating weeks": lambda q: q.cumulating("8w", every="2w"),
}
ZONED = {
    "days of a zone": lambda q: q.tumbling("1d", tz="America/New_York"),
    "sliding days of a zone": lambda q: q.sliding("5d", every="2d", offset="1d", tz="America/New_York"),
    "weeks of a zone": lambda q: q.tumbling("2w", tz="Australia/Sydney"),
    "months of a zone": lambda q: q.tumbling("1mo", tz="America/New_York"),
    "months of a zone with offset": lambda q: q.sliding("5mo", every="2mo", offset="4d", tz="Australia/Sydney"),
    "cumulating days of a zone": lambda q: q.cumulating("6d", every="2d", tz="America/New_York"),
    "cumulating months of a zone": lambda q: q.cumulating("1y", every="1mo", tz="America/New_York"),
}
DATES = {
    "days": lambda q: q.tumbling("2d", offset="1d"),
    "sliding days": lambda q: q.sliding("7d", every="3d"),
    "weeks": lambda q: q.tumbling("1w"),
    "months": lambda q: q.tumbling("1mo"),
    "months that begin late": lambda q: q.tumbling("1q", offset="9d"),
    "cumulating": lambda q: q.cumulating("10d", every="5d"),
    "session": lambda q: q.session("40d"),
    "rolling": lambda q: q.rolling("90d"),
    "rolling over rows": lambda q: q.rolling(rows=3),
    "counting": lambda q: q.counting(4, every=3),
}


def table(span=timedelta(days=3), rows=300, unit="us", zone="UTC", seed=0):
    """Rows around 1970, many at equal times; nulls everywhere, NaN in "v", text with quotation marks in "s"."""
    rng = np.random.default_rng(seed)
    step = timedelta(minutes=5) if span < timedelta(days=30) else timedelta(hours=6)
    steps = int(span / step)
    # A few ticks off the step, on the far side of the epoch too.
    times = [
        datetime(1970, 1, 1) + (int(s) - steps // 2) * step + timedelta(milliseconds=int(rng.choice([0, 0, 0, 1, -1])))
        for s in rng.integers(0, steps, rows)
    ]
    numbers = rng.integers(-20, 20, rows) / 4
    frame = pl.DataFrame(
        {
            "ts": holes(rng, times, 0.03),
            "key": holes(rng, [str(k) for k in rng.choice(["a", "b", "c'd"], rows)], 0.03),
            "group": rng.integers(0, 2, rows),
            "v": holes(rng, [math.nan if rng.random() < 0.05 else float(x) for x in numbers], 0.1),
            "x": holes(rng, [float(x) for x in 1e6 + numbers], 0.1),
            "n": holes(rng, [int(x) for x in rng.integers(-50, 50, rows)], 0.1),
            "b": holes(rng, [bool(x) for x in rng.integers(0, 2, rows)], 0.1),
            "s": holes(rng, [str(x) for x in rng.choice(["x", "y", 'z"', "", "ä"], rows)], 0.1),
        },
        schema_overrides={"ts": pl.Datetime("us"), "n": pl.Int32},
    )
    return frame.with_columns(pl.col("ts").cast(pl.Datetime(unit)).dt.replace_time_zone(zone))


def wide(**options):
    """The same over twenty years."""
    return table(span=timedelta(days=7300), **options)


def dates(**options):
    """The same with a column of dates."""
    return table(span=timedelta(days=1000), zone=None, **options).with_columns(pl.col("ts").cast(pl.Date))


def holes(rng, values, share):
    return [None if rng.random() < share else value for value in values]


def query(frame, shape, keys=("key", "group"), **aggregates):
    """A query of this shape with all aggregates, or with those given."""
    return shape(lnb.windows(frame, time="ts", key=list(keys))).agg(**(aggregates or AGGREGATES))


def assert_equal(theirs, ours):
    """Row for row, in whatever order: times, counts and text exactly, floats but for their last digits."""
    assert theirs.columns == ours.columns
    assert theirs.height == ours.height
    for mine, other in zip(in_order(ours), in_order(theirs), strict=True):
        for column, a, b in zip(ours.columns, mine, other, strict=True):
            assert same(a, b), f"{column}: {a!r} here, {b!r} there, in {dict(zip(ours.columns, mine, strict=True))}"


def in_order(table):
    """The rows with times in UTC and nothing that does not compare, sorted by what is exact."""
    rows = [tuple(plain(value) for value in row) for row in table.rows()]
    return sorted(rows, key=lambda row: [text_of(value) for value in row])


def plain(value):
    if isinstance(value, datetime):
        return value.astimezone(UTC).replace(tzinfo=None) if value.tzinfo else value
    if isinstance(value, dict):
        return tuple(plain(value[name]) for name in ("value", "count"))
    if isinstance(value, list | np.ndarray):
        return tuple(plain(part) for part in value)
    return value


def text_of(value):
    """For sorting: floats by their first digits only."""
    return f"{value:.6g}" if isinstance(value, float) else repr(value)


def same(a, b):
    if isinstance(a, tuple) and isinstance(b, tuple):
        return len(a) == len(b) and all(map(same, a, b))
    if isinstance(a, float) and isinstance(b, float):
        return math.isclose(a, b, rel_tol=1e-9, abs_tol=1e-9) or (math.isnan(a) and math.isnan(b))
    return type(a) is type(b) and a == b


# Names that would end a quoted one, name a parameter, or stand for something else in one of the engines.
STRANGE = [
    'k"; DROP TABLE events; --',
    "k`; DROP TABLE events; --",
    "k'; --",
    "select",
    "two words",
    "a.b",
    "$1 ? :p %s",
    "ä€",
]
# Names that the SQL itself uses.
USED = [
    "_start",
    "_rows",
    "_unit",
    "_moment",
    "_number",
    "_index",
    "_window",
    "_frame",
    "start",
    "count",
    "value",
    "x",
    "e",
]


def renamed(name):
    """A table whose time, key and values have names around `name`, and the names."""
    names = {"ts": name, "key": f"{name} key", "v": f"{name} v", "s": f"{name} s"}
    return table(rows=100).select(list(names)).rename(names), names


def flights():
    """Real departures of some weeks, in no order."""
    columns = ["scheduled_departure", "carrier", "origin", "dest", "dep_delay", "distance", "tailnum"]
    found = lnb.datasets.flights().select(columns).filter(pl.col("scheduled_departure").dt.month() == 3)
    return found.sample(fraction=1, shuffle=True, seed=0)


def flight_queries(frame):
    """The questions that the engines are asked of the flights."""
    values = {
        "flights": lnb.count(),
        "delay": lnb.mean("dep_delay"),
        "miles": lnb.sum("distance"),
        "worst": lnb.max("dep_delay"),
        "p95": lnb.quantile("dep_delay", 0.95),
        "planes": lnb.distinct("tailnum"),
    }

    def by(*keys):
        return lnb.windows(frame, time="scheduled_departure", key=list(keys)).agg(**values)

    return {
        "hours by carrier": by("carrier").tumbling("1h"),
        "six hours by origin": by("origin").sliding("6h", every="1h"),
        "quarters of a day": by("carrier").cumulating("1d", every="6h"),
        "sessions": by("carrier", "dest").session("20m"),
        "last three hours": by("carrier").rolling("3h"),
        "last ten rows": by("dest").rolling(rows=10),
        "days of New York": by("origin").tumbling("1d", tz="America/New_York"),
    }
