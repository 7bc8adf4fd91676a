import numpy as np
import pandas as pd
import polars as pl
import pytest

import lepton_nb as lnb
from lepton_nb.data.memory import available_bytes
from lepton_nb.training import feeds
from lepton_nb.training.batches import TargetFacts, open_source
from lepton_nb.training.feeds import feed, later_feed, target_facts
from lepton_nb.training.rows import training_rows

FRAME = pl.DataFrame({"a": np.arange(90) / 2, "b": np.arange(90) % 7, "y": np.arange(90) % 2})
IMAGES = np.random.default_rng(0).integers(0, 256, (30, 4, 4, 3)).astype(np.uint8)
LABELS = np.arange(30) % 3


# ---- arrays


def test_arrays_of_numbers_get_the_precision_of_the_run():
    found = feed((np.arange(12).reshape(6, 2), np.arange(6) % 2 == 0), None, "float64")
    assert (len(found), found.shape) == (6, (2,))
    assert sorted(found.arrays) == ["train_features", "train_target"]
    assert {array.dtype for array in found.arrays.values()} == {np.dtype(np.float64)}
    np.testing.assert_array_equal(found.arrays["train_target"], [1, 0, 1, 0, 1, 0])


def test_images_travel_as_they_are_and_reach_the_model_divided():
    found = feed((IMAGES, LABELS), None, "float32")
    assert found.arrays["train_features"] is IMAGES
    assert found.arrays["train_divisor"] == 255
    assert found.arrays["train_divisor"].dtype == np.float32
    rows = found.reader.read(IMAGES[:2], need_target=False, what="the data")
    numbers = found.reader.numbers(rows.features)
    assert numbers.dtype == np.float32
    np.testing.assert_array_equal(numbers, IMAGES[:2].astype(np.float32) / np.float32(255))


def test_small_whole_numbers_in_rows_are_numbers():
    found = feed((np.full((4, 3), 200, np.uint8), [0, 1, 0, 1]), None, "float32")
    assert "train_divisor" not in found.arrays
    assert (found.arrays["train_features"] == 200).all()
    assert found.arrays["train_features"].dtype == np.float32


@pytest.mark.parametrize("kind", [np.asarray, pd.DataFrame, pl.DataFrame, np.asfortranarray, lambda x: x.tolist()])
def test_what_becomes_an_array_is_taken_for_one(kind):
    values = np.arange(12.0).reshape(6, 2)
    rows, reader = training_rows((kind(values), pd.Series(range(6))), None, "float32")
    np.testing.assert_array_equal(rows.features, values)
    np.testing.assert_array_equal(rows.target, range(6))
    assert (rows.names, reader.row_shape) == ((), (2,))


def test_a_column_of_targets_is_one_target_a_row_and_more_are_steps():
    features = np.zeros((6, 2))
    assert training_rows((features, np.zeros((6, 1))), None, "float32")[0].target.shape == (6,)
    assert training_rows((features, np.zeros((6, 5))), None, "float32")[0].target.shape == (6, 5)


X, Y = np.zeros((6, 2)), np.zeros(6)


@pytest.mark.parametrize(
    ("data", "target", "message"),
    [
        (X, None, r"features alone; give \(features, target\)"),
        ((X, Y), "y", "names a column, and the data are arrays; leave target out"),
        ((X[:, 0], Y), None, r"have the shape \(6,\); give \(rows, ...\).*reshape\(-1, 1\)"),
        ((X[:0], Y[:0]), None, "has no rows"),
        ((X[:, :0], Y), None, "which holds no number"),
        ((X, Y[:5]), None, "the target of the training data has 5 rows, the features have 6"),
        ((X, 1.0), None, "is a single value"),
        ((X.astype(str), Y), None, "hold <U32, not numbers"),
        ((X, np.array(["a"] * 6)), None, "the target of the training data hold <U1, not numbers"),
        (([[1.0], [1.0, 2.0]], [0, 1]), None, "cannot be read as an array"),
        ((np.where(np.arange(12).reshape(6, 2) == 7, np.nan, 1), Y), None, r"first in row 3 \(from 0\)"),
        ((X, np.where(np.arange(6) == 4, np.inf, 1)), None, r"target of the training data .* row 4 \(from 0\)"),
    ],
)
def test_arrays_that_cannot_be_learnt_from_are_refused_with_the_fix(data, target, message):
    with pytest.raises(lnb.TrainingError, match=message):
        feed(data, target, "float32")


