import duckdb
import polars as pl
import pytest
import sql_cases as cases
from hypothesis import given
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

import lepton_nb as lnb

pytestmark = pytest.mark.filterwarnings("ignore::lepton_nb.errors.WindowWarning")


def run(query, table="events", **tables):
    """What DuckDB makes of the query's SQL."""
    with duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        for name, frame in (tables or {"events": query.frame}).items():
            connection.register(name, frame.to_arrow())
        return pl.from_arrow(connection.sql(query.sql("duckdb", table)).to_arrow_table())


def check(query):
    ours = query.collect()
    assert ours.height
    cases.assert_equal(run(query), ours)


@pytest.mark.parametrize("kind", cases.DENSE)
def test_windows_and_aggregates(kind):
    check(cases.query(cases.table(), cases.DENSE[kind]))


@pytest.mark.parametrize("kind", cases.WIDE | cases.ZONED)
def test_calendars(kind):
    check(cases.query(cases.wide(), (cases.WIDE | cases.ZONED)[kind]))


@pytest.mark.parametrize("kind", cases.DATES)
def test_dates(kind):
    check(cases.query(cases.dates(), cases.DATES[kind]))


@pytest.mark.parametrize("zone", [None, "UTC", "Asia/Kathmandu"])
@pytest.mark.parametrize("unit", ["ms", "us", "ns"])
@pytest.mark.parametrize("kind", ["sliding, no multiple", "cumulating", "session", "rolling", "counting with overlap"])
def test_units_and_zones_of_the_time_column(kind, unit, zone):
    frame = cases.table(unit=unit, zone=zone, seed=1)
    if unit == "ns":
        tick = pl.col("ts").dt.epoch("ns") + pl.int_range(pl.len()) % 7 - 3
        frame = frame.with_columns(tick.cast(frame.schema["ts"]))
    aggregates = {name: cases.AGGREGATES[name] for name in ("rows", "total", "first", "last", "half")}
    check(cases.query(frame, cases.DENSE[kind], **aggregates))


@pytest.mark.parametrize("unit", ["ms", "ns"])
@pytest.mark.parametrize("kind", ["months that begin late", "months of a zone", "days of a zone", "cumulating weeks"])
def test_units_of_calendars(kind, unit):
    for zone in (None, "UTC"):
        frame = cases.wide(unit=unit, zone=zone)
        check(cases.query(frame, (cases.WIDE | cases.ZONED)[kind], n=lnb.count(), v=lnb.sum("v")))


@pytest.mark.parametrize("kind", ["sliding", "session", "rolling", "rolling over rows", "counting"])
def test_without_keys(kind):
    check(cases.query(cases.table(), cases.DENSE[kind], keys=()))


@pytest.mark.parametrize("name", cases.flight_queries(None))
def test_flights(name):
    check(cases.flight_queries(cases.flights())[name])


@pytest.mark.parametrize("name", [*cases.STRANGE, *cases.USED, "window_start", "${env:HOME}", "line\nbreak"])
@pytest.mark.parametrize("kind", ["sliding, no multiple", "session", "rolling over rows", "counting with overlap"])
def test_names(name, kind):
    frame, names = cases.renamed(name)
    query = cases.DENSE[kind](lnb.windows(frame, time=name, key=names["key"]))
    query = query.agg(**{f"{name} n": lnb.count(), names["v"]: lnb.sum(names["v"]), "at": lnb.max(name)})
    cases.assert_equal(run(query, table=name, **{name: frame}), query.collect())


def test_a_table_in_a_schema():
    query = lnb.windows(cases.table(), time="ts").tumbling("1h").agg(n=lnb.count())
    with duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        connection.execute('CREATE SCHEMA "my schema"')
        connection.register("rows", query.frame.to_arrow())
        connection.execute('CREATE TABLE "my schema"."a.b" AS FROM rows')
        found = connection.sql(query.sql("duckdb", ("my schema", "a.b"))).pl()
    cases.assert_equal(found, query.collect())


def test_a_query_without_data_runs_over_any_timestamps():
    empty = lnb.windows(time="ts", key="key").rolling("2h").agg(s=lnb.sum("n"), most=lnb.max("v"), last=lnb.last("n"))
    for zone in (None, "UTC"):
        frame = cases.table(zone=zone)
        ours = lnb.windows(frame, time="ts", key="key").rolling("2h").agg(**dict(empty.spec.aggregates)).collect()
        with duckdb.connect() as connection:
            connection.execute("SET TimeZone = 'UTC'")
            connection.register("events", frame.to_arrow())
            found = connection.sql(empty.sql("duckdb")).pl().with_columns(pl.col("s").cast(pl.Int64))
        cases.assert_equal(found, ours)


def test_a_query_without_data_has_civil_days():
    def days(frame=None):
        return lnb.windows(frame, time="ts").tumbling("1d", tz="America/New_York").agg(n=lnb.count())

    for zone in (None, "UTC"):
        frame = cases.wide(zone=zone)
        with duckdb.connect() as connection:
            connection.execute("SET TimeZone = 'UTC'")
            connection.register("events", frame.to_arrow())
            cases.assert_equal(connection.sql(days().sql("duckdb")).pl(), days(frame).collect())


def test_rows_come_in_the_same_order():
    query = lnb.windows(cases.table(), time="ts", key=["key", "group"]).sliding("3h", every="1h").agg(n=lnb.count())
    order = ["key", "group", "window_start"]
    found = run(query).select(order).with_columns(pl.col("window_start").dt.convert_time_zone("UTC"))
    assert_frame_equal(found, query.collect().select(order))


def test_a_file_in_the_place_of_a_table(tmp_path):
    query = lnb.windows(cases.table(), time="ts", key="key").tumbling("1h").agg(n=lnb.count(), v=lnb.sum("v"))
    path = tmp_path / "events.parquet"
    query.frame.write_parquet(path)
    with duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        found = connection.sql(query.sql("duckdb", str(path))).pl()
    cases.assert_equal(found, query.collect())


@st.composite
def shapes(draw):
    """Windows of a few milliseconds, of any kind."""
    length, every, rows = draw(st.integers(1, 40)), draw(st.integers(1, 12)), draw(st.integers(1, 6))
    offset = draw(st.integers(1 - every, every - 1))
    return draw(
        st.sampled_from(
            [
                lambda q: q.sliding(f"{length}ms", f"{every}ms", offset=f"{offset}ms"),
                lambda q: q.cumulating(f"{every * rows}ms", every=f"{every}ms", offset=f"{offset}ms"),
                lambda q: q.sliding_inclusive(rows, f"{every}ms"),
                lambda q: q.session(f"{every}ms"),
                lambda q: q.rolling(f"{length}ms"),
                lambda q: q.rolling(rows=rows),
                lambda q: q.counting(rows, every),
            ]
        )
    )


@given(shapes(), st.lists(st.tuples(st.sampled_from(["a", "b"]), st.integers(-60, 60), st.integers(-3, 3)), min_size=1))
def test_any_windows_over_any_rows(shape, rows):
    schema = {"key": pl.String, "ts": pl.Datetime("ms"), "v": pl.Int64}
    frame = pl.DataFrame(rows, schema={**schema, "ts": pl.Int64}, orient="row").cast(schema)
    aggregates = {"n": lnb.count(), "s": lnb.sum("v"), "first": lnb.first("v"), "last": lnb.last("v")}
    query = shape(lnb.windows(frame, time="ts", key="key")).agg(**aggregates, half=lnb.quantile("v", 0.5))
    cases.assert_equal(run(query), query.collect())
