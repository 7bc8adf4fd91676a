import math
from datetime import date, datetime, time, timedelta

import polars as pl
import pytest

import lepton_nb as lnb

INTEGERS = [pl.Int8, pl.Int16, pl.Int32, pl.Int64, pl.UInt8, pl.UInt16, pl.UInt32, pl.UInt64]
FLOATS = [pl.Float32, pl.Float64]
START = datetime(2020, 1, 1)


def slide(values, dtype, **aggregates):
    """One value a minute in windows of three minutes, whole windows only."""
    times = [START + timedelta(minutes=i) for i in range(len(values))]
    frame = pl.DataFrame({"t": times, "v": pl.Series(values, dtype=dtype)})
    table = lnb.windows(frame, time="t").sliding("3m", "1m").agg(**aggregates).collect()
    whole = pl.col("window_start").is_between(START, times[-3])
    return table.filter(whole).drop("window_start", "window_end")


@pytest.mark.parametrize("dtype", [*INTEGERS, *FLOATS])
def test_every_number_type(dtype):
    table = slide(
        [100, None, 3, None, None, None],
        dtype,
        sum=lnb.sum("v"), mean=lnb.mean("v"), min=lnb.min("v"), max=lnb.max("v"),
        q=lnb.quantile("v", 0.5), n=lnb.count("v"),
    )  # fmt: skip
    assert table.rows() == [
        (103, 51.5, 3, 100, 51.5, 2),
        (3, 3.0, 3, 3, 3.0, 1),
        (3, 3.0, 3, 3, 3.0, 1),
        (0, None, None, None, None, 0),
    ]
    assert table.schema["min"] == table.schema["max"] == dtype
    wide = pl.Float64 if dtype in FLOATS else pl.UInt64 if dtype == pl.UInt64 else pl.Int64
    assert table.schema["sum"] == wide
    assert table.schema["mean"] == table.schema["q"] == pl.Float64


def test_small_types_do_not_wrap_around():
    assert slide([127] * 3, pl.Int8, sum=lnb.sum("v")).item() == 381
    assert slide([2**31 - 1] * 3, pl.Int32, sum=lnb.sum("v")).item() == 3 * (2**31 - 1)


def test_the_mean_of_large_integers_does_not_overflow():
    assert slide([2**62] * 3, pl.Int64, mean=lnb.mean("v")).item() == 2.0**62
    assert slide([2**63] * 3, pl.UInt64, mean=lnb.mean("v"), sum=lnb.min("v")).row(0) == (2.0**63, 2**63)


def test_extremes_of_64_bit_integers_are_exact():
    values = [2**63 - 1, -(2**63), 2**53 + 1]
    assert slide(values, pl.Int64, min=lnb.min("v"), max=lnb.max("v")).row(0) == (-(2**63), 2**63 - 1)


@pytest.mark.parametrize(
    ("values", "dtype"),
    [
        ([date(2020, 1, 2), None, date(1960, 1, 1)], pl.Date),
        ([START, START - timedelta(days=40_000), None], pl.Datetime("ns")),
        ([timedelta(seconds=-1), timedelta(seconds=1), None], pl.Duration("us")),
        ([time(1), time(2), None], pl.Time),
        ([True, False, None], pl.Boolean),
    ],
)
def test_extremes_of_dates_and_times(values, dtype):
    table = slide(values, dtype, min=lnb.min("v"), max=lnb.max("v"), n=lnb.count("v"))
    known = [v for v in values if v is not None]
    assert table.row(0) == (min(known), max(known), 2)
    assert table.schema["min"] == dtype


def test_nan_as_in_polars():
    table = slide(
        [math.nan, 1.0, 5.0, math.nan, math.nan, math.nan],
        pl.Float64,
        sum=lnb.sum("v"), min=lnb.min("v"), max=lnb.max("v"),
        half=lnb.quantile("v", 0.5), all=lnb.quantile("v", 1), n=lnb.count("v"),
    )  # fmt: skip
    frame = pl.DataFrame({"v": [math.nan, 1.0, 5.0, math.nan, math.nan, math.nan]})
    v = pl.col("v")
    for i in range(4):
        expected = frame.slice(i, 3).select(
            sum=v.sum(),
            min=v.min(),
            max=v.max(),
            half=v.quantile(0.5, "linear"),
            all=v.quantile(1, "linear"),
            n=v.count(),
        )
        assert table[i].equals(expected.cast({"n": pl.Int64}))


def test_booleans_are_summed():
    table = slide([True, True, None], pl.Boolean, sum=lnb.sum("v"), mean=lnb.mean("v"))
    assert table.row(0) == (2, 1.0)


def test_infinities():
    table = slide([math.inf, 1.0, 2.0, -math.inf, 3.0], pl.Float64, sum=lnb.sum("v"), max=lnb.max("v"))
    assert table.rows() == [(math.inf, math.inf), (-math.inf, 2.0), (-math.inf, 3.0)]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: lnb.quantile("v", 1.5), "from 0 to 1"),
        (lambda: lnb.quantile("v", 95), "from 0 to 1"),
        (lambda: lnb.quantile("v", "0.5"), "from 0 to 1"),
        (lambda: lnb.quantile("v", math.nan), "from 0 to 1"),
        (lambda: lnb.quantile("v", 0.5, colum="x"), r"unknown option of quantile\(\) 'colum'; did you mean 'column'"),
        (lambda: lnb.mean("v", weight="w"), r"unknown option of mean\(\) 'weight'"),
        (lambda: lnb.count("v", distinct=True), r"unknown option of count\(\) 'distinct'"),
        (lambda: lnb.count(distinct=True), r"unknown option of count\(\) 'distinct'"),
        (lambda: lnb.sum(3), r"sum\(\) takes the name of a column, not 3"),
    ],
)
def test_wrong_arguments_name_the_fix(make, message):
    with pytest.raises(lnb.WindowError, match=message):
        make()


@pytest.mark.parametrize(
    ("aggregate", "values", "dtype"),
    [
        (lnb.sum("v"), ["1"], pl.String),
        (lnb.mean("v"), [START], pl.Datetime("us")),
        (lnb.quantile("v", 0.5), [True], pl.Boolean),
        (lnb.min("v"), ["a"], pl.String),
        (lnb.sum("v"), [1], pl.Decimal(10, 2)),
        (lnb.sum("v"), [None], pl.Null),
    ],
)
def test_columns_of_the_wrong_type_name_the_cast(aggregate, values, dtype):
    with pytest.raises(lnb.WindowError, match=r"needs (numbers|.*times), but the column is .*; cast it first"):
        slide(values * 3, dtype, x=aggregate)
