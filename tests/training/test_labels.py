"""Text as a target: its values are classes, whose names are kept from the preparation to the predictions."""

import numpy as np
import polars as pl
import pytest

import lepton_nb as lnb
from lepton_nb.data.transform_values import transform_of, values_of
from lepton_nb.training.choices import likely_task


def table(rows=600, seed=0):
    random = np.random.default_rng(seed)
    a, b = random.normal(size=(2, rows))
    size = np.where(a < -0.5, "small", np.where(a < 0.5, "medium", "large"))
    return pl.DataFrame({"a": a, "b": b, "size": size})


def test_labels_are_numbered_in_the_order_of_their_names_and_rows_without_one_are_left_out():
    rows = table().with_columns(size=pl.when(pl.int_range(600) % 10 > 0).then("size"))
    parts = lnb.prepare(rows, target="size", features=["a", "b"])
    assert parts.train.classes == ("large", "medium", "small")
    assert parts.train.left_out == 60
    for part in parts:
        assert [part.classes[int(number)] for number in part.target_values] == part.rows["size"].to_list()
    assert transform_of(values_of(parts.transform)) == parts.transform
    # Categories of Polars are text as well.
    again = lnb.prepare(rows.cast({"size": pl.Categorical}), target="size", features=["a", "b"])
    assert again.test.target_values.tolist() == parts.test.target_values.tolist()
    assert likely_task(rows, "size") == ("multiclass", 3)
    assert likely_task(rows.filter(pl.col("size") != "small"), "size") == ("binary", None)


def test_labels_that_cannot_be_classes_are_refused():
    many = table(2_000).with_columns(size=pl.int_range(2_000).cast(pl.String))
    with pytest.raises(lnb.DataError, match="has 2,000 different values, too many for classes"):
        lnb.prepare(many, target="size")
    transform = lnb.prepare(table(), target="size").transform
    with pytest.raises(lnb.DataError, match="holds 'huge', which is none of the 3 classes"):
        transform(table().with_columns(size=pl.lit("huge")))
    with pytest.raises(lnb.DataError, match="held text in training and is Float64 now"):
        transform(table().with_columns(size=pl.col("a")))


@pytest.mark.parametrize("framework", ["torch", "keras"])
def test_what_is_predicted_has_the_names_of_the_classes(cluster, framework, tmp_path):
    parts = lnb.prepare(table(), target="size")
    model = lnb.models.mlp((16,), task="multiclass", classes=3, framework=framework)
    options = {"epochs": 8, "batch_size": 32, "learning_rate": 0.02, "workers": 1, "max_restarts": 0}
    run = lnb.train(model, parts.train, validation=parts.validation, cluster=cluster, **options).wait(200)
    run.save(tmp_path / "model")
    loaded = lnb.load(tmp_path / "model")
    other = table(200, seed=1)
    for trained in (run, loaded):
        labels = trained.predict_labels(other)
        assert (labels == other["size"]).mean() > 0.85
    evaluation = loaded.evaluation(other)
    assert evaluation.classes == parts.train.classes
    assert (labels == other["size"]).mean() == pytest.approx(evaluation.metrics["accuracy"])
    sample = evaluation.sample(20)
    assert {*sample["observed"], *sample["predicted"]} == {"large", "medium", "small"}
    relabelled = table().with_columns(size=pl.col("size") + "!")
    with pytest.raises(lnb.TrainingError, match="has the classes large!, medium!, small!"):
        run.evaluate(lnb.prepare(relabelled, target="size").test)


def test_two_classes_have_names_too_and_numbers_have_none(cluster):
    two = table().with_columns(size=pl.when(pl.col("a") > 0).then(pl.lit("yes")).otherwise(pl.lit("no")))
    parts = lnb.prepare(two, target="size")
    options = {"epochs": 4, "batch_size": 32, "learning_rate": 0.02, "workers": 1, "cluster": cluster}
    run = lnb.train(lnb.models.mlp((8,)), parts.train, **options).wait(100)
    assert run.task == "binary"
    assert (run.predict_labels(parts.test) == parts.test.rows["size"]).mean() > 0.85
    assert {*run.predict_labels(parts.test, threshold=1.1)} == {"no"}
    confusion = lnb.figures.evaluation.fitting(
        "binary", parts.test.target_values, {"mlp": run.predict(parts.test)}, classes=parts.test.classes
    )["Confusion"]
    assert list(confusion.data[0].x) == ["no", "yes"]
