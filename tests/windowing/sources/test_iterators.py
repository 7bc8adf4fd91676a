from datetime import UTC, date, datetime, timedelta

import numpy as np
import polars as pl
import pytest
from draining import drain, now, rows_between, steps

from lepton_nb.errors import DataError, WindowError
from lepton_nb.windowing import sources
from lepton_nb.windowing.sources.iterators import IterableSource

START = datetime(2013, 1, 31, tzinfo=UTC)
SCHEMA = {"ts": pl.Datetime("us", "UTC"), "v": pl.Int64}


def row(i):
    return {"ts": START + timedelta(seconds=i), "v": i, "other": "x"}


def dicts(count=2500):
    return (row(i) for i in range(count))


def tuples(count=2500):
    return ((START + timedelta(seconds=i), i) for i in range(count))


def tables(count=2500, size=333):
    return (pl.DataFrame([row(i) for i in range(a, min(count, a + size))]) for a in range(0, count, size))


WANTED = pl.DataFrame([row(i) for i in range(2500)]).select("ts", "v")
KINDS = [(dicts, None), (tuples, SCHEMA), (tables, None)]


@pytest.mark.parametrize(("make", "schema"), KINDS)
@pytest.mark.parametrize("rows", [400, 1000, 10_000])
def test_rows_from_dicts_tuples_and_frames(make, schema, rows):
    found = drain(sources.iterate(make(), schema=schema), ["ts", "v"], rows)
    assert found.frame.equals(WANTED)


@pytest.mark.parametrize(("make", "schema"), KINDS)
def test_batches_have_as_many_rows_as_asked(make, schema):
    with sources.iterate(make, schema=schema) as source:
        source.open(["ts", "v"], 2)
        assert source.channels == ("iterate",)
        batches = list(steps(source, 500))
    assert [planned.after for planned, _, _ in batches][:5] == [500, 1000, 1500, 2000, 2500]
    assert {len(parts) for _, parts, read in batches if read.frame.height} == {2}


@pytest.mark.parametrize(("make", "schema"), KINDS)
def test_a_fresh_iterable_is_skipped_forward(make, schema):
    with sources.iterate(make(), schema=schema) as source:
        source.open(["ts", "v"], 2)
        # A stream that was stopped between its two notes asks for the rows, not for a plan.
        _, read = rows_between(source, 1200, 1800)
        assert pl.concat([rows.frame for rows in read]).equals(WANTED[1200:1800])
        found, after = now(source, 1800, 500)
        assert after == 2300
        assert found.frame.equals(WANTED[1800:2300])


def test_an_iterable_shorter_than_before_is_an_error():
    with sources.iterate(dicts(10)) as source:
        source.open(["ts", "v"], 1)
        with pytest.raises(DataError, match="ended after 10 rows, but 11 were read from it before.*same rows"):
            source.plan(11, 5, 0)
    with sources.iterate(dicts(10)) as source:
        source.open(["ts", "v"], 1)
        with pytest.raises(DataError, match="fresh one"):
            source.parts(5, 15)


def test_rows_are_kept_until_they_are_committed():
    with sources.iterate(dicts()) as source:
        source.open(["ts", "v"], 1)
        source.plan(None, 500, 0)
        source.plan(500, 500, 0)
        first = source.parts(None, 500)[0].read().frame
        assert source.parts(None, 500)[0].read().frame.equals(first)
        source.committed(500)
        assert source.parts(500, 1000)[0].read().frame.equals(WANTED[500:1000])
        with pytest.raises(DataError, match="no rows 0 to 500 any more; give a fresh one"):
            source.parts(None, 500)


def test_memory_is_bounded_by_what_is_not_committed():
    taken = []

    def rows():
        for i in range(1_000_000):
            taken.append(i)
            yield row(i)

    with sources.iterate(rows) as source:
        source.open(["ts", "v"], 1)
        source.plan(None, 500, 0)
        assert len(taken) <= 1500


