"""The comparison that `make test-engines` rests on sees what differs."""

from datetime import datetime
from pathlib import Path

import polars as pl
import pytest

FOLDER = Path(__file__).resolve().parent


@pytest.fixture
def difference(monkeypatch):
    monkeypatch.syspath_prepend(FOLDER)
    from results import difference

    return difference


def result(**columns):
    """Two rows; `columns` replace some of theirs."""
    days = [datetime(2020, 1, 1), datetime(2020, 1, 2)]
    rows = {"key": ["a", "b"], "window_start": days, "window_end": days, "n": [1, 2], "mean": [0.5, None]}
    return pl.DataFrame(rows | columns)


def test_order_types_and_last_digits_do_not_matter(difference):
    theirs = result(mean=[0.5 + 1e-12, None]).reverse().with_columns(pl.col("n").cast(pl.Int32))
    theirs = theirs.with_columns(pl.col("window_start").dt.cast_time_unit("ms").dt.replace_time_zone("UTC"))
    assert difference(theirs, result(), ["key"]) == ""


@pytest.mark.parametrize(
    ("theirs", "said"),
    [
        (result(n=[1, 3]), "column 'n' differs in 1 of 2 rows"),
        (result(mean=[0.501, None]), "0.5 here, 0.501 there"),
        (result(mean=[0.5, 0.0]), "None here, 0.0 there"),
        (result(mean=[float("nan"), None]), "0.5 here, nan there"),
        (result(key=["a", "c"]), "only there: {'key': 'c'"),
        (result().head(1), "2 rows here, 1 there"),
        (pl.concat([result(), result()]), "2 rows here, 4 there"),
        (result(n=["1", "2"]), "column 'n' is String there, Int64 here"),
        (result().drop("n"), "columns ["),
    ],
)
def test_what_differs_is_said(difference, theirs, said):
    assert said in difference(theirs, result(), ["key"])