def test_values_whose_sum_overflows_are_finite_all_the_same():
    assert len(feed((np.full((6, 2), 3e38), Y), None, "float32")) == 6


def test_later_arrays_are_read_like_the_training_rows():
    _, images = training_rows((IMAGES, LABELS), None, "float32")
    with pytest.raises(lnb.TrainingError, match="training rows were uint8 images, and the data is not uint8"):
        images.read(IMAGES / 255, need_target=False, what="the data")
    with pytest.raises(
        lnb.TrainingError, match=r"has the shape \(2, 4, 3\), and the model was trained on .* \(4, 4, 3\)"
    ):
        images.read(IMAGES[:, :2], need_target=False, what="the data")
    with pytest.raises(lnb.TrainingError, match="the test data is features alone"):
        images.read(IMAGES, need_target=True, what="the test data")
    with pytest.raises(lnb.TrainingError, match="the data is a DataFrame, and the training rows were arrays"):
        images.read(FRAME, need_target=False, what="the data")
    _, floats = training_rows((IMAGES / 255, LABELS), None, "float32")
    with pytest.raises(lnb.TrainingError, match="training rows were no uint8 images, and the data is uint8"):
        floats.read(IMAGES, need_target=False, what="the data")
    _, table = training_rows(FRAME, "y", "float32")
    with pytest.raises(lnb.TrainingError, match="the training rows were a table with the columns a, b"):
        table.read(X, need_target=False, what="the data")
    found = later_feed(images, (IMAGES[:7], LABELS[:7]))
    assert sorted(found.arrays) == ["validation_divisor", "validation_features", "validation_target"]
    assert len(found) == 7


# ---- frames and Parquet


def test_a_frame_is_laid_into_files():
    found = feed(FRAME, "y", "float32")
    assert found.note == "90 rows in memory"
    np.testing.assert_array_equal(found.arrays["train_features"], FRAME.select("a", "b").to_numpy())
    parts = lnb.prepare(FRAME, target="y")
    found = feed(parts.train, None, "float32")
    np.testing.assert_array_equal(
        later_feed(found.reader, parts.test).arrays["validation_target"], parts.test.target_values
    )


@pytest.fixture
def path(tmp_path):
    FRAME.write_parquet(tmp_path / "rows.parquet", row_group_size=20)
    return str(tmp_path / "rows.parquet")


def test_parquet_is_read_into_memory_where_there_is_room(path):
    found = feed(path, "y", "float32")
    assert found.note.startswith("read into memory: 90 rows, 1.08e-06 GB as numbers, of the ")
    np.testing.assert_array_equal(found.arrays["train_features"], FRAME.select("a", "b").to_numpy())


def test_parquet_is_streamed_where_there_is_none(path, monkeypatch, tmp_path):
    monkeypatch.setattr(feeds, "available_bytes", lambda: 4_000)
    found = feed(path, "y", "float32")
    assert found.note == (
        "streamed from Parquet: 90 rows, 1.08e-06 GB as numbers, are more than a quarter of the 4e-06 GB left"
    )
    assert (list(found.arrays), len(found), found.shape) == (["train_source"], 90, (2,))
    later = later_feed(found.reader, path)
    np.save(tmp_path / "validation_source.npy", later.arrays["validation_source"])
    features, target = open_source(tmp_path, "validation").head(90)
    np.testing.assert_array_equal(features, FRAME.select("a", "b").to_numpy())
    np.testing.assert_array_equal(target, FRAME["y"])
    assert list(feed(path, "y", "float32", stream=False).arrays) == ["train_features", "train_target"]


def test_parquet_is_streamed_on_demand(path):
    found = feed(path, "y", "float32", stream=True)
    assert found.note.startswith("streamed from Parquet, as asked: 90 rows")


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (FRAME, "a DataFrame is in memory or not in files"),
        (FRAME.lazy(), "a LazyFrame is in memory or not in files; write it to Parquet"),
        ((X, Y), "a tuple is in memory"),
        ("nowhere.parquet", "there is no file nowhere.parquet"),
    ],
)
def test_what_is_not_in_parquet_files_is_not_streamed(data, message):
    with pytest.raises(lnb.TrainingError, match=message):
        feed(data, "y", "float32", stream=True)


