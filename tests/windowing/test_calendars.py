"""Months, quarters, years and weeks as the calendar has them, in UTC and in zones."""

from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

import lepton_nb as lnb
from lepton_nb.windowing import WindowState

NEW_YORK = ZoneInfo("America/New_York")


def one_row(time, dtype, query):
    frame = pl.DataFrame({"t": pl.Series([time]).cast(dtype)})
    table = query(lnb.windows(frame, time="t").agg(n=lnb.count())).collect()
    return list(zip(table["window_start"].to_list(), table["window_end"].to_list(), strict=True))


@pytest.mark.parametrize("dtype", [pl.Datetime("ms"), pl.Datetime("us"), pl.Datetime("ns"), pl.Date])
@pytest.mark.parametrize(
    ("size", "offset", "start", "end"),
    [
        ("1mo", 0, (1969, 2, 1), (1969, 3, 1)),
        ("1q", 0, (1969, 1, 1), (1969, 4, 1)),
        ("1y", 0, (1969, 1, 1), (1970, 1, 1)),
        ("1y", "3mo", (1968, 4, 1), (1969, 4, 1)),
        ("1mo", "14d", (1969, 2, 15), (1969, 3, 15)),
        ("1w", 0, (1969, 2, 17), (1969, 2, 24)),
        ("2w", "1w", (1969, 2, 10), (1969, 2, 24)),
        ("7d", 0, (1969, 2, 20), (1969, 2, 27)),
    ],
)
def test_civil_lengths_before_1970(dtype, size, offset, start, end):
    found = one_row(datetime(1969, 2, 20), dtype, lambda query: query.tumbling(size, offset))
    make = date if dtype == pl.Date else datetime
    assert found == [(make(*start), make(*end))]


@given(
    st.datetimes(datetime(1900, 1, 1), datetime(2100, 1, 1)),
    st.integers(1, 30),
    st.integers(1, 15),
    st.sampled_from([pl.Datetime("us"), pl.Datetime("ms"), pl.Date]),
)
def test_sliding_months_hold_the_time(time, size, every, dtype):
    found = one_row(time, dtype, lambda query: query.sliding(f"{size}mo", f"{every}mo"))
    moment = time.date() if dtype == pl.Date else time
    make = date if dtype == pl.Date else datetime
    month = time.year * 12 + time.month - 1
    epoch = 1970 * 12
    starts = [m for m in range(month - size + 1, month + 1) if (m - epoch) % every == 0]
    assert found == [(make(m // 12, m % 12 + 1, 1), make((m + size) // 12, (m + size) % 12 + 1, 1)) for m in starts]
    assert all(start <= moment < end for start, end in found)


def test_months_of_a_zone_begin_at_its_midnight():
    dtype = pl.Datetime("us", "UTC")
    utc = datetime(2013, 11, 1, 2, tzinfo=UTC)  # still October in New York, then a month with 30 days and 25 hours
    found = one_row(utc.replace(tzinfo=None), dtype, lambda query: query.tumbling("1mo", tz="America/New_York"))
    assert found == [(datetime(2013, 10, 1, 4, tzinfo=UTC), datetime(2013, 11, 1, 4, tzinfo=UTC))]
    later = one_row(datetime(2013, 11, 20), dtype, lambda query: query.tumbling("1mo", tz="America/New_York"))
    assert later == [(datetime(2013, 11, 1, 4, tzinfo=UTC), datetime(2013, 12, 1, 5, tzinfo=UTC))]


def test_weeks_of_a_zone_begin_on_its_monday():
    dtype = pl.Datetime("us", "UTC")
    sunday_night = datetime(2013, 3, 11, 3)  # 23:00 on Sunday, March 10, the day on which clocks went forward
    found = one_row(sunday_night, dtype, lambda query: query.tumbling("1w", tz="America/New_York"))
    assert [t.astimezone(NEW_YORK).strftime("%a %d %H:%M") for t in found[0]] == ["Mon 04 00:00", "Mon 11 00:00"]


def test_year_to_date_by_month():
    frame = pl.DataFrame({"t": [datetime(2013, 2, 28), datetime(2013, 11, 5), datetime(2014, 1, 1)], "v": [1, 2, 4]})
    table = lnb.windows(frame, time="t").cumulating("1y", "1mo").agg(v=lnb.sum("v")).collect()
    year = table.filter(pl.col("window_start") == datetime(2013, 1, 1))
    assert year["window_end"].dt.month().to_list() == [3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 1]
    assert year["v"].to_list() == [1] * 9 + [3, 3]


@pytest.mark.parametrize(
    ("day", "zone"), [(datetime(2010, 11, 7), "America/St_Johns"), (datetime(2013, 11, 3), "America/Havana")]
)
def test_rows_lie_in_their_window_where_clocks_are_set_back_over_midnight(day, zone):
    start = day.replace(tzinfo=UTC) - timedelta(days=1)
    frame = pl.DataFrame({"t": [start + timedelta(seconds=30 * i) for i in range(2 * 60 * 72)]})
    query = (
        lnb.windows(frame, time="t").tumbling("1d", tz=zone).agg(n=lnb.count(), first=lnb.min("t"), last=lnb.max("t"))
    )
    table = query.collect()
    assert ((table["first"] >= table["window_start"]) & (table["last"] < table["window_end"])).all()
    assert table["window_end"][:-1].to_list() == table["window_start"][1:].to_list()
    assert table["n"].sum() == frame.height


@pytest.mark.parametrize("zone", ["America/New_York", "America/St_Johns", "Pacific/Apia", "America/Sao_Paulo"])
@pytest.mark.parametrize("size", ["1d", "1w", "1mo"])
def test_a_watermark_closes_civil_windows_at_their_last_tick(zone, size):
    start = datetime(2010, 10, 1, tzinfo=UTC)
    frame = pl.DataFrame({"t": [start + timedelta(hours=6 * i) for i in range(4 * 500)]})
    query = lnb.windows(time="t").tumbling(size, tz=zone).agg(n=lnb.count())
    expected = lnb.windows(frame, time="t").tumbling(size, tz=zone).agg(n=lnb.count()).collect()
    state = WindowState(query)
    state.ingest(frame)
    tick = timedelta(microseconds=1)
    for row in expected.iter_rows(named=True):
        assert state.advance(row["window_end"] - 2 * tick).height == 0
        assert state.advance(row["window_end"] - tick).rows(named=True) == [row]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda q: q.sliding("1mo", "1d"), "one is in months, which differ in length; write both in months"),
        (lambda q: q.tumbling("1mo2d"), "mixes months with lengths in days"),
        (lambda q: q.tumbling("1d", "1mo"), "is in months, the windows are not"),
        (lambda q: q.tumbling("1mo", "28d"), "from 0 to below 28"),
        (lambda q: q.tumbling("1mo", "2mo"), r"shorter than the step between windows \(1mo\)"),
        (lambda q: q.cumulating("1h", "25m"), "multiple of every='.*; try size='1h15m'"),
        (lambda q: q.cumulating("1y", "5mo"), "multiple of every='.*; try size='15mo'"),
        (lambda q: q.session("0s"), "gap must be above zero"),
        (lambda q: q.session("1mo"), "no fixed length"),
        (lambda q: q.rolling(), "either a length of time or a number of rows"),
        (lambda q: q.rolling("1h", rows=3), "either a length of time or a number of rows"),
        (lambda q: q.rolling(rows=0), "rows=0 must be a whole number"),
        (lambda q: q.counting(0), "rows=0 must be a whole number"),
        (lambda q: q.counting(5, 0), "every=0 must be a whole number"),
        (lambda q: q.fixed(0, "1m"), "periods=0"),
        (lambda q: q.lateness("-5s"), "out_of_order='-5s' must not be negative"),
        (lambda q: q.counting(5).lateness(allowed="1s"), "windows of rows take no allowed lateness"),
        (lambda q: q.tumbling("400000y"), "longer than any calendar"),
    ],
)
def test_wrong_windows_name_the_fix(make, message):
    with pytest.raises(lnb.WindowError, match=message):
        make(lnb.windows(time="t").agg(n=lnb.count()))


