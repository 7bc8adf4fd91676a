import shutil

import polars as pl
import pytest
import sql_cases as cases
from spark_session import local_spark

import lepton_nb as lnb

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not shutil.which("java"), reason="Spark needs Java; install it (apt install openjdk-17-jre-headless)"
    ),
    pytest.mark.filterwarnings("ignore::lepton_nb.errors.WindowWarning"),
    pytest.mark.filterwarnings("ignore:PySpark does not yet fully support pandas"),
]


@pytest.fixture(scope="module")
def spark(tmp_path_factory):
    with local_spark(str(tmp_path_factory.mktemp("spark"))) as session:
        yield session


def run(spark, query, table="events"):
    """What Spark makes of the query's SQL."""
    # Spark knows neither milliseconds nor nanoseconds.
    frame = query.frame.with_columns(pl.selectors.datetime().dt.cast_time_unit("us"))
    spark.createDataFrame(frame.to_arrow()).createOrReplaceTempView("events")
    return pl.from_arrow(spark.sql(query.sql("spark", table)).toArrow())


def check(spark, query):
    ours = query.collect()
    assert ours.height
    cases.assert_equal(run(spark, query), ours)


@pytest.mark.parametrize("kind", cases.DENSE)
def test_windows_and_aggregates(spark, kind):
    check(spark, cases.query(cases.table(), cases.DENSE[kind]))


SOME = {name: cases.AGGREGATES[name] for name in ("rows", "total", "latest", "first", "last_text", "half", "texts")}


@pytest.mark.parametrize("kind", cases.WIDE | cases.ZONED)
def test_calendars(spark, kind):
    check(spark, cases.query(cases.wide(), (cases.WIDE | cases.ZONED)[kind], **SOME))


@pytest.mark.parametrize("kind", cases.DATES)
def test_dates(spark, kind):
    check(spark, cases.query(cases.dates(), cases.DATES[kind], **SOME))


@pytest.mark.parametrize(("unit", "zone"), [("ms", None), ("us", None), ("us", "Asia/Kathmandu")])
@pytest.mark.parametrize("kind", ["sliding, no multiple", "sliding with gaps", "session", "rolling", "counting"])
def test_units_and_zones_of_the_time_column(spark, kind, unit, zone):
    check(spark, cases.query(cases.table(unit=unit, zone=zone, seed=1), cases.DENSE[kind], **SOME))


@pytest.mark.parametrize("kind", ["tumbling over 90 minutes", "cumulating", "months that begin late", "days of a zone"])
def test_nanoseconds_fall_into_the_same_windows(spark, kind):
    frame = cases.wide(unit="ns").with_columns(pl.col("ts").dt.offset_by("999ns"))
    shape = (cases.DENSE | cases.WIDE | cases.ZONED)[kind]
    check(spark, cases.query(frame, shape, n=lnb.count(), v=lnb.sum("v")))


@pytest.mark.parametrize("kind", ["sliding", "session", "rolling over rows"])
def test_without_keys(spark, kind):
    check(spark, cases.query(cases.table(), cases.DENSE[kind], keys=(), **SOME))


@pytest.mark.parametrize("name", cases.flight_queries(None))
def test_flights(spark, name):
    check(spark, cases.flight_queries(cases.flights())[name])


@pytest.mark.parametrize("name", [*cases.STRANGE, "_start", "window_start", "line\nbreak"])
@pytest.mark.parametrize("kind", ["sliding, no multiple", "counting with overlap"])
def test_names(spark, name, kind):
    frame, names = cases.renamed(name)
    query = cases.DENSE[kind](lnb.windows(frame, time=name, key=names["key"]))
    query = query.agg(**{f"{name} n": lnb.count(), names["v"]: lnb.sum(names["v"]), "at": lnb.max(name)})
    spark.createDataFrame(frame.to_arrow()).createOrReplaceTempView("events")
    cases.assert_equal(pl.from_arrow(spark.sql(query.sql("spark")).toArrow()), query.collect())


def test_quotation_marks_in_a_table_name(spark):
    query = lnb.windows(cases.table(), time="ts").tumbling("1h").agg(n=lnb.count())
    spark.createDataFrame(query.frame.to_arrow()).createOrReplaceTempView("`a``; -- b`")
    cases.assert_equal(pl.from_arrow(spark.sql(query.sql("spark", "a`; -- b")).toArrow()), query.collect())


@pytest.mark.parametrize("kind", ["tumbling", "rolling"])
def test_approximate_aggregates_keep_their_error(spark, kind):
    frame = (
        cases.table(rows=3_000).drop_nulls().filter(pl.col("v").is_not_nan()).with_columns(pl.col("x") * pl.col("n"))
    )
    shape = {"tumbling": lambda q: q.tumbling("3d"), "rolling": lambda q: q.rolling("2d")}[kind]
    error = 0.05
    query = cases.query(
        frame, shape, (), rank=lnb.quantile("x", 0.9, error=error), kinds=lnb.distinct("x", error=error), n=lnb.count()
    )
    exact = cases.query(
        frame,
        shape,
        (),
        low=lnb.quantile("x", 0.9 - error),
        high=lnb.quantile("x", 0.9 + error),
        kinds=lnb.distinct("x"),
    )
    both = zip(run(spark, query).rows(named=True), exact.collect().rows(named=True), strict=True)
    checked = 0
    for found, truth in both:
        if found["n"] < 100:
            continue
        checked += 1
        assert truth["low"] <= found["rank"] <= truth["high"]
        # Four standard errors.
        assert abs(found["kinds"] - truth["kinds"]) <= 4 * error * truth["kinds"]
    assert checked


def test_a_query_without_data(spark):
    def query(frame=None):
        windows = lnb.windows(frame, time="ts", key="key").session("20m")
        return windows.agg(s=lnb.sum("n"), most=lnb.max("v"), last=lnb.last("n"))

    frame = cases.table()
    spark.createDataFrame(frame.to_arrow()).createOrReplaceTempView("events")
    cases.assert_equal(pl.from_arrow(spark.sql(query().sql("spark")).toArrow()), query(frame).collect())
