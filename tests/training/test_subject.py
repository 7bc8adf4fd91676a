"""Whether the figures of two runs say something beside each other."""

import numpy as np
import polars as pl

from lepton_nb.training.feeds import feed, later_feed
from lepton_nb.training.subject import Subject


def table(seed=0, **further):
    random = np.random.default_rng(seed)
    made = pl.DataFrame({"a": random.normal(size=90), "b": random.normal(size=90), "y": random.integers(0, 2, 90)})
    return made.with_columns(**further)


def subject(data, target="y", precision="float32", validation=None):
    feeds = {"train": feed(data, target, precision)}
    if validation is not None:
        feeds["validation"] = later_feed(feeds["train"].reader, validation)
    return Subject.of(feeds)


def test_runs_on_the_same_rows_compare_whatever_they_learn_from():
    one = subject(table(), validation=table(1))
    assert one.like(subject(table(), precision="float64", validation=table(1))) == "same"
    more = {"c": pl.lit(0.5)}
    assert one.like(subject(table(**more), validation=table(1, **more))) == "same"


def test_other_rows_to_learn_from_or_to_validate_are_told_apart():
    one = subject(table(), validation=table(1))
    assert one.like(subject(table(2), validation=table(1))) == "other rows"
    assert one.like(subject(table(), validation=table(2))) == "other rows"
    assert one.like(subject(table())) == "other rows"


def test_another_target_or_loss_is_another_thing():
    one = subject(table())
    assert one.like(subject(table(), target="a")) == "other target"
    squares, classes = one.with_loss("mse", "regression"), one.with_loss("auto", "binary")
    assert squares.like(classes) == "other target"
    assert classes.like(one.with_loss("binary_cross_entropy", None)) == "same"
    # While a run has not met its rows, its loss is open.
    assert squares.like(one.with_loss("auto", None)) == "same"
    assert str(classes) == "y by binary cross entropy"


def test_arrays_that_are_not_the_same_rows_are_another_thing():
    x, y = np.zeros((8, 2)), np.arange(8.0)
    assert subject((x, y), None).like(subject((x, y), None)) == "same"
    assert subject((x, y), None).like(subject((x, y + 1), None)) == "other target"


def test_files_are_known_by_what_they_are(tmp_path):
    table().write_parquet(tmp_path / "a.parquet")
    table(1).write_parquet(tmp_path / "b.parquet")

    def streamed(name):
        return Subject.of({"train": feed(tmp_path / name, "y", "float32", stream=True)})

    assert streamed("a.parquet").like(streamed("a.parquet")) == "same"
    assert streamed("a.parquet").like(streamed("b.parquet")) == "other rows"