def test_rows_that_do_not_fit_become_dead_letters():
    rows = [row(0), {"ts": START, "v": "x"}, {"ts": "noon", "v": 1}, 5, {"v": 3}, None, row(1)]
    found = drain(sources.iterate(rows), ["ts", "v"], 4)
    assert found.frame["v"].to_list() == [0, 3, 1], "a row without a time is for the core to set aside"
    assert found.dead.rows() == [
        ("iterate", "1", "column 'v' is Int64, not 'x'", repr(rows[1])),
        ("iterate", "2", "column 'ts' is Datetime(time_unit='us', time_zone='UTC'), not 'noon'", repr(rows[2])),
        ("iterate", "3", "not a dict", "5"),
        ("iterate", "5", "not a dict", "None"),
    ]
    wrong = drain(sources.iterate([(START,), (START, 1), [START, 2]], schema=SCHEMA), ["ts", "v"])
    assert wrong.dead["reason"].to_list() == ["not a dict or a tuple of 2"]
    assert wrong.frame["v"].to_list() == [1, 2]


def test_types_are_told_from_the_first_rows():
    rows = [
        {"ts": np.datetime64("2013-01-31T12:00", "us"), "a": 1, "b": np.int32(1), "c": None, "d": date(2013, 1, 31)},
        {"ts": np.datetime64("2013-01-31T12:00", "us"), "a": 1.5, "b": np.int32(2), "c": [1], "d": None},
    ]
    with sources.iterate(rows) as source:
        source.open(["ts", "a", "b", "c", "d"], 1)
        assert source.schema is None, "nothing was taken yet"
        found, _ = now(source, None)
        types = [pl.Datetime("us"), pl.Float64, pl.Int64, pl.List(pl.Int64), pl.Date]
        assert source.schema.dtypes() == types
    assert found.frame["a"].to_list() == [1.0, 1.5]
    assert found.frame["c"].to_list() == [None, [1]]
    assert found.dead.height == 0


def test_an_infinite_iterable_never_ends_and_is_taken_as_asked():
    def forever():
        i = 0
        while True:
            yield row(i)
            i += 1

    with sources.iterate(forever) as source:
        source.open(["ts", "v"], 1)
        for i in range(3):
            planned = source.plan(i * 2000, 2000, 0)
            assert planned.after == (i + 1) * 2000
            assert not planned.over
            source.committed(planned.after)


def test_a_slow_iterable_gives_what_it_has():
    now_s = [0.0]

    def slow():
        for i in range(10):
            now_s[0] += 1.0
            yield row(i)

    with IterableSource(slow, clock=lambda: now_s[0]) as source:
        source.open(["ts", "v"], 1)
        assert source.plan(None, 1000, 0.0).after < 10


def test_empty_iterables():
    assert drain(sources.iterate([], schema=SCHEMA), ["ts", "v"]).frame.schema == WANTED.schema
    with sources.iterate([]) as source:
        source.open(["ts"], 1)
        planned = source.plan(None, 10, 0)
        assert planned.over
        assert source.parts(None, planned.after) == []


def test_a_generator_is_closed():
    closed = []

    def rows():
        try:
            yield from dicts()
        finally:
            closed.append(True)

    with sources.iterate(rows()) as source:
        source.open(["ts", "v"], 1)
        source.plan(None, 10, 0)
    assert closed == [True]


def test_faulty_arguments():
    with pytest.raises(WindowError, match="takes an iterable of rows, or a function"):
        sources.iterate(5)
    with pytest.raises(WindowError, match="must return an iterable, not a int"):
        sources.iterate(lambda: 5).open(["ts"], 1)
    for rows, reason in [
        ([(1, 2)], "tuples with schema="),
        ([{"v": 1}], "unknown column 'ts'"),
        ([{"ts": None}], "no value in column 'ts'; say what it is: schema="),
        ([WANTED, WANTED.with_columns(ts=pl.lit("x"))], "column 'ts' is String in one frame"),
    ]:
        with sources.iterate(rows) as source:
            source.open(["ts"], 1)
            with pytest.raises(DataError, match=reason):
                source.plan(None, 10_000, 0)
    with pytest.raises(DataError, match="unknown column 'w'"):
        sources.iterate([], schema=SCHEMA).open(["w"], 1)


def test_the_error_of_the_iterable_comes_out():
    def broken():
        yield from dicts(3)
        raise ConnectionError("gone")

    with sources.iterate(broken) as source:
        source.open(["ts", "v"], 1)
        with pytest.raises(ConnectionError, match="gone"):
            source.plan(None, 10, 0)
