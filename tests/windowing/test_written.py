"""A query as Python text: run, the text makes the same query."""

import polars as pl
import pytest

import lepton_nb as lnb
from lepton_nb.windowing.written import query_code

base = lnb.windows(time="ts", key="key").agg(n=lnb.count())
QUERIES = {
    "tumbling": base.tumbling("1h"),
    "offset and zone": base.tumbling("2d", offset="-1d", tz="Europe/Paris"),
    "weeks": base.tumbling("2w"),
    "days of a week": base.tumbling("7d"),
    "months": base.tumbling("1q", offset="1mo"),
    "sliding": base.sliding("6h", every="90m", offset="1m"),
    "sliding over gaps": base.sliding("1h", every="2h"),
    "cumulating": base.cumulating("1y", every="1mo"),
    "session": base.session("1h30m"),
    "rolling": base.rolling("250ms"),
    "rolling rows": base.rolling(rows=5),
    "counting": base.counting(5),
    "counting every": base.counting(5, every=2),
    "fixed": base.fixed(5, "1m"),
    "both ends": base.sliding_inclusive(5, "1m"),
    "no key": lnb.windows(time='a "quoted" column\n').tumbling("1h").agg(n=lnb.count("ü")),
    "two keys": lnb.windows(time="ts", key=["a", "b"]).tumbling("1h").agg(n=lnb.count()),
    "lateness": base.tumbling("1h").lateness(out_of_order="5s"),
    "both latenesses": base.tumbling("1h").lateness(out_of_order="5s", allowed="1m30s"),
    "unfinished": lnb.windows(time="ts"),
    "aggregates": base.tumbling("1h").agg(
        n=lnb.count(), known=lnb.count("v"), sum=lnb.sum("v"), mean=lnb.mean("v"), min=lnb.min("v"), max=lnb.max("v"),
        var=lnb.var("v"), std=lnb.std("v", ddof=0), first=lnb.first("v"), last=lnb.last("v"),
        p95=lnb.quantile("v", 0.95), about=lnb.quantile("v", 0.5, error=0.01), different=lnb.distinct("v"),
        nearly=lnb.distinct("v", error=0.02), top=lnb.top_k("v", 3), largest=lnb.top_k("v", 2, by="value"),
        rows=lnb.rows("v", "w"),
    ),
    "names that are no names": base.tumbling("1h").agg(**{"mean delay": lnb.mean("v"), "class": lnb.count()}),
    "a name that methods have": base.tumbling("1h").agg(**{"n": lnb.count(), "None": lnb.count()}),
}  # fmt: skip


@pytest.mark.parametrize("name", QUERIES)
def test_the_text_makes_the_same_query(name):
    made = eval(query_code(QUERIES[name].spec), {"lnb": lnb})
    assert made.spec == QUERIES[name].spec


def test_it_reads_as_a_user_writes_it():
    query = base.sliding("6h", every="1h").lateness(out_of_order="5s")
    query = query.agg(flights=lnb.count(), p95=lnb.quantile("delay", 0.95))
    assert query_code(query.spec, "flights") == (
        "(\n"
        '    lnb.windows(flights, time="ts", key="key")\n'
        '    .sliding("6h", every="1h")\n'
        '    .lateness(out_of_order="5s")\n'
        "    .agg(\n"
        "        flights=lnb.count(),\n"
        '        p95=lnb.quantile("delay", 0.95),\n'
        "    )\n"
        ")"
    )
    assert query_code(base.spec) == '(\n    lnb.windows(time="ts", key="key")\n    .agg(n=lnb.count())\n)'


def test_a_users_own_functions_are_left_to_the_user():
    own = lnb.custom("v", init=lambda: 0, add=max, merge=max, dtype=pl.Int64)
    assert 'lnb.custom("v", init=..., add=..., merge=..., finish=...)' in query_code(base.agg(own=own).spec)
