import dataclasses
import json
import random
import subprocess
import sys

import numpy as np
import pytest
import torch
from torch import nn

import lepton_nb as lnb
from lepton_nb.training.models import build, check, described, framework_of, is_module, told

KINDS = [lnb.models.mlp, lnb.models.cnn, lnb.models.rnn, lnb.models.transformer]


@pytest.mark.parametrize(
    ("options", "outputs"), [({}, 1), ({"task": "regression"}, 1), ({"task": "multiclass", "classes": 5}, 5)]
)
def test_a_perceptron_has_the_layers_that_were_asked_for(options, outputs):
    module = lnb.models.mlp(hidden=(8, 4), activation="tanh", dropout=0.25, **options).build(6)
    kinds = [type(layer) for layer in module]
    assert kinds == [nn.Linear, nn.Tanh, nn.Dropout, nn.Linear, nn.Tanh, nn.Dropout, nn.Linear]
    assert module(torch.zeros(5, 6)).shape == (5, outputs)


def test_no_hidden_layer_is_a_linear_model():
    assert [type(layer) for layer in lnb.models.mlp(hidden=()).build(3)] == [nn.Linear]


def test_a_perceptron_flattens_rows_of_more_dimensions():
    assert lnb.models.mlp().build((4, 3, 2))(torch.zeros(5, 4, 3, 2)).shape == (5, 1)


@pytest.mark.parametrize(
    ("kind", "options", "message"),
    [
        (lnb.models.mlp, {"framework": "kears"}, "unknown framework 'kears'; did you mean 'keras'"),
        (lnb.models.mlp, {"framework": None}, "unknown framework 'None'"),
        (lnb.models.mlp, {"task": "binry"}, "unknown task 'binry'; did you mean 'binary'"),
        (lnb.models.mlp, {"activation": "softsign"}, "unknown activation"),
        (lnb.models.mlp, {"hiden": (8,)}, "unknown option of mlp 'hiden'; did you mean 'hidden'"),
        (lnb.models.mlp, {"hidden": (8, 0)}, "hidden holds 0"),
        (lnb.models.mlp, {"hidden": 8}, "hidden is 8; give the sizes"),
        (lnb.models.mlp, {"hidden": "8"}, "hidden is '8'; give the sizes"),
        (lnb.models.mlp, {"dropout": 1}, "dropout is 1"),
        (lnb.models.mlp, {"task": "multiclass"}, "needs the number of classes"),
        (lnb.models.mlp, {"classes": 3}, "goes with task='multiclass'"),
        (lnb.models.cnn, {"channels": ()}, "channels is (); give the sizes"),
        (lnb.models.cnn, {"kernel": 0}, "kernel is 0"),
        (lnb.models.cnn, {"chanels": (3,)}, "did you mean 'channels'"),
        (lnb.models.rnn, {"cell": "gruu"}, "unknown cell 'gruu'; did you mean 'gru'"),
        (lnb.models.rnn, {"hidden": ()}, "hidden is (); give the sizes"),
        (lnb.models.rnn, {"each_step": 1}, "each_step is 1; give True or False"),
        (lnb.models.rnn, {"bidirectional": "yes"}, "bidirectional is 'yes'; give True or False"),
        (lnb.models.rnn, {"vocabulary": 1}, "vocabulary is 1; give the number of tokens"),
        (lnb.models.rnn, {"embedding": 0}, "embedding is 0"),
        (
            lnb.models.transformer,
            {"width": 30, "heads": 4},
            "give an even width that is a multiple of heads, such as 32",
        ),
        (lnb.models.transformer, {"width": 3, "heads": 3}, "such as 6"),
        (lnb.models.transformer, {"heads": 0}, "heads is 0"),
        (lnb.models.transformer, {"layers": 0}, "layers is 0"),
        (lnb.models.transformer, {"casual": True}, "did you mean 'causal'"),
    ],
)
def test_descriptions_that_cannot_be_are_refused(kind, options, message):
    with pytest.raises(lnb.TrainingError) as caught:
        kind(**options)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("description", "shape", "message"),
    [
        (lnb.models.mlp(), 0, "the shape of a row is 0"),
        (lnb.models.mlp(), (3, None), "the shape of a row is (3, None)"),
        (lnb.models.mlp(), (), "the shape of a row is empty"),
        (lnb.models.cnn(), (2, 3, 4, 5), "a cnn takes rows of (steps, channels) or (height, width, channels)"),
        (lnb.models.rnn(), (2, 3, 4), "takes rows of (steps, features)"),
        (lnb.models.rnn(vocabulary=5), (2, 3), "with vocabulary=5 a row is (steps,) of token numbers"),
        (lnb.models.transformer(vocabulary=5), (2, 3), "with vocabulary=5 a row is (steps,) of token numbers"),
    ],
)
def test_rows_that_a_kind_cannot_take_are_refused(description, shape, message):
    with pytest.raises(lnb.TrainingError) as caught:
        description.build(shape)
    assert message in str(caught.value)


def test_weights_come_from_the_seed_and_the_generators_are_left_alone():
    def states():
        return torch.random.get_rng_state().tolist(), random.getstate(), np.random.get_state()[1].tolist()

    before = states()
    one, two, other = (build(lnb.models.mlp((4,)), 3, seed) for seed in (1, 1, 2))
    assert torch.equal(one[0].weight, two[0].weight)
    assert not torch.equal(one[0].weight, other[0].weight)
    assert states() == before


