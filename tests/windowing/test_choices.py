"""A query out of plain values: the same as in code, and errors that name the field."""

from datetime import UTC, datetime

import polars as pl
import pytest

import lepton_nb as lnb
from lepton_nb.windowing.choices import FUNCTIONS, KINDS, AggregateRow, QueryChoices

SCHEMA = {
    "ts": pl.Datetime("us", "UTC"),
    "day": pl.Date(),
    "key": pl.String(),
    "v": pl.Float64(),
    "text": pl.String(),
}


def chosen(**changes):
    return QueryChoices(**{"time": "ts", "keys": ["key"], "kind": "tumbling", "sizes": {"size": "1h"}, **changes})


def rows(*given):
    return {"aggregates": [AggregateRow(*row) for row in given]}


def test_plain_values_make_the_query_that_code_makes():
    made = QueryChoices(
        time="ts",
        keys=["key", "text"],
        kind="sliding",
        sizes={"size": "6h", "every": " 1h ", "offset": "", "tz": None},
        out_of_order="5s",
        allowed="1m",
        aggregates=[
            AggregateRow(),
            AggregateRow("count", "v"),
            AggregateRow("mean", "v", "delay"),
            AggregateRow("quantile", "v", parameter=0.995),
            AggregateRow("top_k", "text", parameter=3.0),
        ],
    ).query(SCHEMA)
    code = (
        lnb.windows(time="ts", key=["key", "text"])
        .sliding("6h", every="1h")
        .lateness(out_of_order="5s", allowed="1m")
        .agg(
            rows=lnb.count(),
            count_v=lnb.count("v"),
            delay=lnb.mean("v"),
            p99_5_v=lnb.quantile("v", 0.995),
            top_k_text=lnb.top_k("text", 3),
        )
    )
    assert made.spec == code.spec


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_windows_takes_its_defaults(kind):
    sizes = {parameter.name: parameter.default for parameter in KINDS[kind].parameters}
    query = chosen(kind=kind, sizes=sizes).query(SCHEMA)
    frame = pl.DataFrame({"ts": [datetime(2020, 1, 1, tzinfo=UTC)] * 20, "key": "a"})
    stream = query.stream(frame)
    stream.wait()
    assert stream.table().height


@pytest.mark.parametrize("function", FUNCTIONS)
def test_every_aggregate_takes_its_default(function):
    known = FUNCTIONS[function]
    row = AggregateRow(function, "v", "", known.parameter and known.parameter.default)
    assert dict(chosen(aggregates=[row]).query(SCHEMA).spec.aggregates)[row.result_name].name == function


WRONG = {
    "no time": ({"time": ""}, "time", "Time column: choose the column"),
    "no such time": ({"time": "tss"}, "time", "Time column: unknown column 'tss'; did you mean 'ts'?"),
    "no time at all": ({"time": "v"}, "time", "Time column: .*'v'"),
    "no such key": ({"keys": ["kee"]}, "keys", "Keys: unknown column 'kee'; did you mean 'key'?"),
    "no such kind": ({"kind": "tumblin"}, "kind", "Windows: .*did you mean 'tumbling'?"),
    "no size": ({"sizes": {}}, "size", "Size: how long a window is"),
    "not a size": ({"sizes": {"size": "an hour"}}, "size", "Size: the length 'an hour' is not a duration"),
    "no such size": ({"sizes": {"size": "1h", "evry": "1h"}}, "evry", "Windows: unknown .*'evry'"),
    "no step": ({"kind": "sliding", "sizes": {"size": "1h"}}, "every", "Every: a new window"),
    "not a step": ({"kind": "cumulating", "sizes": {"size": "1h", "every": "x"}}, "every", "Step: .*'x' is not a dur"),
    "sizes that do not fit": ({"kind": "cumulating", "sizes": {"size": "1h", "every": "25m"}}, "size", "Windows: .*mu"),
    "not a number": ({"kind": "counting", "sizes": {"rows": "many"}}, "rows", "Rows: 'many' is not a whole number"),
    "no rows": ({"kind": "counting", "sizes": {"rows": 0}}, "rows", "Windows: rows=0 must be a whole number"),
    "no such zone": ({"sizes": {"size": "1d", "tz": "Europe/Pari"}}, "size", "Windows: unknown time zone"),
    "hours of days": ({"time": "day"}, "size", "Windows: "),
    "not a lateness": ({"out_of_order": "soon"}, "out_of_order", "Out of order: out_of_order 'soon'"),
    "below zero": ({"allowed": "-5s"}, "allowed", "Allowed lateness: allowed='-5s' must not be negative"),
    "lateness of rows": (
        {"kind": "counting", "sizes": {"rows": 5}, "allowed": "1m"}, "allowed", "Allowed lateness: windows of rows",
    ),
    "no aggregate": ({"aggregates": []}, "aggregates", "Aggregates: nothing is computed yet"),
    "no such aggregate": (rows(("men", "v")), "aggregates", "Aggregate 1: .*'men'; did you mean 'mean'?"),
    "no column": (rows(("count",), ("mean",)), "aggregates", "Aggregate 2: mean needs a column"),
    "no such column": (rows(("mean", "w"),), "aggregates", "Aggregate 1: unknown column 'w'"),
    "not numbers": (rows(("count",), ("mean", "text")), "aggregates", "Aggregate 2: .*'text'"),
    "no quantile": (rows(("quantile", "v")), "aggregates", "Aggregate 1: quantile needs a value for “Quantile”"),
    "not a quantile": (rows(("quantile", "v", "", 95)), "aggregates", "Aggregate 1: .*from 0 to 1"),
    "half a value": (rows(("top_k", "v", "", 2.5)), "aggregates", "Aggregate 1: .*whole number"),
    "more than it takes": (rows(("mean", "v", "", 2)), "aggregates", "Aggregate 1: mean takes no further value"),
    "twice": (rows(("mean", "v"), ("mean", "v")), "aggregates", "Aggregate 2: 'mean_v' is there already"),
    "a taken name": (rows(("mean", "v", "window_end")), "aggregates", "Aggregates: .*'window_end'"),
    "the key's name": (rows(("mean", "v", "key")), "aggregates", "Aggregates: .*'key'"),
}  # fmt: skip


@pytest.mark.parametrize("name", WRONG)
def test_an_error_names_its_field(name):
    changes, field, message = WRONG[name]
    with pytest.raises(lnb.LeptonError, match=message.replace("?", "\\?")) as caught:
        chosen(**changes).query(SCHEMA)
    assert caught.value.field == field
    assert caught.value.message.startswith(message[: message.index(":")])


def test_without_types_only_the_query_itself_is_checked():
    assert chosen(time="anything").query().spec.time == "anything"
