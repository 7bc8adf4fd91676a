import re
from datetime import UTC, date, datetime, timedelta

import numpy as np
import polars as pl
import pytest

from lepton_nb.data.prepare import prepare
from lepton_nb.errors import DataError

START = datetime(2020, 1, 1, tzinfo=UTC)


def table(rows=100, **columns):
    rng = np.random.default_rng(0)
    base = {
        "when": [START + timedelta(hours=i) for i in range(rows)],
        "size": rng.normal(10, 3, rows),
        "kind": [("red", "green", "blue")[i % 3] for i in range(rows)],
        "late": rng.random(rows) < 0.3,
    }
    return pl.DataFrame(base | columns)


def test_a_split_by_time_keeps_the_order_of_time_and_every_row():
    train, validation, test = prepare(table().sample(fraction=1, shuffle=True, seed=1), target="late", time="when")
    assert [len(train), len(validation), len(test)] == [70, 10, 20]
    assert train.rows["when"].max() < validation.rows["when"].min()
    assert validation.rows["when"].max() < test.rows["when"].min()


def test_a_part_begins_at_its_moment_included():
    parts = prepare(
        table(), target="late", time="when", validation=START + timedelta(hours=50), test=START + timedelta(hours=80)
    )
    assert parts.validation.rows["when"][0] == START + timedelta(hours=50)
    assert parts.test.rows["when"][0] == START + timedelta(hours=80)
    assert [len(part) for part in parts] == [50, 30, 20]


