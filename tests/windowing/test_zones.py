from datetime import UTC, datetime, timedelta

import polars as pl
import pytest

import lepton_nb as lnb
from lepton_nb.windowing.zones import after_skip

ZONE = "America/New_York"


def days(start, hours):
    times = [start + timedelta(hours=h) for h in range(hours)]
    frame = pl.DataFrame({"t": times}, schema={"t": pl.Datetime("us", "UTC")})
    return lnb.windows(frame, time="t").tumbling("1d", tz=ZONE).agg(n=lnb.count()).collect()


def test_civil_days_last_23_and_25_hours_where_the_clocks_change():
    spring = days(datetime(2013, 3, 9, 5, tzinfo=UTC), 24 + 23 + 24)
    assert spring["n"].to_list() == [24, 23, 24]
    assert spring["window_start"].to_list()[1:] == [
        datetime(2013, 3, 10, 5, tzinfo=UTC),
        datetime(2013, 3, 11, 4, tzinfo=UTC),
    ]
    autumn = days(datetime(2013, 11, 2, 4, tzinfo=UTC), 24 + 25 + 24)
    assert autumn["n"].to_list() == [24, 25, 24]


@pytest.mark.parametrize(
    "zone", ["America/New_York", "America/Havana", "America/Sao_Paulo", "Asia/Kolkata", "Pacific/Apia"]
)
def test_windows_are_the_calendar_days_of_a_zone_through_years(zone):
    """Havana repeats midnight, São Paulo skipped it, Samoa skipped a whole day."""
    start = datetime(2011, 1, 1, tzinfo=UTC)
    times = pl.datetime_range(start, start + timedelta(days=1000), "30m", eager=True, time_unit="us").alias("t")
    frame = times.to_frame()
    found = lnb.windows(frame, time="t").tumbling("1d", tz=zone).agg(n=lnb.count(), first=lnb.min("t")).collect()
    expected = frame.group_by(pl.col("t").dt.convert_time_zone(zone).dt.date().alias("day")).len().sort("day")
    assert found["n"].to_list() == expected["len"].to_list()
    assert found["window_end"][:-1].to_list() == found["window_start"][1:].to_list() or zone == "Pacific/Apia"
    # Every time on the half hour has a row, and days begin on one.
    assert found["first"][1:].to_list() == found["window_start"][1:].to_list()


def test_several_days_start_at_a_civil_midnight():
    frame = pl.DataFrame({"t": [datetime(2013, 7, 1, 12)]})
    table = lnb.windows(frame, time="t").tumbling("7d", offset="4d", tz=ZONE).agg(n=lnb.count()).collect()
    assert table["window_start"].to_list() == [datetime(2013, 7, 1, 4)]
    assert table["window_end"].to_list() == [datetime(2013, 7, 8, 4)]


def test_the_result_keeps_the_zone_of_the_column():
    frame = pl.DataFrame({"t": [datetime(2013, 7, 1, 12)]}, schema={"t": pl.Datetime("ms", "Asia/Tokyo")})
    table = lnb.windows(frame, time="t").tumbling("1d", tz="Asia/Tokyo").agg(n=lnb.count()).collect()
    assert table.schema["window_start"] == pl.Datetime("ms", "Asia/Tokyo")
    assert table["window_start"].dt.hour().to_list() == [0]


def test_a_skipped_time_becomes_the_moment_of_the_skip():
    assert after_skip(datetime(2013, 3, 10, 2, 30), ZONE) == datetime(2013, 3, 10, 7, tzinfo=UTC)


def test_unknown_zones_and_part_days_are_refused():
    query = lnb.windows(time="t")
    with pytest.raises(lnb.WindowError, match="did you mean 'America/New_York'"):
        query.tumbling("1d", tz="America/NewYork")
    with pytest.raises(lnb.WindowError, match="whole days"):
        query.tumbling("1h", tz=ZONE)
    with pytest.raises(lnb.WindowError, match="whole days"):
        query.tumbling("1d", offset="5h", tz=ZONE)
    dates = pl.DataFrame({"t": [datetime(2013, 1, 1).date()]})
    with pytest.raises(lnb.WindowError, match="leave tz out"):
        lnb.windows(dates, time="t").tumbling("1d", tz=ZONE).agg(n=lnb.count()).collect()
