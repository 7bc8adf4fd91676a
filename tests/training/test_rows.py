import dask.array as da
import dask.dataframe as dd
import numpy as np
import pandas as pd
import polars as pl
import pytest

import lepton_nb as lnb
from lepton_nb.training.feeds import later_feed
from lepton_nb.training.rows import training_rows

FRAME = pl.DataFrame({"a": [1, 2, 3], "b": [0.5, 1.5, 2.5], "c": [True, False, True], "y": [0, 1, 0]})


@pytest.mark.parametrize("convert", [pl.DataFrame.lazy, pl.DataFrame.to_arrow, lambda f: pd.DataFrame(f.to_dict())])
def test_every_kind_of_frame_gives_the_same_matrix(convert):
    rows, _ = training_rows(convert(FRAME), "y", "float32")
    assert rows.names == ("a", "b", "c")
    assert rows.features.dtype == np.float32
    assert rows.features.flags.c_contiguous
    np.testing.assert_array_equal(rows.features, [[1, 0.5, 1], [2, 1.5, 0], [3, 2.5, 1]])
    np.testing.assert_array_equal(rows.target, [0, 1, 0])


def test_float64_keeps_every_digit():
    rows, _ = training_rows(FRAME.with_columns(a=pl.lit(1 / 3)), "y", "float64")
    assert rows.features[0, 0] == 1 / 3


@pytest.mark.parametrize(
    ("frame", "target", "message"),
    [
        (FRAME, None, "give target="),
        (FRAME, "z", "unknown target column 'z'"),
        (FRAME.head(0), "y", "has no rows"),
        (FRAME.select("y"), "y", "no feature columns"),
        (FRAME.with_columns(a=pl.lit("x"), b=pl.lit("x")), "y", r"in a \(String\), b \(String\); lnb.prepare"),
        (FRAME.with_columns(y=pl.lit("x")), "y", r"the target 'y' is String; .*pl.col\('y'\).rank\('dense'\) - 1"),
        (FRAME.with_columns(a=None), "y", "holds only nulls in a; drop"),
        (FRAME.with_columns(y=None), "y", "holds only nulls in y"),
        (FRAME.with_columns(a=pl.Series([1, None, 3])), "y", "1 nulls in a"),
        (FRAME.with_columns(b=pl.Series([1.0, float("nan"), 3.0])), "y", "NaN or infinite values in b"),
        (FRAME.with_columns(y=pl.Series([1.0, float("inf"), 3.0])), "y", "NaN or infinite values in y"),
    ],
)  # fmt: skip
def test_bad_rows_are_refused_with_the_fix(frame, target, message):
    with pytest.raises(lnb.TrainingError, match=message):
        training_rows(frame, target, "float32")


def test_values_whose_sum_overflows_are_finite_all_the_same():
    rows, _ = training_rows(FRAME.with_columns(b=pl.lit(3e38)), "y", "float32")
    assert np.isfinite(rows.features).all()


def test_a_whole_preparation_is_refused_with_the_call_to_make():
    parts = lnb.prepare(pl.concat([FRAME] * 20), target="y")
    with pytest.raises(lnb.TrainingError, match=r"lnb.train\(model, data.train, validation=data.validation\)"):
        training_rows(parts, None, "float32")
    with pytest.raises(lnb.TrainingError, match="prepared for 'y'"):
        training_rows(parts.train, "a", "float32")


def test_later_rows_are_read_like_the_training_rows():
    _, reader = training_rows(FRAME, "y", "float32")
    later = reader.read(FRAME.select("c", "b", "a", extra=pl.lit("x")), need_target=False, what="the data")
    assert later.target is None
    np.testing.assert_array_equal(later.features[0], [1, 0.5, 1])


MANY = pl.concat([FRAME] * 20)


@pytest.mark.parametrize("prepared", [False, True])
def test_a_table_that_lacks_what_the_model_was_trained_with_is_told_and_what_it_has(prepared):
    frame = MANY.rename({"a": "height_cm", "b": "width_cm"})
    _, reader = training_rows(lnb.prepare(frame, target="y").train if prepared else frame, "y", "float32")
    other = frame.rename({"width_cm": "Width"}).with_columns(id=0)
    wanted = "lacks the column 'width_cm', which the model was trained with; .* first: 'Width', 'height_cm'"
    with pytest.raises(lnb.TrainingError, match=f"the data {wanted}") as caught:
        reader.read(other, need_target=False, what="the data")
    assert caught.value.missing == ("width_cm",)
    assert set(caught.value.known) == set(other.columns)
    with pytest.raises(lnb.TrainingError, match="the data lacks the columns 'height_cm', 'c', which the model was"):
        reader.read(frame.drop("height_cm", "c"), need_target=False, what="the data")
    with pytest.raises(lnb.TrainingError, match="the test data lacks the column 'y', which is the target; "):
        reader.read(frame.drop("y"), need_target=True, what="the test data")
    with pytest.raises(lnb.TrainingError, match=f"the validation data {wanted}"):
        later_feed(reader, dd.from_pandas(other.to_pandas(), npartitions=2))