def test_months_beyond_the_range_of_the_time_column_are_refused():
    with pytest.raises(lnb.WindowError, match="beyond the times"):
        one_row(datetime(2200, 1, 1), pl.Datetime("ns"), lambda query: query.tumbling("500y"))


@pytest.mark.parametrize("dtype", [pl.Datetime("us"), pl.Datetime("us", "UTC")])
@pytest.mark.parametrize("size", [("1mo", None), ("1d", "America/New_York")])
def test_times_without_a_calendar_are_refused_not_lost(dtype, size):
    frame = pl.DataFrame({"t": pl.Series([9 * 10**18, 0], dtype=pl.Int64).cast(dtype)})
    with pytest.raises(lnb.WindowError, match="a time reaches beyond the times"):
        lnb.windows(frame, time="t").tumbling(size[0], tz=size[1]).agg(n=lnb.count()).collect()


def test_fixed_is_tumbling_over_all_periods():
    times = [datetime(2020, 1, 1, 0, minute) for minute in (0, 14, 15, 29, 30)]
    query = lnb.windows(pl.DataFrame({"t": times}), time="t").agg(n=lnb.count())
    assert query.fixed(3, "5m").collect().equals(query.tumbling("15m").collect())


def test_the_inclusive_sliding_window_counts_both_ends():
    """W = T * S + 1: with 3 periods of 5 ms, a row on a step lies in 4 windows, one between steps in 3."""
    times = pl.Series([15, 17]).cast(pl.Datetime("ms"))
    query = lnb.windows(pl.DataFrame({"t": times}), time="t").sliding_inclusive(3, "5ms").agg(n=lnb.count())
    table = query.collect().with_columns(pl.col("window_start", "window_end").dt.epoch("ms"))
    assert table.rows() == [(0, 16, 1), (5, 21, 2), (10, 26, 2), (15, 31, 2)]
    assert "sliding 15ms + 1 tick every 5ms" in repr(query)
