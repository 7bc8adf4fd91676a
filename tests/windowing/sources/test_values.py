from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal

import numpy as np
import polars as pl
import pytest

from lepton_nb.windowing.sources.base import DEAD_SCHEMA
from lepton_nb.windowing.sources.values import from_text, times, typed

SCHEMA = {"ts": pl.Datetime("us", "UTC"), "k": pl.String(), "v": pl.Float64(), "n": pl.Int64()}
NOON = datetime(2013, 1, 31, 12, tzinfo=UTC)


def read(*rows, schema=SCHEMA, required=("ts",)):
    texts = [f"text {i}" for i in range(len(rows))]
    return typed(rows, texts, [str(10 * i) for i in range(len(rows))], "here", schema, required)


def one(value, dtype):
    """The value that a column takes from `value`, or the reason why it takes none."""
    rows = read({"x": value}, schema={"x": dtype}, required=())
    return rows.frame["x"][0] if rows.frame.height else rows.dead["reason"][0]


def test_good_rows_have_the_types_of_the_schema():
    rows = read({"ts": "2013-01-31T12:00:00Z", "k": "a", "v": 1, "n": 2, "other": []}, {"ts": NOON, "v": 1.5})
    assert dict(rows.frame.schema) == SCHEMA
    assert rows.frame.rows() == [(NOON, "a", 1.0, 2), (NOON, None, 1.5, None)]
    assert rows.dead.height == 0
    assert dict(rows.dead.schema) == DEAD_SCHEMA


def test_bad_rows_are_set_aside_with_channel_offset_reason_and_text():
    good = {"ts": 0, "v": 0.0}
    rows = read(good, None, {"ts": 0, "v": "abc"}, {"v": 1}, {"ts": None}, {"ts": 0, "k": 3, "v": True}, good)
    assert rows.frame.height == 2
    assert rows.dead.rows() == [
        ("here", "10", "not a JSON object", "text 1"),
        ("here", "20", "column 'v' is Float64, not 'abc'", "text 2"),
        ("here", "30", "no 'ts'", "text 3"),
        ("here", "40", "no 'ts'", "text 4"),
        ("here", "50", "column 'k' is String, not 3", "text 5"),
    ]


@pytest.mark.parametrize("value", [[1, 2], "text", 3, True])
def test_what_is_no_mapping_is_no_row(value):
    assert read(value).dead["reason"].to_list() == ["not a JSON object"]


def test_no_rows():
    rows = read()
    assert dict(rows.frame.schema) == SCHEMA
    assert rows.frame.height == rows.dead.height == 0


@pytest.mark.parametrize(
    ("value", "dtype", "expected"),
    [
        (1, pl.Float64(), 1.0),
        (2**70, pl.Float64(), float(2**70)),
        (float("inf"), pl.Float64(), float("inf")),
        (True, pl.Float64(), "column 'x' is Float64, not True"),
        ("1.5", pl.Float64(), "column 'x' is Float64, not '1.5'"),
        (2.0, pl.Int64(), 2),
        (2.5, pl.Int64(), "column 'x' is Int64, not 2.5"),
        (2**70, pl.Int64(), f"column 'x' is Int64, not {2**70}"),
        (300, pl.Int8(), "column 'x' is Int8, not 300"),
        (-1, pl.UInt32(), "column 'x' is UInt32, not -1"),
        (True, pl.Int64(), "column 'x' is Int64, not True"),
        (True, pl.Boolean(), True),
        (1, pl.Boolean(), "column 'x' is Boolean, not 1"),
        ("a", pl.Enum(["a"]), "a"),
        ("b", pl.Enum(["a"]), "column 'x' is Enum(categories=['a']), not 'b'"),
        (b"ab", pl.Binary(), b"ab"),
        (Decimal("1.25"), pl.Decimal(10, 2), Decimal("1.25")),
        ("2013-01-31", pl.Date(), date(2013, 1, 31)),
        (date(2013, 1, 31), pl.Date(), date(2013, 1, 31)),
        ("2013-02-31", pl.Date(), "column 'x' is Date, not '2013-02-31'"),
        (5, pl.Date(), "column 'x' is Date, not 5"),
        ({"a": 1}, pl.Struct({"a": pl.Int64}), {"a": 1}),
        ({"a": "x"}, pl.Struct({"a": pl.Int64}), "column 'x' is Struct({'a': Int64}), not {'a': 'x'}"),
        (5, pl.Struct({"a": pl.Int64}), "column 'x' is Struct({'a': Int64}), not 5"),
        (np.float64(1.5), pl.Float64(), 1.5),
        (np.int32(7), pl.Int64(), 7),
        (np.bool_(True), pl.Boolean(), True),
    ],
)
def test_what_a_column_takes(value, dtype, expected):
    assert one(value, dtype) == expected
    # Neighbours change nothing.
    schema = {"x": dtype}
    rows = read({"x": value}, {"x": None}, {"x": object()}, {"x": value}, schema=schema, required=())
    good = [x for x in rows.frame["x"].to_list() if x is not None]
    assert good == ([expected] * 2 if good else [])
    assert rows.dead.height == (1 if good else 3)