def test_of_many_columns_that_are_there_the_most_similar_are_told():
    _, reader = training_rows(FRAME, "y", "float32")
    many = FRAME.rename({"a": "A"}).with_columns(pl.lit(0).alias(f"other{i:02}") for i in range(20))
    with pytest.raises(lnb.TrainingError, match="first: 'A', 'b', .*'other04' and 16 more$"):
        reader.read(many, need_target=False, what="the data")


def test_prepared_rows_with_other_features_are_refused():
    _, reader = training_rows(lnb.prepare(MANY, target="y").train, None, "float32")
    other = lnb.prepare(MANY.drop("c"), target="y")
    with pytest.raises(lnb.TrainingError, match="missing c"):
        reader.read(other.test, need_target=True, what="the test data")


def test_rows_of_another_preparation_are_refused():
    parts = lnb.prepare(MANY, target="y")
    _, reader = training_rows(parts.train, None, "float32")
    shifted = lnb.prepare(MANY.with_columns(pl.col("a") + 1000), target="y")
    for need_target in (True, False):
        with pytest.raises(lnb.TrainingError, match="the test data was standardised with other figures"):
            reader.read(shifted.test, need_target=need_target, what="the test data")
    again = lnb.prepare(MANY, target="y")
    np.testing.assert_array_equal(
        reader.read(again.test, need_target=True, what="the test data").features, parts.test.features
    )


def test_rows_that_were_prepared_for_another_target_can_be_predicted_but_not_judged():
    frame = MANY.with_columns(z=1 - pl.col("y"))
    features = ["a", "b", "c"]
    _, reader = training_rows(lnb.prepare(frame, target="y", features=features).train, None, "float32")
    other = lnb.prepare(frame, target="z", features=features)
    with pytest.raises(lnb.TrainingError, match="prepared for the target 'z', the training rows for 'y'") as caught:
        reader.read(other.test, need_target=True, what="the test data")
    assert (caught.value.target, caught.value.prepared) == ("y", "z")
    assert len(reader.read(other.test, need_target=False, what="the data")) == len(other.test)


def test_prepared_rows_are_refused_where_the_training_rows_were_a_plain_frame():
    _, reader = training_rows(FRAME, "y", "float32")
    parts = lnb.prepare(MANY, target="y")
    with pytest.raises(lnb.TrainingError, match="the test data was prepared, but the training rows were a frame"):
        reader.read(parts.test, need_target=True, what="the test data")


def test_a_whole_preparation_is_no_later_rows():
    parts = lnb.prepare(MANY, target="y")
    _, reader = training_rows(parts.train, None, "float32")
    with pytest.raises(lnb.TrainingError, match=r"the validation data is all of .* such as parts.validation"):
        reader.read(parts, need_target=True, what="the validation data")


ARRAYS = np.zeros((5, 4)), np.zeros(5)


@pytest.mark.parametrize(
    ("data", "need_target", "message"),
    [
        (
            np.zeros((5, 3)),
            False,
            "a row of the data has 3 features, and the model was trained on rows with 4 features",
        ),
        (
            (np.zeros((5, 1)), ARRAYS[1]),
            True,
            "a row of the data has 1 feature, and the model was trained on rows with 4",
        ),
        (
            np.zeros((5, 4, 2)),
            False,
            r"has the shape \(4, 2\), and the model was trained on rows with 4 features; give",
        ),
        (
            np.zeros(4),
            False,
            r"the shape \(4,\), as a single row has; give \(rows, ...\), for one row features\[None\]",
        ),
        (np.zeros(3), False, r"the shape \(3,\); give \(rows, ...\), for one number a row"),
        (FRAME, False, "is a DataFrame, .* or the features alone, in arrays, each row with 4 features"),
        (np.zeros((5, 4)).tolist(), False, "is a list, .* in arrays, each row with 4 features"),
    ],
)
def test_arrays_of_another_width_than_those_of_the_training_are_told(data, need_target, message):
    _, reader = training_rows(ARRAYS, None, "float32")
    with pytest.raises(lnb.TrainingError, match=message):
        reader.read(data, need_target=need_target, what="the data")


def test_a_dask_array_of_another_width_is_told_alike():
    _, reader = training_rows(ARRAYS, None, "float32")
    with pytest.raises(
        lnb.TrainingError, match="a row of the validation data has 3 features, and the model was trained"
    ):
        later_feed(reader, (da.zeros((5, 3)), da.zeros(5)))
