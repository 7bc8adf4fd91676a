"""What is exported gives the model's own numbers in a runtime that knows nothing of lepton_nb, or it is not there."""

import importlib.util
import io
import json
import os
import subprocess
import sys
import warnings
import zipfile

import numpy as np
import polars as pl
import pytest
import torch
from torch import nn

import lepton_nb as lnb
from lepton_nb.training.export import export
from lepton_nb.training.rows import Reader
from lepton_nb.training.trained import Trained

ENDINGS = {"onnx": ".onnx", "torch_export": ".pt2", "torchscript": ".ts"}
TORCH_FORMATS = sorted(ENDINGS)
COUNTS = (1, 7, 1000)


def trained_of(model, task="binary", shape=(3,), dtype="float32", transform=None):
    """A Trained around `model`, with the weights that it has."""
    names = transform.feature_names if transform else tuple(f"x{i}" for i in range(shape[0]))
    buffer, framework = io.BytesIO(), "keras"
    if isinstance(model, nn.Module):
        model, framework = model.to(getattr(torch, dtype)).eval(), "torch"
        torch.save(model.state_dict(), buffer)
    reader = Reader(names, "y", dtype, transform) if len(shape) == 1 else Reader((), None, dtype, None, shape)
    return Trained(
        model, reader, task, buffer.getvalue(), 0, pl.DataFrame(), pl.DataFrame(), {}, framework=framework, _model=model
    )


def dense(outputs=1, features=3):
    torch.manual_seed(1)
    return nn.Sequential(nn.Linear(features, 8), nn.ReLU(), nn.Dropout(0.5), nn.Linear(8, outputs))


class Recurrent(nn.Module):
    def __init__(self, kind):
        super().__init__()
        self.cells = kind(4, 8, batch_first=True)
        self.end = nn.Linear(8, 3)

    def forward(self, rows):
        return self.end(self.cells(rows)[0][:, -1])


class Attentive(nn.Module):
    def __init__(self):
        super().__init__()
        layer = nn.TransformerEncoderLayer(4, 2, 8, batch_first=True)
        self.layers = nn.TransformerEncoder(layer, 1)
        self.end = nn.Linear(4, 3)

    def forward(self, rows):
        return self.end(self.layers(rows).mean(1))


class Deciding(nn.Module):
    """Goes another way where its values are large."""

    def __init__(self):
        super().__init__()
        self.end = nn.Linear(3, 1)

    def forward(self, rows):
        if bool(rows.sum() > 0.0):
            return self.end(rows)
        return self.end(rows) * 2.0


class Noisy(nn.Module):
    def __init__(self):
        super().__init__()
        self.end = nn.Linear(3, 1)

    def forward(self, rows):
        return self.end(rows) + torch.rand(rows.shape[0], 1, dtype=rows.dtype)


def run_alone(format, path):
    """The file as a function of rows, by its own runtime."""
    if format == "onnx":
        import onnxruntime

        session = onnxruntime.InferenceSession(str(path))
        (given,), (made,) = session.get_inputs(), session.get_outputs()
        assert given.name == "features"
        assert made.name in ("logits", "predictions")
        return lambda rows: session.run([made.name], {"features": rows})[0]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        loaded = torch.export.load(path).module() if format == "torch_export" else torch.jit.load(path)

    def run(rows):
        with torch.no_grad():
            return loaded(torch.tensor(rows)).numpy()

    return run


@pytest.mark.parametrize("format", TORCH_FORMATS)
@pytest.mark.parametrize("outputs", ["logits", "predictions"])
@pytest.mark.parametrize(("task", "width"), [("binary", 1), ("multiclass", 3), ("regression", 1)])
def test_a_file_gives_the_models_numbers_for_any_number_of_rows(format, outputs, task, width, tmp_path):
    trained = trained_of(dense(width), task)
    path = export(trained, tmp_path / f"m{ENDINGS[format]}", outputs=outputs)
    run = run_alone(format, path)
    for count in COUNTS:
        frame = pl.DataFrame(np.random.default_rng(count).normal(size=(count, 3)), schema=["x0", "x1", "x2"])
        rows = frame.to_numpy().astype("float32")
        want = (
            trained.predict(frame) if outputs == "predictions" else trained.model(torch.tensor(rows)).detach().numpy()
        )
        found = run(rows)
        assert found.dtype == np.float32
        assert found.shape == want.shape
        np.testing.assert_allclose(found, want, rtol=1e-5, atol=1e-6)
    assert sorted(os.listdir(tmp_path)) == [path.name, f"{path.name}.json"]