@pytest.mark.parametrize("kind", KINDS)
def test_a_precision_can_be_asked_for(kind):
    single, double = (build(kind(), (8, 2), 0, dtype=dtype) for dtype in ("float32", "float64"))
    for one, two in zip(single.parameters(), double.parameters(), strict=True):
        assert two.dtype == torch.float64
        assert torch.equal(one.double(), two)
    assert double(torch.zeros(3, 8, 2, dtype=torch.float64)).dtype == torch.float64
    with pytest.raises(lnb.TrainingError, match="unknown dtype 'float23'; did you mean 'float32'"):
        build(kind(), (8, 2), 0, dtype="float23")


def test_a_module_is_copied_and_functions_may_take_the_shape():
    module = nn.Linear(3, 1)
    copied = build(module, 3, 0)
    assert copied is not module
    assert torch.equal(copied.weight, module.weight)
    assert build(lambda features: nn.Linear(features, 1), 7, 0).in_features == 7
    assert build(lambda features: nn.Linear(features, 1), (7,), 0).in_features == 7
    assert build(lambda shape: nn.Linear(shape[1], 1), (7, 2), 0).in_features == 2
    assert build(lambda: nn.Linear(2, 1), 7, 0).in_features == 2
    assert build(lambda width=5: nn.Linear(width, 1), 7, 0).in_features == 5
    assert build(nn.Identity, 7, 0, dtype="float64")(torch.ones(1)) == 1


def test_a_function_must_return_a_model_of_the_framework_asked_for():
    with pytest.raises(lnb.TrainingError, match="returned a list; return a torch.nn.Module or a keras.Model"):
        build(list, 3, 0)
    with pytest.raises(lnb.TrainingError, match="returned a list; return a torch.nn.Module$"):
        build(list, 3, 0, framework="torch")
    with pytest.raises(lnb.TrainingError, match="the model is one of torch, and framework='keras' is asked for"):
        build(lnb.models.mlp(), 3, 0, framework="keras")
    with pytest.raises(lnb.TrainingError, match="unknown framework 'torhc'; did you mean 'torch'"):
        build(lnb.models.mlp(), 3, 0, framework="torhc")


def test_what_is_no_model_is_refused():
    assert is_module(nn.Linear(1, 1))
    assert not is_module(nn.Linear)
    check(lnb.models.mlp())
    check(lnb.models.rnn(framework="keras"))
    check(nn.Linear(1, 1))
    with pytest.raises(lnb.TrainingError, match="cannot train a int"):
        check(3)


def test_the_framework_is_known_without_importing_any():
    assert framework_of(nn.Linear(1, 1)) == framework_of(nn.Linear) == "torch"
    assert framework_of(lnb.models.cnn()) == "torch"
    assert framework_of(lnb.models.cnn(framework="keras")) == "keras"
    assert framework_of(lambda: None) is framework_of(3) is None
    code = """
import sys
import lepton_nb as lnb
for kind in (lnb.models.mlp, lnb.models.cnn, lnb.models.rnn, lnb.models.transformer):
    for framework in ("torch", "keras"):
        model = kind(framework=framework)
        lnb.models.check(model)
        assert lnb.models.framework_of(model) == framework
        assert lnb.models.described(lnb.models.told(model)) == model
assert not {"torch", "keras", "tensorflow"} & set(sys.modules)
"""
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize(
    "description",
    [
        lnb.models.mlp((3,), activation="gelu", dropout=0.5),
        lnb.models.cnn((3, 4), 2, task="multiclass", classes=4, framework="keras"),
        lnb.models.rnn("lstm", (3, 4), "regression", True, True, 9, 5, framework="keras", dropout=0.25),
        lnb.models.transformer(1, 8, 2, "multiclass", True, 9, True, "relu", 3),
    ],
)
def test_a_description_is_told_in_plain_values(description):
    values = json.loads(json.dumps(told(description)))
    assert described(values) == description
    with pytest.raises(lnb.TrainingError, match="unknown option of"):
        described({**values, "colour": "red"})
    with pytest.raises(lnb.TrainingError, match="unknown task"):
        described({**values, "task": "other"})


def test_values_of_older_versions_are_read():
    values = {"kind": "mlp", "hidden": [8], "task": "binary", "activation": "relu", "outputs": 1}
    assert described(values) == lnb.models.mlp((8,))
    assert described({**values, "dropout": 0.5}).dropout == 0.5


def test_what_was_not_described_is_not_told():
    assert told(nn.Linear(1, 1)) is told(lambda: None) is None
    with pytest.raises(lnb.TrainingError, match="code is not saved"):
        described(None)
    with pytest.raises(lnb.TrainingError, match="models of the kind 'other' are not known"):
        described({"kind": "other"})


@pytest.mark.parametrize("kind", KINDS)
def test_descriptions_are_values(kind):
    assert kind() == kind()
    assert hash(kind()) == hash(kind())
    with pytest.raises(dataclasses.FrozenInstanceError):
        kind().task = "regression"
