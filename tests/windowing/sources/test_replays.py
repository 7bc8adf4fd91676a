import math
from datetime import UTC, date, datetime, timedelta

import polars as pl
import pytest
from draining import drain, rows_between

from lepton_nb.errors import DataError, WindowError
from lepton_nb.windowing import sources
from lepton_nb.windowing.sources.replays import ReplaySource

START = datetime(2013, 1, 31, tzinfo=UTC)


def table(*seconds, unit="us"):
    times = [None if s is None else START + timedelta(seconds=s) for s in seconds]
    return pl.DataFrame(
        {"ts": pl.Series(times, dtype=pl.Datetime("us", "UTC")).dt.cast_time_unit(unit), "v": list(seconds)},
        schema_overrides={"v": pl.Float64},
    )


class Clock:
    def __init__(self):
        self.now_s = 1e6
        self.slept = []

    def __call__(self):
        return self.now_s

    def sleep(self, seconds):
        self.slept.append(seconds)
        self.now_s += seconds


def opened(frame, columns=("ts", "v"), speed=1.0, time="ts"):
    clock = Clock()
    source = ReplaySource(frame, time, speed=speed, clock=clock, sleep=clock.sleep)
    source.open(list(columns), 2)
    return source, clock


@pytest.mark.parametrize("unit", ["ms", "us", "ns"])
def test_rows_come_when_they_are_due(unit):
    source, clock = opened(table(0, 1, 2.5, 2.5, 10, unit=unit))
    assert source.plan(None, 100, 0).after == 1, "the first comes at once"
    assert source.plan(1, 100, 0).after == 1
    clock.now_s += 2
    planned = source.plan(1, 100, 0)
    assert (planned.after, planned.over) == (2, False)
    clock.now_s += 1
    assert source.plan(2, 1, 0).after == 3, "no more than asked"
    assert source.plan(2, 1, 0).lag == 1, "one more is due"
    clock.now_s += 7
    assert source.plan(3, 100, 0) == source.plan(3, 100, 5)
    assert source.plan(3, 100, 0).over


def test_a_plan_waits_until_the_next_row_or_as_long_as_asked():
    source, clock = opened(table(0, 10), speed=2.0)
    assert source.plan(None, 100, 1.0).after == 1
    assert clock.slept == []
    assert source.plan(1, 100, 1.0).after == 1
    assert sum(clock.slept) == pytest.approx(1.0)
    assert source.plan(1, 100, 60.0).after == 2
    assert sum(clock.slept) == pytest.approx(5.0), "10 s at twice the speed"


def test_at_once():
    source, clock = opened(table(*range(1000)), speed=math.inf)
    assert source.plan(None, 400, 60).after == 400
    assert source.plan(400, 10_000, 60).over
    assert clock.slept == []


def test_rows_come_in_order_of_time_and_those_without_first():
    frame = table(5, None, 1, 3, 1).with_columns(v=pl.Series([0.0, 1.0, 2.0, 3.0, 4.0]))
    assert drain(sources.replay(frame, "ts", speed=math.inf), ["ts", "v"], 2).frame["v"].to_list() == [1, 2, 4, 3, 0]


def test_another_column_than_the_query_needs_gives_the_order():
    frame = table(3, 2, 1).with_columns(arrived=pl.Series([1, 3, 2]).cast(pl.Datetime("ms")))
    found = drain(sources.replay(frame, "arrived", speed=math.inf), ["ts", "v"], 10)
    assert found.frame.columns == ["ts", "v"]
    assert found.frame["v"].to_list() == [3.0, 1.0, 2.0]


def test_days_too():
    frame = pl.DataFrame({"day": [date(2013, 1, 2), date(2013, 1, 1)]})
    source, clock = opened(frame, ["day"], speed=86_400, time="day")
    assert source.plan(None, 10, 0).after == 1
    clock.now_s += 1
    assert source.plan(1, 10, 0).over


def test_a_restart_goes_on_where_it_was_with_the_same_rows():
    frame = table(*range(100))
    source, clock = opened(frame)
    clock.now_s += 0
    source.plan(None, 10, 0)
    clock.now_s += 20.5
    after = source.plan(1, 100, 0).after
    assert after == 21
    again, clock = opened(frame)
    _, read = rows_between(again, 1, after)
    assert pl.concat([rows.frame for rows in read])["v"].to_list() == list(range(1, 21))
    assert again.plan(after, 100, 0).after == 22, "the next row is due at once"
    clock.now_s += 1
    assert again.plan(22, 100, 0).after == 23


def test_an_empty_table_and_one_without_times():
    source, _ = opened(table())
    assert source.plan(None, 10, 0).over
    source, _ = opened(table(None, None))
    assert source.plan(None, 10, 0).over


@pytest.mark.parametrize("speed", [0, -1, math.nan, "fast", True, None])
def test_a_speed_must_be_positive(speed):
    with pytest.raises(WindowError, match="speed is how many seconds"):
        sources.replay(table(1), "ts", speed=speed)


def test_the_column_must_hold_times():
    with pytest.raises(DataError, match="'v' is Float64; parse it"):
        sources.replay(table(1), "v").open(["ts"], 1)
    with pytest.raises(DataError, match="unknown column 't'; did you mean 'ts'"):
        sources.replay(table(1), "t").open(["ts"], 1)
