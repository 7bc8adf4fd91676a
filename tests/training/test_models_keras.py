"""A description is the same function in PyTorch and in Keras, and drawn alike."""

import dataclasses
import itertools
import os
import subprocess
import sys

import numpy as np
import pytest
import torch

import lepton_nb as lnb
from lepton_nb.training.models import build, copy_weights, load_keras

CLASSES = {"task": "multiclass", "classes": 3}
TOKENS = 9
CASES = [
    *((lnb.models.mlp((8, 4), activation=name), (6,)) for name in ("relu", "gelu", "silu", "tanh")),
    (lnb.models.mlp((8,), dropout=0.5, **CLASSES), (4, 5, 2)),
    (lnb.models.mlp(()), (4,)),
    *((lnb.models.cnn((3, 5), kernel=size, activation="gelu"), (7, 2)) for size in (1, 2, 3, 4)),
    *((lnb.models.cnn((3, 5, 4), kernel=size, **CLASSES), (7, 5, 2)) for size in (2, 3)),
    (lnb.models.cnn((3, 5, 4)), (3,)),
    *(
        (lnb.models.rnn(cell, (4, 3), bidirectional=both, each_step=each, **(CLASSES if both else {})), shape)
        for cell, both, each, shape in itertools.product(("gru", "lstm"), (False, True), (False, True), ((5, 3),))
    ),
    *(
        (lnb.models.rnn(cell, (4,), bidirectional=both, each_step=each, vocabulary=TOKENS, embedding=5), (6,))
        for cell, both, each in itertools.product(("gru", "lstm"), (False, True), (False, True))
    ),
    (lnb.models.rnn(), (5,)),
    *(
        (lnb.models.transformer(2, 12, 3, causal=causal, each_step=each, **(CLASSES if causal else {})), (5, 3))
        for causal, each in itertools.product((False, True), (False, True))
    ),
    *(
        (lnb.models.transformer(1, 12, 3, causal=causal, each_step=each, vocabulary=TOKENS), (6,))
        for causal, each in itertools.product((False, True), (False, True))
    ),
    (lnb.models.transformer(1, 4, 2), (5,)),
]
ONE_OF_EACH = [
    (lnb.models.mlp((8,), activation="gelu", dropout=0.25), (4, 3)),
    (lnb.models.cnn((3, 4), kernel=2), (7, 5, 2)),
    (lnb.models.rnn("gru", (4,), vocabulary=TOKENS, bidirectional=True, each_step=True, dropout=0.1), (6,)),
    (lnb.models.rnn("lstm", (4,), bidirectional=True), (6, 3)),
    (lnb.models.transformer(1, 8, 2, vocabulary=TOKENS, causal=True, each_step=True), (6,)),
]
TRAINED_STEPS = 3


@pytest.fixture(scope="module")
def keras():
    return load_keras()


@pytest.fixture(scope="module")
def tensorflow(keras):
    import tensorflow

    return tensorflow


def in_keras(description):
    return dataclasses.replace(description, framework="keras")


def rows_of(description, shape, dtype="float64"):
    random_numbers = np.random.default_rng(0)
    if getattr(description, "vocabulary", None) is None:
        return random_numbers.normal(size=(5, *shape)).astype(dtype)
    rows = random_numbers.integers(0, TOKENS, (5, *shape))
    rows[0] = 0
    rows[1, :2] = 0
    rows[2, -3:] = 0
    return rows.astype(dtype)


def both(description, shape):
    module = build(description, shape, 1, dtype="float64")
    model = build(in_keras(description), shape, 2, dtype="float64")
    copy_weights(module, model)
    return module, model


@pytest.mark.parametrize(("description", "shape"), CASES)
def test_both_frameworks_compute_the_same_function(keras, description, shape):
    module, model = both(description, shape)
    rows = rows_of(description, shape)
    with torch.no_grad():
        expected = module.eval()(torch.from_numpy(rows)).numpy()
    found = model(rows, training=False).numpy()
    assert found.shape == expected.shape
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-10)
    trained = [value for value in module.parameters() if value.requires_grad]
    assert sum(value.numel() for value in trained) == sum(value.numpy().size for value in model.trainable_weights)


@pytest.mark.parametrize(("description", "shape"), ONE_OF_EACH)
def test_both_frameworks_learn_the_same(tensorflow, description, shape):
    description = dataclasses.replace(description, dropout=0.0)
    module, model = both(description, shape)
    rows = rows_of(description, shape)
    values = torch.from_numpy(rows)
    optimizer = torch.optim.SGD([value for value in module.parameters() if value.requires_grad], lr=0.1)
    for _ in range(TRAINED_STEPS):
        optimizer.zero_grad()
        module(values).sub(1).square().mean().backward()
        optimizer.step()
        with tensorflow.GradientTape() as tape:
            loss = tensorflow.reduce_mean(tensorflow.square(model(rows, training=True) - 1))
        variables = model.trainable_variables
        for variable, gradient in zip(variables, tape.gradient(loss, variables), strict=True):
            variable.assign(variable - 0.1 * tensorflow.convert_to_tensor(gradient))
    found = model(rows).numpy()
    np.testing.assert_allclose(found, module(values).detach().numpy(), rtol=0, atol=1e-10)
    assert np.abs(found - build(in_keras(description), shape, 2, dtype="float64")(rows).numpy()).max() > 1e-3


