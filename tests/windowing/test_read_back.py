"""A query as the choices that make it: there and back."""

import pytest

import lepton_nb as lnb
from lepton_nb.windowing.read_back import choices_of

QUERY = lnb.windows(time="at", key=["a", "b"])


@pytest.mark.parametrize(
    "query",
    [
        QUERY.tumbling("1h").agg(rows=lnb.count()),
        QUERY.tumbling("1w", tz="Europe/Paris").agg(n=lnb.count("x")),
        QUERY.tumbling("1mo", offset="3d").agg(rows=lnb.count()),
        QUERY.sliding("6h", every="1h")
        .lateness(out_of_order="3h", allowed="1d")
        .agg(mean_delay=lnb.mean("delay"), flights=lnb.count(), p95_delay=lnb.quantile("delay", 0.95)),
        QUERY.cumulating("1d", every="2h", offset="4h").agg(sum_x=lnb.sum("x"), last=lnb.last("x")),
        QUERY.session("30m").agg(top=lnb.top_k("x", 5), distinct_x=lnb.distinct("x", error=0.02)),
        QUERY.rolling("1h").agg(std_x=lnb.std("x"), var_x=lnb.var("x")),
        QUERY.rolling(rows=20).agg(min_x=lnb.min("x")),
        QUERY.counting(20, every=5).agg(max_x=lnb.max("x")),
    ],
    ids=repr,
)
def test_choices_make_the_query_again(query):
    assert choices_of(query.spec).query().spec == query.spec


def test_what_has_no_choices_is_none():
    assert choices_of(QUERY.tumbling("1h").agg(x=lnb.rows("x")).spec) is None
    assert choices_of(QUERY.sliding_inclusive(2, "1h").agg(rows=lnb.count()).spec) is None