def test_rows_to_validate_may_be_in_memory_where_the_training_rows_are_streamed(path):
    reader = feed(path, "y", "float32", stream=True).reader
    assert list(later_feed(reader, path, stream=True).arrays) == ["validation_source"]
    assert list(later_feed(reader, FRAME, stream=True).arrays) == ["validation_features", "validation_target"]


def test_files_of_other_kinds_and_forms_are_not_streamed(tmp_path):
    FRAME.write_csv(tmp_path / "rows.csv")
    with pytest.raises(lnb.TrainingError, match=r"rows.csv is no Parquet file on a disk"):
        feed(str(tmp_path / "rows.csv"), "y", "float32", stream=True)
    assert len(feed(str(tmp_path / "rows.csv"), "y", "float32")) == 90
    (tmp_path / "bad.parquet").write_bytes(b"PAR1 not at all, this is text PAR2")
    with pytest.raises(lnb.TrainingError, match=r"cannot be read"):
        feed(str(tmp_path / "bad.parquet"), "y", "float32", stream=True)
    for year in (1, 2):
        (tmp_path / "parts" / f"year={year}").mkdir(parents=True)
        FRAME.write_parquet(tmp_path / "parts" / f"year={year}" / "rows.parquet")
    with pytest.raises(lnb.TrainingError, match="divisions such as year=2013"):
        feed(str(tmp_path / "parts"), "y", "float32", stream=True)
    assert feed(str(tmp_path / "parts"), "y", "float32").shape == (3,)


@pytest.mark.parametrize(
    ("frame", "target", "message"),
    [
        (FRAME, None, "give target="),
        (FRAME, "z", "unknown target column 'z'"),
        (FRAME.with_columns(a=pl.lit("x")), "y", r"is not numeric in a \(String\); lnb.prepare"),
        (FRAME.head(0), "y", "have no rows"),
    ],
)
def test_streamed_columns_are_looked_at_before_the_run(frame, target, message, tmp_path):
    frame.write_parquet(tmp_path / "rows.parquet")
    with pytest.raises(lnb.TrainingError, match=message):
        feed(str(tmp_path / "rows.parquet"), target, "float32", stream=True)


def test_a_file_that_lacks_a_column_is_named(path, tmp_path):
    FRAME.drop("b").write_parquet(tmp_path / "rows2.parquet")
    with pytest.raises(lnb.TrainingError, match=r"rows2.parquet: unknown column 'b'"):
        feed(str(tmp_path / "*.parquet"), "y", "float32", stream=True)


def test_facts_of_parts_are_those_of_the_whole():
    rng = np.random.default_rng(0)
    for values in (rng.integers(0, 5, 100), rng.normal(size=100), rng.integers(-3, 3, 100), np.arange(100) * 5_000):
        target = values.astype(np.float64)
        assert target_facts(np.split(target, [0, 10, 11, 60])) == TargetFacts.of(target)
    with pytest.raises(lnb.TrainingError, match="no rows"):
        target_facts([])


def test_the_tightest_limit_of_the_control_groups_counts(tmp_path):
    root, own = tmp_path / "cgroup", tmp_path / "self"
    inner = root / "outer" / "inner"
    inner.mkdir(parents=True)
    own.write_text("0::/outer/inner\n")
    (inner / "memory.max").write_text("max\n")
    free = available_bytes(root, own)
    assert free > 1_000_000
    (root / "outer" / "memory.max").write_text("1000000\n")
    (root / "outer" / "memory.current").write_text("900000\n")
    (root / "outer" / "memory.stat").write_text("anon 100\ninactive_file 50000\n")
    assert available_bytes(root, own) == 150_000
    own.write_text("4:memory:/old\n")
    (root / "memory" / "old").mkdir(parents=True)
    (root / "memory" / "memory.limit_in_bytes").write_text("70000")
    (root / "memory" / "memory.usage_in_bytes").write_text("80000")
    assert available_bytes(root, own) == 0