def test_lists():
    assert one([1, 2], pl.List(pl.Int64)).to_list() == [1, 2]
    assert one([1, "x"], pl.List(pl.Int64)) == "column 'x' is List(Int64), not [1, 'x']"


def test_a_long_value_is_cut_in_the_reason():
    reason = one("x" * 1000, pl.Int64())
    assert len(reason) < 120
    assert reason.endswith("...")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2013-01-31T12:00:00Z", NOON),
        ("2013-01-31T12:00:00", NOON),
        ("2013-01-31 12:00:00", NOON),
        ("2013-01-31T13:00:00+01:00", NOON),
        ("2013-01-31 07:00:00-0500", NOON),
        ("2013-01-31T12:00:00+00", NOON),
        ("2013-01-31T12:00", NOON),
        ("2013-01-31T12:00Z", NOON),
        ("2013-01-31", NOON.replace(hour=0)),
        ("2013-01-31T12:00:00.25Z", NOON + timedelta(milliseconds=250)),
        ("2013-01-31T12:00:00.123456789", NOON + timedelta(microseconds=123456)),
        ("1359633600000", NOON),
        (1359633600000, NOON),
        (-1, datetime(1969, 12, 31, 23, 59, 59, 999000, UTC)),
        (NOON.astimezone(timezone(timedelta(hours=3))), NOON),
        (NOON.replace(tzinfo=None), NOON),
        (np.datetime64("2013-01-31T12:00:00", "us"), NOON),
    ],
)
@pytest.mark.parametrize("dtype", [pl.Datetime("us", "UTC"), pl.Datetime("ns"), pl.Datetime("ms", "America/New_York")])
def test_ways_to_write_a_time(text, expected, dtype):
    found = one(text, dtype)
    found = found.replace(tzinfo=UTC) if found.tzinfo is None else found.astimezone(UTC)
    if dtype.time_unit == "ms":
        expected = expected.replace(microsecond=expected.microsecond // 1000 * 1000)
    assert found == expected


@pytest.mark.parametrize("text", ["noon", "", "2013-13-01", "31.01.2013", "12:00", True, 1.5, 10**18, 2**80, []])
def test_what_is_no_time(text):
    assert one(text, pl.Datetime("us", "UTC")).startswith("column 'x' is Datetime")


def test_times_beyond_the_range_of_nanoseconds_are_set_aside():
    dtype = pl.Datetime("ns")
    far = ["9999-01-01T00:00:00", "1600-01-01T00:00:00Z", "9999-01-01", 253402300799999, datetime(9999, 1, 1)]
    assert all(str(one(value, dtype)).startswith("column 'x' is Datetime") for value in far)
    assert one("9999-01-01T00:00:00", pl.Datetime("us")) == datetime(9999, 1, 1)


def test_nanoseconds_are_kept():
    found = times(pl.Series(["2013-01-31T12:00:00.123456789Z"]), pl.Datetime("ns", "UTC"))
    assert found.cast(pl.Int64)[0] % 10**9 == 123456789


def test_times_written_in_several_ways_in_one_column():
    texts = ["2013-01-31T12:00:00", None, "2013-01-31T12:00:00.0Z", "2013-01-31 13:00+01:00", "2013-01-31T12:00:00"]
    found = times(pl.Series(texts), pl.Datetime("us", "UTC"))
    assert found.to_list() == [NOON, None, NOON, NOON, NOON]
    assert times(pl.Series([], dtype=pl.String), pl.Datetime("us", "UTC")).dtype == pl.Datetime("us", "UTC")


@pytest.mark.parametrize(
    ("cells", "dtype", "expected"),
    [
        (["1", "x", None, "1.5"], pl.Int64(), [1, None, None, None]),
        (["300", "7"], pl.Int8(), [None, 7]),
        (["1", "1e3", "x"], pl.Float64(), [1.0, 1000.0, None]),
        (["true", "False", "1"], pl.Boolean(), [True, False, None]),
        (["2013-01-31", "x"], pl.Date(), [date(2013, 1, 31), None]),
        (["0", "2013-01-31 12:00:00", "x"], pl.Datetime("us", "UTC"), [datetime(1970, 1, 1, tzinfo=UTC), NOON, None]),
        (["a", None], pl.String(), ["a", None]),
    ],
)
def test_cells_of_text(cells, dtype, expected):
    found = from_text(pl.Series(cells, dtype=pl.String), dtype)
    assert found.dtype == dtype
    assert found.to_list() == expected
