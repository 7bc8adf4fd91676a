"""What was saved predicts as before, in another process too; nothing in it is executed, and nothing is half there."""

import json
import os
import pickle
import subprocess
import sys

import numpy as np
import polars as pl
import pytest
from torch import nn

import lepton_nb as lnb


def table(rows=600, seed=0):
    random = np.random.default_rng(seed)
    a, b = random.normal(size=(2, rows))
    late = a + (b > 0) > 0.5
    frame = pl.DataFrame({"day": range(rows), "a": a, "b": b, "kind": np.where(b > 0, "up", "down"), "late": late})
    return frame.with_columns(a=pl.when(pl.int_range(rows) % 11 != 0).then("a"))


@pytest.fixture(scope="module")
def run(cluster):
    parts = lnb.prepare(table(), target="late", time="day", features=["a", "b", "kind"])
    options = {
        "epochs": 3,
        "batch_size": 32,
        "learning_rate": 0.01,
        "log_every_steps": 5,
        "class_weights": {0: 1, 1: 2},
    }
    return lnb.train(
        lnb.models.mlp((8,), dropout=0.1), parts.train, validation=parts.validation, cluster=cluster, **options
    ).wait(120)


def test_an_evaluation_has_what_its_figures_are_counted_from_and_the_rows_it_is_of(run):
    fresh = table(seed=1).with_columns(late=pl.when(pl.col("day") != 3).then("late"))
    found = run.trained.evaluation(fresh)
    assert found.metrics == run.evaluate(fresh)
    # A row without a target cannot be judged.
    kept = fresh.filter(pl.col("day") != 3)
    assert found.rows["day"].to_list() == kept["day"].to_list()
    np.testing.assert_array_equal(found.target, kept["late"].to_numpy())
    np.testing.assert_array_equal(found.predictions, run.predict(kept))
    sample = found.sample(5)
    assert sample.columns == ["observed", "predicted", "day", "a", "b", "kind", "late"]
    assert sample["day"].is_sorted()
    assert sample["observed"].cast(pl.Boolean).to_list() == sample["late"].to_list()
    assert sample["predicted"].to_list() == pytest.approx(run.predict(sample.drop("observed", "predicted")).tolist())
    with pytest.raises(lnb.TrainingError, match="lacks the column 'late', which is the target"):
        run.trained.evaluation(fresh.drop("late"))


def test_what_is_loaded_does_all_that_the_run_does(run, tmp_path):
    saved = run.save(tmp_path / "models" / "late")
    assert saved == tmp_path / "models" / "late"
    assert os.listdir(saved.parent) == ["late"]
    loaded = lnb.load(saved)
    fresh = table(seed=1)
    np.testing.assert_array_equal(loaded.predict(fresh.drop("late")), run.predict(fresh.drop("late")))
    assert loaded.evaluate(fresh) == run.evaluate(fresh)
    assert loaded.history.equals(run.history)
    assert loaded.steps.equals(run.steps)
    assert loaded.task == run.task == "binary"
    assert repr(loaded) == repr(run.trained)
    assert repr(loaded).startswith("Trained(MultilayerPerceptron(hidden=(8,), ")
    assert repr(loaded).endswith(", torch, task='binary', 6 features, 3 epochs)")
    assert not loaded.model.training
    told = json.loads((saved / "model.json").read_text())["training"]
    assert told["steps_done"] == run.step > 0
    assert (told["stopped"], told["options"]["epochs"]) == (False, 3)
    again = loaded.save(tmp_path / "again")
    for name in os.listdir(saved):
        assert (again / name).read_bytes() == (saved / name).read_bytes()


def test_another_process_gets_the_same_predictions(run, tmp_path):
    saved = run.save(tmp_path / "late")
    table(seed=1).write_parquet(tmp_path / "fresh.parquet")
    code = "import sys, lepton_nb as lnb; print(lnb.load(sys.argv[1]).predict(sys.argv[2]).tolist())"
    done = subprocess.run(
        [sys.executable, "-c", code, saved, tmp_path / "fresh.parquet"], capture_output=True, text=True, check=True
    )
    assert json.loads(done.stdout) == run.predict(table(seed=1)).tolist()