@pytest.mark.parametrize("format", TORCH_FORMATS)
@pytest.mark.parametrize(
    ("model", "shape"),
    [
        (Recurrent(nn.GRU), (5, 4)),
        (Recurrent(nn.LSTM), (5, 4)),
        (Attentive(), (5, 4)),
        (nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 3)),
         (1, 8, 8)),
    ],
    ids=["gru", "lstm", "transformer", "cnn"],
)  # fmt: skip
def test_rows_of_several_dimensions(format, model, shape, tmp_path):
    trained = trained_of(model, "multiclass", shape)
    path = export(trained, tmp_path / "m", format)
    run = run_alone(format, path)
    for count in COUNTS:
        rows = np.random.default_rng(count).normal(size=(count, *shape)).astype("float32")
        with torch.no_grad():
            want = trained.model(torch.tensor(rows)).numpy()
        np.testing.assert_allclose(run(rows), want, rtol=1e-5, atol=1e-6)
    assert json.loads((tmp_path / "m.json").read_text())["input"]["shape"] == ["rows", *shape]


@pytest.mark.parametrize("format", TORCH_FORMATS)
def test_float64_stays_float64(format, tmp_path):
    trained = trained_of(dense(), dtype="float64")
    run = run_alone(format, export(trained, tmp_path / "m", format))
    rows = np.random.default_rng(0).normal(size=(7, 3))
    assert run(rows).dtype == np.float64
    np.testing.assert_allclose(run(rows), trained.model(torch.tensor(rows)).detach().numpy(), rtol=1e-12)


def test_a_stranger_can_feed_it_by_what_the_json_tells(tmp_path):
    random = np.random.default_rng(0)
    table = pl.DataFrame({"a": random.normal(3, 2, 400), "kind": random.choice(["up", "down"], 400)})
    table = table.with_columns(y=pl.col("a") + random.normal(size=400) > 3)
    table = table.with_columns(a=pl.when(pl.int_range(400) % 9 != 0).then("a"))
    parts = lnb.prepare(table, target="y")
    trained = trained_of(dense(features=len(parts.transform.feature_names)), transform=parts.transform)
    path = export(trained, tmp_path / "late.onnx", outputs="predictions")
    told = json.loads((tmp_path / "late.onnx.json").read_text())
    assert (told["exported_as"], told["file"], told["task"], told["classes"]) == ("onnx", "late.onnx", "binary", 2)
    assert told["features"] == list(parts.transform.feature_names)
    assert told["input"] == {"name": "features", "dtype": "float32", "shape": ["rows", len(told["features"])]}
    assert told["output"] == {"name": "predictions", "dtype": "float32", "shape": ["rows"]}
    assert {"lepton-nb", "torch", "onnx"} <= told["versions"].keys()
    code = """
import json, sys
import numpy as np, onnxruntime
told = json.load(open(sys.argv[1] + ".json"))
source = json.load(sys.stdin)
columns = []
for column in told["preparation"]["columns"]:
    values = source[column["name"]]
    if column["kind"] == "number":
        filled = np.array([column["median"] if v is None else v for v in values])
        scaled = (filled - column["mean"]) / column["std"]
        columns.append(np.clip(scaled, -column["clip_sigmas"], column["clip_sigmas"]))
        if column["flag_missing"]:
            columns.append(np.array([v is None for v in values]))
    else:
        columns += [np.array([v == known for v in values]) for known in column["categories"]]
        columns.append(np.array([v not in column["categories"] for v in values]))
rows = np.stack(columns, 1).astype(told["input"]["dtype"])
session = onnxruntime.InferenceSession(sys.argv[1])
print(json.dumps(session.run([told["output"]["name"]], {told["input"]["name"]: rows})[0].tolist()))
assert not any(name in sys.modules for name in ("lepton_nb", "torch"))
"""
    asked = table.drop("y")
    done = subprocess.run(
        [sys.executable, "-c", code, path], input=json.dumps(asked.to_dict(as_series=False)), capture_output=True,
        text=True, check=True,
    )  # fmt: skip
    np.testing.assert_allclose(json.loads(done.stdout), trained.predict(asked), rtol=1e-5)


@pytest.mark.parametrize("format", TORCH_FORMATS)
def test_nothing_is_said_and_nothing_of_this_machine_is_told(format, tmp_path, capfd):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        path = export(trained_of(Recurrent(nn.GRU), "multiclass", (5, 4)), tmp_path / "m", format)
    assert capfd.readouterr() == ("", "")
    content = path.read_bytes()
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as packed:
            content = b"".join(packed.read(name) for name in packed.namelist())
    for place in (os.path.dirname(__file__), os.path.dirname(torch.__file__), str(tmp_path)):
        assert place.encode() not in content


