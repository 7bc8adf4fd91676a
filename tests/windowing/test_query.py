import pickle
from datetime import datetime, timedelta

import polars as pl
import pytest

import lepton_nb as lnb

FRAME = pl.DataFrame(
    {
        "ts": [datetime(2020, 1, 1, 0, minute) for minute in range(30)],
        "carrier": ["AA", "UA"] * 15,
        "delay": range(30),
        "text": ["x"] * 30,
    }
)


def test_the_order_of_calls_is_free_and_the_last_call_holds():
    base = lnb.windows(FRAME, time="ts", key="carrier")
    one = base.tumbling("10m").agg(n=lnb.count()).collect()
    other = (
        base.agg(x=lnb.sum("delay")).agg(n=lnb.count()).sliding("5m", "1m").tumbling(timedelta(minutes=10)).collect()
    )
    assert one.equals(other)


def test_a_query_is_immutable():
    base = lnb.windows(FRAME, time="ts").agg(n=lnb.count())
    short, long = base.tumbling("1m"), base.tumbling("30m")
    assert short.collect().height == 30
    assert long.collect().height == 1
    with pytest.raises(AttributeError):
        base.spec = None


def test_sliding_every_size_is_tumbling():
    query = lnb.windows(FRAME, time="ts").agg(n=lnb.count())
    assert query.sliding("10m", "10m", offset="3m").collect().equals(query.tumbling("10m", offset="3m").collect())


def test_the_columns_of_the_result():
    table = lnb.windows(FRAME, time="ts", key=["carrier", "text"]).tumbling("1h").agg(b=lnb.count(), a=lnb.max("delay"))
    assert table.collect().columns == ["carrier", "text", "window_start", "window_end", "b", "a"]


def test_a_key_may_also_be_aggregated_and_the_time_too():
    table = lnb.windows(FRAME, time="ts", key="delay").tumbling("1h").agg(first=lnb.min("ts"), same=lnb.mean("delay"))
    assert table.collect()["same"].to_list() == [float(x) for x in range(30)]


def test_columns_with_any_name():
    frame = FRAME.rename({"ts": "slice", "carrier": "sum:delay", "delay": "^.*$"})
    query = lnb.windows(frame, time="slice", key="sum:delay").sliding("20m", "10m")
    table = query.agg(s=lnb.sum("^.*$"), q=lnb.quantile("^.*$", 0.5), n=lnb.count()).collect()
    plain = lnb.windows(FRAME, time="ts", key="carrier").sliding("20m", "10m")
    expected = plain.agg(s=lnb.sum("delay"), q=lnb.quantile("delay", 0.5), n=lnb.count()).collect()
    assert table.rows() == expected.rows()


def test_repr_says_what_the_query_is():
    query = lnb.windows(time="ts", key="carrier")
    assert repr(query) == "<windows over ts, by carrier: no windows yet; no aggregates yet>"
    full = query.sliding("1h30m", "10m").agg(n=lnb.count())
    assert repr(full) == "<windows over ts, by carrier: sliding 1h30m every 10m; n>"


def test_a_query_without_data_travels():
    query = lnb.windows(time="ts").tumbling("1h").agg(n=lnb.count())
    assert pickle.loads(pickle.dumps(query)).spec == query.spec


def good():
    return lnb.windows(FRAME, time="ts").tumbling("10m").agg(n=lnb.count())


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: lnb.windows(FRAME, time="ts").agg(n=lnb.count()).collect(), r"call \.tumbling\(size\) or \.sliding"),
        (lambda: lnb.windows(FRAME, time="ts").tumbling("1h").collect(), r"call \.agg\("),
        (lambda: lnb.windows(time="ts").tumbling("1h").agg(n=lnb.count()).collect(), "no data"),
        (lambda: good().agg(), "at least one aggregate"),
        (lambda: good().agg(n="count"), r"takes an aggregate such as lnb\.count\(\)"),
        (lambda: good().agg(n=lnb.count), "takes an aggregate"),
        (lambda: good().agg(window_start=lnb.count()), "two columns named 'window_start'"),
        (lambda: lnb.windows(FRAME, time="ts", key="carrier").agg(carrier=lnb.count()), "two columns named 'carrier'"),
        (lambda: lnb.windows(FRAME, time="ts", key=["carrier", "carrier"]), "two columns named 'carrier'"),
        (lambda: lnb.windows(FRAME, time="ts", key=[1]), "names of columns, not 1"),
        (lambda: lnb.windows(FRAME, time="tss").tumbling("1h").agg(n=lnb.count()).collect(), "did you mean 'ts'"),
        (lambda: lnb.windows(FRAME, time="ts", key="carier").tumbling("1h").agg(n=lnb.count()).collect(), "'carrier'"),
        (lambda: good().agg(n=lnb.mean("dellay")).collect(), "did you mean 'delay'"),
        (lambda: lnb.windows(FRAME, time="nothing").aside(), "unknown column 'nothing'"),
        (
            lambda: lnb.windows(FRAME, time="text").tumbling("1h").agg(n=lnb.count()).collect(),
            "parse it: .*to_datetime",
        ),
        (lambda: lnb.windows(FRAME, time="delay").tumbling("1h").agg(n=lnb.count()).collect(), "from_epoch"),
        (lambda: good().tumbling("0s"), "above zero"),
        (lambda: good().tumbling("-5m"), "above zero, not -5m"),
        (lambda: good().sliding("5m", "0s"), "every='0s' must be above zero"),
        (lambda: good().tumbling("10s", offset="20s"), "offset='0s' gives the same"),
        (lambda: good().sliding("1h", "10m", offset="-25m"), "offset='5m' gives the same"),
        (lambda: good().tumbling(10), "is not a duration"),
        (lambda: good().tumbling("1ns").collect(), "not a whole number of ticks"),
    ],
)
def test_wrong_queries_name_the_fix(make, message):
    with pytest.raises(lnb.WindowError, match=message):
        make()


def test_what_is_no_table_is_a_data_error():
    with pytest.raises(lnb.DataError, match="cannot read a int"):
        lnb.windows(3, time="ts").tumbling("1h").agg(n=lnb.count()).collect()
    with pytest.raises(lnb.DataError, match="there is no file"):
        lnb.windows("missing.parquet", time="ts").tumbling("1h").agg(n=lnb.count()).collect()