@pytest.mark.parametrize("task", ["multiclass", "regression"])
def test_every_task_comes_back(task, cluster, tmp_path):
    frame = table().select("b", y=pl.col("b").round().clip(-1, 1).cast(pl.Int64) + 1)
    model = lnb.models.mlp((4,), task=task, classes=3 if task == "multiclass" else None)
    run = lnb.train(model, frame, target="y", epochs=1, precision="float64", workers=1, cluster=cluster).wait(120)
    loaded = lnb.load(run.save(tmp_path / "m"))
    np.testing.assert_array_equal(loaded.predict(frame), run.predict(frame))
    assert loaded.evaluate(frame) == run.evaluate(frame)


def test_a_module_is_to_be_given_again(cluster, tmp_path):
    frame = table().select("b", y=pl.col("late"))
    run = lnb.train(nn.Linear(1, 1), frame, target="y", epochs=1, workers=1, cluster=cluster).wait(120)
    saved = run.save(tmp_path / "m")
    with pytest.raises(lnb.TrainingError, match=r"code is not saved; give it: lnb\.load\(path, model=\.\.\.\)"):
        lnb.load(saved)
    np.testing.assert_array_equal(lnb.load(saved, nn.Linear(1, 1)).predict(frame), run.predict(frame))
    with pytest.raises(lnb.TrainingError, match="the weights do not fit the model"):
        lnb.load(saved, nn.Linear(1, 3))


def test_what_is_there_is_not_overwritten_unasked(run, tmp_path):
    (tmp_path / "mine").mkdir()
    with pytest.raises(lnb.TrainingError, match="exists; choose another folder, this is no saved model"):
        run.save(tmp_path / "mine", overwrite=True)
    saved = run.save(tmp_path / "late")
    before = (saved / "model.json").stat().st_ino
    with pytest.raises(lnb.TrainingError, match="exists; choose another folder, or say overwrite=True"):
        run.save(saved)
    run.save(saved, overwrite=True)
    assert (saved / "model.json").stat().st_ino != before
    assert sorted(os.listdir(tmp_path)) == ["late", "mine"]


def test_a_full_disk_leaves_nothing_behind_and_what_was_there(run, tmp_path, monkeypatch):
    saved = run.save(tmp_path / "late")
    kept = {name: (saved / name).read_bytes() for name in os.listdir(saved)}

    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(pl.DataFrame, "write_ndjson", full)
    for name in ("late", "new"):
        with pytest.raises(lnb.TrainingError, match="cannot be saved in .*: No space left on device"):
            run.save(tmp_path / name, overwrite=True)
    assert os.listdir(tmp_path) == ["late"]
    assert {name: (saved / name).read_bytes() for name in os.listdir(saved)} == kept


def test_what_is_no_saved_model_is_told(run, tmp_path):
    with pytest.raises(lnb.TrainingError, match=r"holds no saved model: .*model\.json cannot be read"):
        lnb.load(tmp_path)
    saved = run.save(tmp_path / "late")
    text = (saved / "model.json").read_text()
    for content, message in [
        (text[:-9], "is damaged"),
        (json.dumps({"format": 99}), "has a form that this version of lepton_nb does not know"),
        (json.dumps({"format": 1}), "is damaged: KeyError"),
        (text.replace('"mlp"', '"other"'), "models of the kind 'other' are not known"),
    ]:
        (saved / "model.json").write_text(content)
        with pytest.raises(lnb.TrainingError, match=message):
            lnb.load(saved)


def test_code_in_the_weights_is_not_executed(run, tmp_path):
    class Trap:
        def __reduce__(self):
            return (os.mkdir, (str(tmp_path / "executed"),))

    saved = run.save(tmp_path / "late")
    (saved / "weights.pt").write_bytes(pickle.dumps(Trap(), protocol=2))
    with pytest.raises(lnb.TrainingError, match="the file of the weights is damaged"):
        lnb.load(saved)
    assert not (tmp_path / "executed").exists()