def test_a_deciding_model_keeps_its_decision_or_is_refused(tmp_path):
    trained = trained_of(Deciding())
    run = run_alone("torchscript", export(trained, tmp_path / "m.ts"))
    for rows in (np.ones((4, 3), "float32"), -np.ones((4, 3), "float32")):
        np.testing.assert_allclose(run(rows), trained.model(torch.tensor(rows)).detach().numpy(), rtol=1e-6)
    with pytest.raises(lnb.TrainingError, match="cannot be written as 'torch_export'.*try format='torchscript'"):
        export(trained, tmp_path / "m.pt2")
    assert sorted(os.listdir(tmp_path)) == ["m.ts", "m.ts.json"]


@pytest.mark.parametrize("format", TORCH_FORMATS)
def test_a_file_that_gives_other_numbers_is_not_kept(format, tmp_path):
    with pytest.raises(lnb.TrainingError, match="other numbers than the model.*random numbers"):
        export(trained_of(Noisy()), tmp_path / "m", format)
    assert os.listdir(tmp_path) == []


def test_what_onnxruntime_cannot_run_names_the_way_out(tmp_path):
    trained = trained_of(nn.Sequential(nn.Linear(3, 4), nn.GELU(), nn.Linear(4, 1)), dtype="float64")
    with pytest.raises(
        lnb.TrainingError, match="cannot run.*use format='torch_export', or train with precision='float32'"
    ):
        export(trained, tmp_path / "m.onnx")
    assert os.listdir(tmp_path) == []


def test_a_model_of_numbers_that_are_names_is_checked_on_rows_of_a_sample(tmp_path):
    class Words(nn.Module):
        def __init__(self):
            super().__init__()
            self.table = nn.Embedding(5, 2)
            self.end = nn.Linear(6, 1)

        def forward(self, rows):
            return self.end(self.table(rows.long()).flatten(1))

    trained = trained_of(Words())
    with pytest.raises(lnb.TrainingError, match="give rows like those of the training: sample="):
        export(trained, tmp_path / "m.onnx")
    frame = pl.DataFrame({f"x{i}": [0, 1, 2, 3, 4] for i in range(3)})
    run = run_alone("onnx", export(trained, tmp_path / "m.onnx", sample=frame, outputs="predictions"))
    np.testing.assert_allclose(run(frame.to_numpy().astype("float32")), trained.predict(frame), rtol=1e-5)


def test_the_format_is_told_by_the_ending(tmp_path):
    trained = trained_of(dense())
    with pytest.raises(lnb.TrainingError, match=r"ending of 'm' does not tell .*\.onnx, \.pt2, \.pt, \.ts, or give"):
        export(trained, tmp_path / "m")
    with pytest.raises(lnb.TrainingError, match="unknown format 'onx'; did you mean 'onnx'"):
        export(trained, tmp_path / "m", "onx")
    with pytest.raises(lnb.TrainingError, match="a torch model cannot be written as 'saved_model'; use format='onnx'"):
        export(trained, tmp_path / "m", "saved_model")
    with pytest.raises(lnb.TrainingError, match="unknown outputs 'logit'; did you mean 'logits'"):
        export(trained, tmp_path / "m.onnx", outputs="logit")
    assert os.listdir(tmp_path) == []


def test_a_missing_package_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(lnb.TrainingError, match=r'needs onnxruntime; .*pip install "lepton-nb\[export\]"'):
        export(trained_of(dense()), tmp_path / "m.onnx")
    assert os.listdir(tmp_path) == []


def test_only_an_export_is_replaced_and_only_when_asked(tmp_path):
    first, second = trained_of(dense()), trained_of(nn.Linear(3, 1))
    (tmp_path / "mine.pt2").write_text("mine")
    with pytest.raises(lnb.TrainingError, match="exists; choose another name, this is no exported model"):
        export(first, tmp_path / "mine.pt2", overwrite=True)
    path = export(first, tmp_path / "m.pt2")
    with pytest.raises(lnb.TrainingError, match="exists; choose another name, or say overwrite=True"):
        export(second, path)
    rows = np.ones((2, 3), "float32")
    np.testing.assert_allclose(run_alone("torch_export", path)(rows), first.model(torch.tensor(rows)).detach().numpy())
    export(second, path, overwrite=True)
    np.testing.assert_allclose(run_alone("torch_export", path)(rows), second.model(torch.tensor(rows)).detach().numpy())
    assert sorted(os.listdir(tmp_path)) == ["m.pt2", "m.pt2.json", "mine.pt2"]


