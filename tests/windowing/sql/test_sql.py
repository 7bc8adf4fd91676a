"""What does not need an engine: refusals, and the text of Flink's SQL, which tests/engines runs."""

import polars as pl
import pytest
import sql_cases as cases

import lepton_nb as lnb
from lepton_nb.errors import WindowError

ENGINES = ["duckdb", "spark", "flink"]


def stream(**aggregates):
    return lnb.windows(time="ts", key="key").agg(**(aggregates or {"n": lnb.count()}))


def refused(query, engine):
    with pytest.raises(WindowError) as caught:
        query.sql(engine)
    assert caught.value.engine.lower() == engine
    message = str(caught.value)
    # What it lacks, why, and what to do instead.
    assert message.lower().startswith(f"{engine} cannot run ")
    assert ": " in message
    assert "; " in message
    return message


def test_an_unknown_engine_is_named_with_the_closest():
    with pytest.raises(WindowError, match="unknown SQL engine 'sparc'; did you mean 'spark'?.*duckdb, flink, spark"):
        stream().tumbling("1h").sql("sparc")


@pytest.mark.parametrize("engine", ENGINES)
def test_an_incomplete_query_says_what_is_missing(engine):
    with pytest.raises(WindowError, match=r"no windows yet; call \.tumbling"):
        stream().sql(engine)
    with pytest.raises(WindowError, match=r"computes nothing yet; call \.agg"):
        lnb.windows(time="ts").tumbling("1h").sql(engine)


@pytest.mark.parametrize("engine", ENGINES)
def test_python_functions_stay_here(engine):
    own = lnb.custom("v", init=int, add=max, merge=max)
    assert "collect() or stream()" in refused(stream(own=own).tumbling("1h"), engine)


@pytest.mark.parametrize("engine", ["duckdb", "flink"])
@pytest.mark.parametrize("aggregate", [lnb.quantile("v", 0.5, error=0.01), lnb.distinct("v", error=0.01)])
def test_approximations_without_a_stated_error(engine, aggregate):
    assert "without error" in refused(stream(a=aggregate).tumbling("1h"), engine)


@pytest.mark.parametrize("engine", ["duckdb", "spark"])
@pytest.mark.parametrize("names", [{"key": "A", "time": "a"}, {"key": "window_START", "time": "t"}])
def test_names_that_differ_in_case_only(engine, names):
    query = lnb.windows(**names).tumbling("1h").agg(n=lnb.count())
    assert "rename" in refused(query, engine)


@pytest.mark.parametrize("engine", ["duckdb", "spark"])
def test_a_zone_whose_clocks_change_at_midnight(engine):
    query = stream().tumbling("1d", tz="America/Havana")
    assert "changed at midnight (on " in refused(query, engine)


@pytest.mark.parametrize("engine", ["duckdb", "spark"])
def test_windows_below_a_microsecond(engine):
    frame = cases.table(unit="ns")
    query = lnb.windows(frame, time="ts").tumbling("500ns").agg(n=lnb.count())
    assert "microseconds" in refused(query, engine)


@pytest.mark.parametrize("shape", ["session", "rolling", "rolling over rows", "counting"])
def test_single_nanoseconds_in_spark(shape):
    query = cases.query(cases.table(unit="ns"), cases.DENSE[shape], n=lnb.count())
    assert "cast_time_unit('us')" in refused(query, "spark")


def test_spark_would_replace_a_name():
    query = lnb.windows(time="${env:HOME}").tumbling("1h").agg(n=lnb.count())
    assert "${...}" in refused(query, "spark")


@pytest.mark.parametrize("engine", ENGINES)
def test_the_order_of_an_enum(engine):
    frame = cases.table().with_columns(
        pl.col("s").cast(pl.Enum(['z"', "y", "x", "ä", ""])), ts=pl.col("ts").dt.cast_time_unit("ms")
    )
    query = cases.query(frame, cases.DENSE["rolling over rows"], last=lnb.last("s"))
    assert "cast(pl.String)" in refused(query, engine)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("name", ["", "a\0b"])
