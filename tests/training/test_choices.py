from datetime import datetime, timedelta

import numpy as np
import polars as pl
import pytest

import lepton_nb as lnb
from lepton_nb.training import choices

ROWS = 400
RANDOM = np.random.default_rng(0)
TABLE = pl.DataFrame(
    {
        "at": [datetime(2024, 1, 1) + timedelta(hours=hour) for hour in range(ROWS)],
        "carrier": RANDOM.choice(["UA", "AA"], ROWS),
        "distance": RANDOM.random(ROWS),
        "stops": RANDOM.integers(0, 4, ROWS),
        "late": RANDOM.random(ROWS) < 0.3,
        "route": [["a", "b"]] * ROWS,
    }
)


def test_a_table_offers_what_can_be_learnt_from_learnt_and_split_by():
    offer = choices.look(TABLE)
    assert (offer.kind, offer.target) == ("table", None)
    assert offer.targets == ("late", "distance", "stops", "carrier")
    assert offer.features("late") == ("carrier", "distance", "stops")
    assert offer.times == ("at",)


def test_files_are_looked_at_without_being_read(tmp_path):
    TABLE.write_parquet(tmp_path / "flights.parquet")
    assert choices.look(tmp_path / "flights.parquet") == choices.look(TABLE)
    with pytest.raises(lnb.DataError):
        choices.look(3)


def test_prepared_data_and_arrays_are_settled():
    prepared = lnb.prepare(TABLE.drop("route"), target="late", time="at")
    assert choices.look(prepared) == choices.Offer("parts", {}, "late")
    assert choices.look(prepared.test) == choices.Offer("prepared", {}, "late")
    assert choices.parts(prepared) == (*prepared, None)
    pair = (np.ones((3, 2)), np.ones(3))
    assert choices.look(pair).kind == "arrays"
    assert choices.parts(pair, test=pair) == (pair, None, pair, None)


def test_a_table_is_prepared_and_split_by_time():
    found = choices.parts(TABLE, target="late", time="at", test=0.25)
    assert [len(part) for part in found[:3]] == [260, 40, 100]
    assert found.target is None
    assert found.test.rows["at"].min() > found.train.rows["at"].max()
    assert {column.name for column in found.train.transform.columns} == {"carrier", "distance", "stops"}
    few = choices.parts(TABLE, target="late", features=["late", "distance"])
    assert few.train.feature_names == ("distance",)


def test_a_table_can_be_taken_as_it_is():
    found = choices.parts(TABLE, target="late", features=["distance", "stops"], prepared=False, test=TABLE)
    assert found.train.columns == ["distance", "stops", "late"]
    assert (found.validation, found.test is TABLE, found.target) == (None, True, "late")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "choose the target"),
        ({"target": "lat"}, "did you mean 'late'"),
        ({"target": "late", "features": ["stop"]}, "did you mean 'stops'"),
    ],
)
def test_a_table_needs_a_target_that_it_has(options, message):
    with pytest.raises(lnb.LeptonError, match=message):
        choices.parts(TABLE, **options)


@pytest.mark.parametrize(
    ("values", "task"),
    [
        ([True, False], ("binary", None)),
        ([0, 1, None], ("binary", None)),
        ([0.0, 1.0, 2.0], ("multiclass", 3)),
        ([1, 2, 3], ("regression", None)),
        ([0, 1, 3], ("regression", None)),
        ([*range(21)], ("regression", None)),
        ([0.5, 1.0], ("regression", None)),
    ],
)
def test_the_target_tells_the_likely_task(values, task):
    assert choices.likely_task(pl.DataFrame({"y": values}), "y") == task
    if None not in values:
        assert choices.likely_task((np.ones(len(values)), np.array(values, dtype=float)), None) == task


def test_the_likely_task_of_prepared_rows(tmp_path):
    assert choices.likely_task(lnb.prepare(TABLE.drop("route"), target="late", time="at").train, None)[0] == "binary"
    TABLE.drop("route").write_parquet(tmp_path / "flights.parquet")
    streamed = lnb.prepare(tmp_path / "flights.parquet", target="stops", time="at", stream=True)
    assert choices.likely_task(streamed.train, None) == ("multiclass", 4)
