"""The live view of a stream: the last windows of the busiest keys."""

from datetime import UTC, datetime, timedelta

import polars as pl
import pytest

import lepton_nb as lnb
from lepton_nb.figures import live

START = datetime(2020, 1, 1, tzinfo=UTC)


def result(**counts):
    """A window result: key → the counts of its hours, from START on."""
    rows = [
        (key, START + timedelta(hours=hour), START + timedelta(hours=hour + 1), n, float(n), "x")
        for key, of_hours in counts.items()
        for hour, n in enumerate(of_hours)
    ]
    return pl.DataFrame(rows, schema=["key", "window_start", "window_end", "n", "mean", "top"], orient="row")


def test_the_last_windows_of_the_busiest_keys_are_picked_and_told():
    table = result(a=[1, 1], b=[5] * 4, c=[2] * 9, d=[3])
    picked = live.Pick(["key"], "n", most_keys=2, windows=3).of(table)
    assert picked.table["key"].to_list() == ["b"] * 3 + ["c"] * 3
    assert picked.table.filter(key="c")["window_start"].dt.hour().to_list() == [6, 7, 8]
    assert picked.text == "the last 3 windows of each key; the 2 busiest of 4 keys, by n"
    assert live.Pick(["key"]).of(table).text == "the last 60 windows of each key"
    by_windows = live.Pick(["key"], most_keys=1).of(table)
    assert by_windows.table["key"].unique().to_list() == ["c"]
    assert by_windows.text.endswith("the 1 busiest of 4 keys, by number of windows")
    assert live.Pick([], windows=2).of(result(a=[1, 2, 3]).drop("key")).text == "the last 2 windows"


def test_all_that_is_shown_of_a_result_is_told():
    table = result(a=[1, 1], b=[5] * 4, c=[2] * 9, d=[3])

    def told(keys, **options):
        return live.told(live.Pick(keys, "n", **options).of(table), table.height, keys)

    assert told(["key"]) == "all 16 windows"
    assert told(["key"], most_keys=2) == "the 2 busiest of 4 values of key, by n: 13 of 16 windows"
    assert told(["key"], windows=3) == "the last 3 windows of each: 9 of 16 windows"
    both = "the 2 busiest of 4 values of key, by n; the last 3 windows of each: 6 of 16 windows"
    assert told(["key"], most_keys=2, windows=3) == both
    table = result(a=[1, 2, 3]).drop("key")
    assert told([], windows=2) == "the last 2 windows: 2 of 3 windows"
    table = table.head(1)
    assert told([]) == "the one window"


def test_a_shown_key_stays_until_another_is_much_busier():
    pick = live.Pick(["key"], "n", most_keys=1)
    assert pick.of(result(a=[4], b=[3])).table["key"].to_list() == ["a"]
    assert pick.of(result(a=[4], b=[5])).table["key"].to_list() == ["a"]
    assert pick.of(result(a=[4], b=[7])).table["key"].to_list() == ["b"]
    assert pick.of(result(a=[4], c=[1])).table["key"].to_list() == ["a"]


def test_a_null_key_can_be_the_busiest():
    table = result(a=[1]).with_columns(key=pl.lit(None, pl.String))
    pick = live.Pick(["key"], "n", most_keys=1)
    assert pick.of(table).table.height == 1
    assert pick.of(pl.concat([table, result(b=[1])])).table["key"].to_list() == [None]


def test_every_kind_of_window_is_drawn():
    frame = pl.DataFrame(
        {"ts": [START + timedelta(minutes=10 * n) for n in (0, 1, 1, 9, 30, 31)], "key": ["a", "b"] * 3}
    )
    query = lnb.windows(frame, time="ts", key="key").agg(n=lnb.count())
    for shaped in (
        query.tumbling("1h"), query.sliding("2h", every="30m"), query.cumulating("2h", every="1h"), query.session("1h"),
        query.rolling("1h"), query.rolling(rows=2), query.counting(2),
    ):  # fmt: skip
        table = shaped.collect()
        figure = live.windows(live.Pick(["key"]).of(table).table, "n", ["key"], watermark=START, unit="rows")
        assert [trace.name for trace in figure.data] == ["a", "b"]
        assert figure.layout.yaxis.title.text == "n (rows)"
        assert figure.layout.shapes[0].x0 == "2020-01-01T00:00:00"
    empty = live.windows(live.Pick(["key"]).of(table.clear()).table, "n", ["key"])
    assert [annotation.text for annotation in empty.layout.annotations] == ["no windows"]


def test_columns_and_rows_to_show():
    table = result(a=[1, 2, 3], b=[9])
    assert live.drawable(table.schema) == ["n", "mean"]
    assert live.drawable(pl.Schema()) == []
    assert live.last_rows(table, 2)["n"].to_list() == [3, 2]
    with pytest.raises(lnb.WindowError, match="unknown column 'm'"):
        live.Pick(["key"], "m").of(table)
