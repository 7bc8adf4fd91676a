import pytest
import torch
from torch import nn

import lepton_nb as lnb
from lepton_nb.training.models import build, check, is_module


@pytest.mark.parametrize(
    ("options", "outputs"), [({}, 1), ({"task": "regression"}, 1), ({"task": "multiclass", "classes": 4}, 4)]
)
def test_a_perceptron_has_the_asked_layers(options, outputs):
    module = lnb.models.mlp(hidden=(8, 4), activation="tanh", dropout=0.25, **options).build(6)
    kinds = [type(layer) for layer in module]
    assert kinds == [nn.Linear, nn.Tanh, nn.Dropout, nn.Linear, nn.Tanh, nn.Dropout, nn.Linear]
    assert module(torch.zeros(5, 6)).shape == (5, outputs)


def test_no_hidden_layer_is_a_linear_model():
    assert [type(layer) for layer in lnb.models.mlp(hidden=()).build(3)] == [nn.Linear]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"framework": "kears"}, "unknown framework 'kears'; did you mean 'keras'"),
        ({"task": "binry"}, "unknown task 'binry'; did you mean 'binary'"),
        ({"activation": "softsign"}, "unknown activation"),
        ({"hidden": (8, 0)}, "hidden holds 0"),
        ({"dropout": 1}, "dropout is 1"),
        ({"task": "multiclass"}, "needs the number of classes"),
        ({"classes": 3}, "goes with task='multiclass'"),
    ],
)
def test_descriptions_that_cannot_be_are_refused(options, message):
    with pytest.raises(lnb.TrainingError, match=message):
        lnb.models.mlp(**options)


def test_weights_come_from_the_seed_and_the_generator_is_left_alone():
    before = torch.random.get_rng_state()
    one, two, other = (build(lnb.models.mlp((4,)), 3, seed) for seed in (1, 1, 2))
    assert torch.equal(one[0].weight, two[0].weight)
    assert not torch.equal(one[0].weight, other[0].weight)
    assert torch.equal(torch.random.get_rng_state(), before)


def test_a_module_is_copied_and_functions_may_take_the_number_of_features():
    module = nn.Linear(3, 1)
    copied = build(module, 3, 0)
    assert copied is not module
    assert torch.equal(copied.weight, module.weight)
    assert build(lambda features: nn.Linear(features, 1), 7, 0).in_features == 7
    assert build(lambda: nn.Linear(2, 1), 7, 0).in_features == 2
    assert build(lambda width=5: nn.Linear(width, 1), 7, 0).in_features == 5


def test_what_is_no_model_is_refused():
    assert is_module(nn.Linear(1, 1))
    check(lnb.models.mlp())
    with pytest.raises(lnb.TrainingError, match="cannot train a int"):
        check(3)