def test_rows_of_one_moment_are_not_divided():
    days = [START + timedelta(days=i // 30) for i in range(100)]
    parts = prepare(table(when=days), target="late", time="when", validation=0.25, test=0.15)
    moments = [set(part.rows["when"]) for part in parts]
    assert moments[0].isdisjoint(moments[1])
    assert moments[1].isdisjoint(moments[2])
    assert sum(len(part) for part in parts) == 100


def test_a_random_split_follows_the_seed_and_loses_no_row():
    numbered = table(number=range(100))
    first, again, other = (
        prepare(numbered, target="late", time=None, seed=seed, features=["size"]) for seed in (1, 1, 2)
    )
    drawn = [part.rows["number"].to_list() for part in first]
    assert drawn == [part.rows["number"].to_list() for part in again]
    assert drawn != [part.rows["number"].to_list() for part in other]
    assert sorted(number for rows in drawn for number in rows) == list(range(100))
    assert [len(rows) for rows in drawn] == [70, 10, 20]


def test_standardising_is_fitted_on_the_training_part_alone():
    far = table(size=[1.0] * 35 + [3.0] * 35 + [1000.0] * 30)
    train, validation, test = prepare(far, target="late", time="when", features=["size"], clip_sigmas=None)
    assert train.features.mean() == 0
    assert train.features.std() == 1
    assert set(np.unique(train.features)) == {-1, 1}
    assert test.features[0, 0] == (1000 - 2) / 1
    assert validation.transform is train.transform


def test_outliers_are_moved_to_the_limit():
    spiky = table(size=[0.0, 1.0] * 35 + [1e9] * 30)
    assert prepare(spiky, target="late", time="when", features=["size"], clip_sigmas=5.0).test.features.max() == 5


def test_missing_numbers_become_the_training_median_and_are_flagged():
    sizes = [1.0, 2.0, None, float("nan"), float("inf"), 4.0, 9.0] * 10 + [None] * 30
    train, _, test = prepare(table(size=sizes), target="late", time="when", features=["size"], clip_sigmas=None)
    assert train.feature_names == ("size", "size missing")
    there = np.array([1.0, 2.0, 4.0, 9.0])
    expected = (np.median(there) - there.mean()) / there.std()
    assert np.allclose(test.features[:, 0], expected, atol=1e-6)
    assert (test.features[:, 1] == 1).all()
    assert train.features[:7, 1].tolist() == [0, 0, 1, 1, 1, 0, 0]


def test_text_becomes_one_column_a_category_of_the_training_part():
    kinds = ["red", "green"] * 34 + ["rare", None] + ["blue", "red", None] * 10
    train, _, test = prepare(table(kind=kinds), target="late", time="when", features=["kind"], min_rows=2)
    assert train.feature_names == ("kind = green", "kind = red", "kind (other)")
    assert (train.features.sum(axis=1) == 1).all()
    assert train.features[:2].tolist() == [[0, 1, 0], [1, 0, 0]]
    assert train.features[68:70, 2].tolist() == [1, 1]
    assert test.features[test.rows["kind"].eq_missing("blue").to_numpy(), 2].all()


def test_a_category_that_is_called_other_is_like_any_other():
    train = prepare(table(kind=["other", "red"] * 50), target="late", time="when", features=["kind"]).train
    assert train.feature_names == ("kind = other", "kind = red", "kind (other)")
    assert train.features[:2].tolist() == [[1, 0, 0], [0, 1, 0]]


def test_features_have_the_asked_precision_and_c_order():
    for precision in ("float32", "float64"):
        train = prepare(table(), target="late", time="when", precision=precision).train
        assert train.features.dtype == precision
        assert train.target_values.dtype == precision
        assert train.features.flags.c_contiguous
        assert train.features.shape == (70, len(train.feature_names))


def test_the_transform_serves_new_rows_with_and_without_a_target():
    train, _, test = prepare(table(), target="late", time="when")
    new = train.transform(table().tail(20).drop("late"))
    assert new.target_values is None
    assert np.array_equal(new.features, test.features)
    with pytest.raises(DataError, match="the target 'late' is String"):
        train.transform(table().with_columns(pl.col("late").cast(pl.String)))
    with pytest.raises(DataError, match="the table lacks the column 'size', which the preparation was made for"):
        train.transform(table().drop("size"))
    with pytest.raises(DataError, match="column 'size' held numbers in training and is String now"):
        train.transform(table().with_columns(pl.col("size").cast(pl.String)))


def test_rows_without_a_target_or_time_are_left_out():
    parts = prepare(table(late=[1.0, 0.0, None, float("nan")] * 25), target="late", time="when")
    assert sum(len(part) for part in parts) == 50
    assert [part.left_out for part in parts] == [50, 50, 50]
    assert "50 rows of the source left out" in repr(parts.train)
    untimed = table().with_columns(when=pl.when(pl.col("size") > 10).then("when"))
    parts = prepare(untimed, target="late", time="when", features=["kind"])
    assert sum(len(part) for part in parts) == 100 - parts.test.left_out == 100 - untimed["when"].null_count()
    fresh = parts.transform(table(rows=4).with_columns(pl.Series("late", [None, 1.0, 0.0, float("nan")])))
    assert 4 - len(fresh) == fresh.left_out == 2


def test_a_date_column_splits_at_a_date():
    days = [date(2020, 1, 1) + timedelta(days=i) for i in range(100)]
    parts = prepare(table(when=days), target="late", time="when", validation=date(2020, 2, 1), test=date(2020, 3, 1))
    assert [len(part) for part in parts] == [31, 29, 40]


@pytest.mark.parametrize(
    ("change", "options", "message"),
    [
        ({}, {"target": "lat"}, "unknown column 'lat'; did you mean 'late'"),
        ({}, {"time": "whenn"}, "did you mean 'when'"),
        ({}, {"features": ["sise"]}, "did you mean 'size'"),
        ({}, {"features": ["size", "late"]}, "the target 'late' is among the features"),
        ({}, {"features": []}, "no feature to learn from"),
        ({"kind": ["a"] * 100}, {"target": "kind"}, "all rows have the same value of the target 'kind'"),
        ({"late": [None] * 100}, {}, "the target 'late' is Null"),
        ({"late": pl.Series([None] * 100, dtype=pl.Float64)}, {}, "no row has a value of the target"),
        ({"size": pl.Series([None] * 100, dtype=pl.Float64)}, {}, "column 'size' has no value in the training part"),
        ({"size": [float("nan")] * 100}, {}, "column 'size' has no finite value"),
        ({"day": [date(2020, 1, 1)] * 100}, {}, "column 'day' is Date and cannot be a feature"),
        ({"id": [f"id {i}" for i in range(100)]}, {}, "no value of column 'id' is in 2 training rows or more"),
        ({}, {"test": 0}, "test=0 is not a share"),
        ({}, {"test": 1.5}, "test=1.5 is not a share"),
        ({}, {"validation": 0.9, "test": 0.1}, "the training part has no rows"),
        ({}, {"test": START - timedelta(days=1)}, "the training part has no rows"),
        ({}, {"test": datetime(2020, 1, 3)}, "has no time zone; give it one"),
        ({}, {"time": None, "features": ["size"], "test": START}, "name the column with time="),
        ({}, {"test": "2020-01-05"}, "neither a share nor a moment"),
        ({}, {"precision": "float16"}, "unknown precision 'float16'"),
        ({}, {"clip_sigmas": -1.0}, "give a number above 0"),
        ({}, {"features": "size"}, "is one name; give a list"),
        ({}, {"features": ["size", "size"]}, "the feature 'size' is given twice"),
        ({"size missing": [1] * 100, "size": [None, 1.0] * 50}, {}, "would both be called 'size missing'"),
        ({}, {"time": "kind"}, "the time column 'kind' is String"),
    ],
)
def test_bad_input_is_refused_with_the_fix(change, options, message):
    with pytest.raises(DataError, match=re.escape(message)):
        prepare(table(**change), **{"target": "late", "time": "when"} | options)


def test_an_empty_table_is_refused():
    with pytest.raises(DataError, match="the table has no rows"):
        prepare(table().head(0), target="late", time="when")