@pytest.mark.parametrize(
    ("description", "shape"),
    [
        (lnb.models.mlp((256,)), (100,)),
        (lnb.models.cnn((64, 64), kernel=3), (8, 8, 8)),
        (lnb.models.rnn("gru", (64,), vocabulary=200), (6,)),
        (lnb.models.rnn("lstm", (64,), bidirectional=True), (6, 20)),
        (lnb.models.transformer(1, 64, 4), (6, 20)),
    ],
)
def test_weights_are_drawn_from_the_same_distributions(keras, description, shape):
    drawn = build(in_keras(description), shape, 0)
    like_torch = build(in_keras(description), shape, 1)
    copy_weights(build(description, shape, 2), like_torch)
    for one, other in zip(drawn.weights, like_torch.weights, strict=True):
        ours, theirs = one.numpy(), other.numpy()
        if ours.size < 64:
            continue
        assert abs(ours.mean() - theirs.mean()) <= 0.5 * theirs.std() + 1e-12
        np.testing.assert_allclose(ours.std(), theirs.std(), rtol=0.3)
        if "embeddings" not in one.path:
            np.testing.assert_allclose(np.abs(ours).max(), np.abs(theirs).max(), rtol=0.1)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(("description", "shape"), ONE_OF_EACH)
def test_a_keras_model_trains_inside_a_tf_function(keras, tensorflow, description, shape, dtype):
    model = build(in_keras(description), shape, 3, dtype=dtype)
    rows = tensorflow.constant(rows_of(description, shape, dtype))
    optimizer = keras.optimizers.Adam(0.01)
    optimizer.build(model.trainable_variables)

    @tensorflow.function
    def step():
        with tensorflow.GradientTape() as tape:
            loss = tensorflow.reduce_mean(tensorflow.square(model(rows, training=True) - 1))
        gradients = tape.gradient(loss, model.trainable_variables)
        optimizer.apply_gradients(zip(gradients, model.trainable_variables, strict=True))
        return loss

    losses = [step() for _ in range(10)]
    assert losses[0].dtype == dtype
    assert losses[-1] < losses[0]
    assert {weight.dtype for weight in model.trainable_weights} == {dtype}


@pytest.mark.slow
def test_a_saved_model_loads_without_our_code(keras, tmp_path):
    for number, (description, shape) in enumerate(ONE_OF_EACH):
        model = build(in_keras(description), shape, 0, dtype="float64")
        model.save(tmp_path / f"{number}.keras")
        rows = rows_of(description, shape)
        np.savez(tmp_path / f"{number}.npz", rows=rows, outputs=model(rows).numpy())
    code = """
import pathlib, sys
import keras, numpy
found = sorted(pathlib.Path(sys.argv[1]).glob("*.keras"))
for path in found:
    kept = numpy.load(path.with_suffix(".npz"))
    assert numpy.array_equal(keras.models.load_model(path)(kept["rows"]).numpy(), kept["outputs"]), path
assert "lepton_nb" not in sys.modules
print(len(found))
"""
    done = subprocess.run([sys.executable, "-c", code, tmp_path], cwd=tmp_path, capture_output=True, text=True)
    assert done.stdout.split() == [str(len(ONE_OF_EACH))], done.stderr


def test_weights_go_only_between_models_of_one_description(keras):
    model = build(lnb.models.mlp((4,), framework="keras"), 3, 0)
    for other in (lnb.models.mlp((5,)), lnb.models.rnn()):
        with pytest.raises(lnb.TrainingError, match="build both from one description"):
            copy_weights(other.build(3), model)


def test_keras_is_loaded_on_tensorflow_and_the_environment_stays(keras):
    before = dict(os.environ)
    assert load_keras() is keras
    assert keras.config.backend() == "tensorflow"
    assert dict(os.environ) == before


@pytest.mark.slow
def test_another_backend_is_refused_with_the_fix():
    code = """
import os
import lepton_nb as lnb
def told():
    try:
        lnb.models.build(lnb.models.mlp(framework="keras"), 3, 0)
    except lnb.TrainingError as error:
        return str(error)
assert "'torch', and models are trained on TensorFlow; set the environment variable KERAS_BACKEND=tensorflow" in told()
import keras
del os.environ["KERAS_BACKEND"]
assert "KERAS_BACKEND=tensorflow before Keras is imported" in told()
assert "KERAS_BACKEND" not in os.environ
"""
    subprocess.run([sys.executable, "-c", code], check=True, env={**os.environ, "KERAS_BACKEND": "torch"})


@pytest.mark.slow
def test_what_tensorflow_logs_while_it_is_loaded_is_kept_off_stderr_and_nothing_else():
    code = """
import os, sys
from lepton_nb.training.models import load_keras
class Talk:
    def find_spec(self, name, path=None, target=None):
        if name == "tensorflow":
            sys.meta_path.remove(self)
            os.write(2, b"another library speaks\\n")
sys.meta_path.insert(0, Talk())
load_keras()
assert "TF_CPP_MIN_LOG_LEVEL" not in os.environ
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stderr == "another library speaks\n"


def test_what_came_on_stderr_before_keras_could_not_be_loaded_is_all_shown(tmp_path):
    news = "I0000 00:00:1795655893.301011   30076 stub.cc:31] said before it failed"
    (tmp_path / "keras.py").write_text(f"import os; os.write(2, b{news!r}); raise ImportError('no such library')")
    code = "from lepton_nb.training.models import load_keras; load_keras()"
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment)
    assert done.returncode == 1
    assert news in done.stderr
    assert "need Keras on TensorFlow: no such library" in done.stderr