def test_what_no_name_can_be(engine, name):
    with pytest.raises(WindowError, match="cannot be a name in SQL; rename it"):
        stream().tumbling("1h").sql(engine, table=name)


@pytest.mark.parametrize(
    ("shape", "fix"),
    [
        (lambda q: q.tumbling("1mo"), "use days"),
        (lambda q: q.tumbling("1d", tz="Europe/Berlin"), "leave tz out"),
        (lambda q: q.tumbling("1500us"), "whole milliseconds"),
        (lambda q: q.tumbling("1000d"), "up to 999 days"),
    ],
)
def test_windows_that_flink_lacks(shape, fix):
    frame = cases.table(unit="us")
    assert fix in refused(shape(lnb.windows(frame, time="ts").agg(n=lnb.count())), "flink")


@pytest.mark.parametrize(
    ("aggregate", "fix"),
    [
        (lnb.first("v"), "min or max"),
        (lnb.last("v"), "min or max"),
        (lnb.top_k("s", 3), "as a key"),
        (lnb.top_k("v", 3, by="value"), "max"),
    ],
)
def test_aggregates_that_flink_lacks(aggregate, fix):
    assert fix in refused(stream(a=aggregate).tumbling("1h"), "flink")


@pytest.mark.parametrize("shape", ["session", "rolling", "rolling over rows", "counting"])
def test_single_ticks_of_flink_are_milliseconds(shape):
    query = cases.query(cases.table(unit="us"), cases.DENSE[shape], n=lnb.count())
    assert "cast_time_unit('ms')" in refused(query, "flink")
    refused(cases.query(cases.dates(), cases.DATES["days"], n=lnb.count()), "flink")


@pytest.mark.parametrize(("name", "fix"), [("window_time", "rename it"), ("line\nbreak", "rename it")])
def test_names_that_flink_cannot_have(name, fix):
    assert fix in refused(lnb.windows(time=name).tumbling("1h").agg(n=lnb.count()), "flink")


def test_flink_text():
    assert stream(delay=lnb.mean("dep`delay")).sliding("150h", every="30m", offset="5m").sql(
        "flink", ("my db", "ev")
    ) == (
        """WITH `_rows` AS (
    SELECT
        `key`,
        `ts`,
        `dep``delay`
    FROM `my db`.`ev`
    WHERE `ts` IS NOT NULL
      AND `key` IS NOT NULL
)
SELECT
    `key`,
    `window_start`,
    `window_end`,
    avg(CAST(`dep``delay` AS DOUBLE)) AS `delay`
FROM TABLE(HOP(TABLE `_rows`, DESCRIPTOR(`ts`), INTERVAL '30' MINUTE, INTERVAL '150' HOUR(3), INTERVAL '5' MINUTE))
GROUP BY `key`, `window_start`, `window_end`
"""
    )


def test_flink_says_in_which_mode_it_runs():
    windows = lnb.windows(time="ts", key="key").agg(n=lnb.count())
    for shape in ("session", "rolling"):
        assert cases.DENSE[shape](windows).sql("flink").startswith("-- For Flink's streaming mode: ")
    for shape in ("rolling over rows", "counting", "sliding with gaps"):
        assert cases.DENSE[shape](windows).sql("flink").startswith("-- For Flink's batch mode: ")
    assert cases.DENSE["cumulating"](windows).sql("flink").startswith("WITH ")


def test_flink_lengths_have_three_leading_digits():
    def said(shape):
        return shape(lnb.windows(time="ts", key=["a", "b"]).agg(n=lnb.count())).sql("flink")

    assert "INTERVAL '999' DAY(3)))" in said(lambda q: q.tumbling("999d"))
    assert "INTERVAL '1 00:10:00.000' DAY(1) TO SECOND(3)))" in said(lambda q: q.tumbling("1450m"))
    assert "RANGE BETWEEN INTERVAL '0 02:59:59.999' DAY(1) TO SECOND(3) PRECEDING" in said(lambda q: q.rolling("3h"))
    assert "SESSION(TABLE `_rows` PARTITION BY (`a`, `b`), " in said(lambda q: q.session("20m"))