def test_a_full_disk_leaves_what_was_there(tmp_path, monkeypatch):
    trained = trained_of(dense())
    path = export(trained, tmp_path / "m.pt2")
    kept = {name: (tmp_path / name).read_bytes() for name in os.listdir(tmp_path)}
    move, refused = os.replace, []

    def full(source, place):
        if not refused and str(place) == str(path):
            refused.append(source)
            raise OSError(28, "No space left on device")
        move(source, place)

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(lnb.TrainingError, match="cannot be exported to .*No space left on device"):
        export(trained_of(nn.Linear(3, 1)), path, overwrite=True)
    assert {name: (tmp_path / name).read_bytes() for name in os.listdir(tmp_path)} == kept


@pytest.fixture(scope="module")
def keras():
    return pytest.importorskip("keras")


class TestKeras:
    def model(self, keras, outputs=1, shape=(3,), dtype="float32"):
        keras.utils.set_random_seed(0)
        layers = keras.layers
        if len(shape) == 1:
            inner = [layers.Dense(8, activation="relu"), layers.Dropout(0.5)]
        else:
            inner = [layers.Conv2D(4, 3), layers.BatchNormalization(), layers.GlobalAveragePooling2D()]
        inner = [layers.Rescaling(1.0, dtype=dtype), *inner, layers.Dense(outputs)]
        return keras.Sequential([keras.Input(shape, dtype=dtype), *inner])

    @pytest.mark.parametrize("outputs", ["logits", "predictions"])
    @pytest.mark.parametrize(("task", "width"), [("binary", 1), ("multiclass", 3), ("regression", 1)])
    def test_a_saved_model_gives_the_models_numbers(self, keras, outputs, task, width, tmp_path, capfd):
        import tensorflow as tf

        from lepton_nb.training import metrics

        model = self.model(keras, width)
        capfd.readouterr()
        path = export(trained_of(model, task), tmp_path / "m", outputs=outputs)
        assert capfd.readouterr() == ("", "")
        assert json.loads((tmp_path / "m.json").read_text())["exported_as"] == "saved_model"
        assert sorted(os.listdir(tmp_path)) == ["m", "m.json"]
        loaded = tf.saved_model.load(str(path))
        for count in COUNTS:
            rows = np.random.default_rng(count).normal(size=(count, 3)).astype("float32")
            raw = np.asarray(model(rows, training=False))
            want = raw if outputs == "logits" else metrics.predictions(task, raw if width > 1 else raw.reshape(-1))
            found = np.asarray(loaded.serve(rows))
            assert found.shape == want.shape
            np.testing.assert_allclose(found, want, rtol=1e-5, atol=1e-6)

    def test_rows_of_several_dimensions(self, keras, tmp_path):
        import tensorflow as tf

        model = self.model(keras, 3, (8, 8, 1))
        path = export(trained_of(model, "multiclass", (8, 8, 1)), tmp_path / "m")
        loaded = tf.saved_model.load(str(path))
        for count in COUNTS:
            rows = np.random.default_rng(count).normal(size=(count, 8, 8, 1)).astype("float32")
            np.testing.assert_allclose(loaded.serve(rows), model(rows, training=False), rtol=1e-5, atol=1e-6)

    def test_an_old_folder_is_replaced_by_a_new_one(self, keras, tmp_path):
        path = export(trained_of(self.model(keras)), tmp_path / "m")
        before = (path / "saved_model.pb").stat().st_ino
        with pytest.raises(lnb.TrainingError, match="or say overwrite=True"):
            export(trained_of(self.model(keras)), path)
        export(trained_of(self.model(keras)), path, overwrite=True)
        assert (path / "saved_model.pb").stat().st_ino != before
        assert sorted(os.listdir(tmp_path)) == ["m", "m.json"]

    def test_onnx_of_keras_names_the_package_or_works(self, keras, tmp_path):
        trained = trained_of(self.model(keras))
        if importlib.util.find_spec("tf2onnx") is None:
            with pytest.raises(lnb.TrainingError, match="tf2onnx, which is not here; use format='saved_model'"):
                export(trained, tmp_path / "m.onnx")
            assert os.listdir(tmp_path) == []
        else:
            run = run_alone("onnx", export(trained, tmp_path / "m.onnx"))
            rows = np.ones((7, 3), "float32")
            np.testing.assert_allclose(run(rows), trained.model(rows, training=False), rtol=1e-5)

    def test_a_format_of_torch_is_refused(self, keras, tmp_path):
        with pytest.raises(
            lnb.TrainingError, match="a keras model cannot be written as 'torchscript'; use format='sav"
        ):
            export(trained_of(self.model(keras)), tmp_path / "m.ts")
