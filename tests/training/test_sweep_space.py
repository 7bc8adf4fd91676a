import sys

import numpy as np
import pytest
from sweeps import search
from torch import nn

import lepton_nb as lnb
from lepton_nb.training import sweep_space
from lepton_nb.training.sweep_rehearsal import rehearse
from lepton_nb.training.sweep_space import Choices, Range, Recipe


@pytest.mark.parametrize(
    ("entry", "expected"),
    [
        ([64, 128], Choices((64, 128))),
        ([(64,), (128, 64)], Choices(((64,), (128, 64)))),
        (list(np.array([1, 2])), Choices((1, 2))),
        ((1e-4, 1e-1, "log"), Range(1e-4, 1e-1, log=True)),
        ((16, 256, "log"), Range(16, 256, log=True)),
        ((0, 0.5), Range(0.0, 0.5)),
        ((0.0, 0.5, 0.1), Range(0.0, 0.5, step=0.1)),
        (range(8, 33, 8), Range(8, 32, step=8)),
    ],
)
def test_lists_are_choices_and_tuples_are_ranges(entry, expected):
    assert sweep_space.read({"a": entry}) == {"a": expected}
    assert all(type(value) in (int, float, tuple) for value in expected.corners())


@pytest.mark.parametrize(
    ("space", "message"),
    [
        ({}, "space is {}; give a dictionary such as"),
        ({"batch_size": 64}, "batch_size is 64 in the space; give a list of choices.* as an option if it is fixed"),
        ({"hidden": ()}, "hidden is .* a tuple is a range"),
        ({"optimizer": ("adam", "sgd")}, r"optimizer is \('adam', 'sgd'\) .*; a tuple is a range"),
        ({"batch_size": [64, 64]}, "the choice 64 twice"),
        ({"batch_size": []}, "batch_size has no choices"),
        ({"clip_norm": [1.0, float("nan")]}, "give finite numbers"),
        ({"learning_rate": (0.1, 0.01)}, "from 0.1 to 0.01 in the space; give the lower end first"),
        ({"learning_rate": (0, 0.1, "log")}, "a 'log' range starts above 0"),
        ({"batch_size": (16, 64, 0.5)}, "the step 0.5 from 16 to 64"),
        ({"batch_size": (True, 64)}, "a tuple is a range"),
        ({"state": [1, 2]}, "'state' is a column of sweep.trials"),
        ({3: [1, 2]}, "space names 3"),
    ],
)
def test_a_space_that_cannot_be_drawn_from_is_refused(space, message):
    with pytest.raises(lnb.TrainingError, match=message):
        sweep_space.read(space)


def test_drawn_names_go_to_the_options_or_into_the_model():
    model = lnb.models.mlp((4,), activation="tanh")
    recipe = Recipe.of(model, ["learning_rate", "hidden", "dropout"])
    values = {"learning_rate": 0.1, "hidden": (8, 8), "dropout": 0.5}
    assert recipe.options_of(values) == {"learning_rate": 0.1}
    assert recipe.model_of(values) == lnb.models.mlp((8, 8), activation="tanh", dropout=0.5)
    with pytest.raises(lnb.TrainingError, match="dropout is 3"):
        recipe.model_of({**values, "dropout": 3})
    module = nn.Linear(4, 1)
    assert Recipe.of(module, ["learning_rate"]).model_of({"learning_rate": 0.1}) is module


def test_functions_get_the_values_that_they_name():
    described = Recipe.of(lambda width, depth=1: lnb.models.mlp((width,) * depth), ["width", "batch_size"])
    assert described.options_of({"width": 3, "batch_size": 8}) == {"batch_size": 8}
    assert described.model_of({"width": 3, "batch_size": 8}) == lnb.models.mlp((3,))

    def build(width, features, **others):
        return nn.Sequential(nn.Linear(features, width), nn.Linear(width, len(others)))

    built = Recipe.of(build, ["width", "anything"]).model_of({"width": 3, "anything": None})
    assert [layer.weight.shape for layer in built(5)] == [(3, 5), (1, 3)]

    without = Recipe.of(lambda width: nn.Linear(4, width), ["width"]).model_of({"width": 2})
    assert without().weight.shape == (2, 4)

    class Net(nn.Linear):
        def __init__(self, features, width):
            super().__init__(features, width)

    assert Recipe.of(Net, ["width"]).model_of({"width": 2})(7).weight.shape == (2, 7)
    with pytest.raises(lnb.TrainingError, match="takes a, b besides what is drawn"):
        Recipe.of(lambda a, b, c: None, ["c"]).model_of({"c": 1})


@pytest.mark.parametrize(
    ("model", "name", "message"),
    [
        (lnb.models.mlp(), "hiden", "unknown name in the space 'hiden'; did you mean 'hidden'"),
        (lnb.models.mlp(), "learning_rat", "did you mean 'learning_rate'"),
        (lambda width: None, "widht", "did you mean 'width'"),
        (nn.Linear(4, 1), "hidden", "unknown name in the space 'hidden'"),
        (lnb.models.mlp(), "validation", "validation cannot be drawn; give it as an option of the sweep"),
    ],
)
def test_a_name_that_nothing_takes_is_refused_with_the_closest(model, name, message):
    with pytest.raises(lnb.TrainingError, match=message):
        Recipe.of(model, [name])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"trials": 0}, "trials is 0"),
        ({"trails": 3}, "unknown option 'trails'; did you mean 'trials'"),
        ({"epoch": 3}, "unknown option 'epoch'; did you mean 'epochs'"),
        ({"metric": "validation_los"}, "unknown metric 'validation_los'; did you mean 'validation_loss'"),
        ({"validation": None}, "validation_loss is measured on rows of its own; give them: validation="),
        ({"direction": "up"}, "unknown direction 'up'"),
        ({"prune": "medain"}, "unknown prune 'medain'; did you mean 'median'"),
        ({"seed": -1}, "seed is -1"),
        ({"path": "a", "resume": "b"}, "give one of them"),
        ({"target": "z"}, "unknown target column 'z'"),
        ({"learning_rate": 0.1}, "learning_rate is both drawn and given"),
        ({"space": {"learning_rate": [-1.0, -2.0]}}, "learning_rate is -1.0; give a number above 0"),
        ({"space": {"hidden": (8, 64)}}, "hidden is 8; give the sizes of the layers"),
        ({"cluster": "local"}, "cluster is a str; give an lnb.Cluster"),
        ({"checkpoint": "folder"}, "unknown option 'checkpoint'"),
        ({"space": {"optimizer": ["adam", "adm"]}}, "unknown optimizer 'adm'; did you mean 'adam'"),
        ({"space": {"batch_size": (0, 64)}}, "batch_size is 0; give a whole number of 1 or more"),
        ({"space": {"activation": ["relu", "rely"]}}, "unknown activation 'rely'; did you mean 'relu'"),
        ({"space": {"loss": ["binary_cross_entropy", "mse"]}}, "task='binary', and loss='mse' is for 'regression'"),
        (
            {"space": {"momentum": [0.0, 0.9], "optimizer": ["adam", "adamw"]}},
            "momentum is 0.9 with optimizer='adamw?'; give .* optimizer='sgd'",
        ),
        ({"patience": 2, "validation": None, "metric": "loss"}, "patience looks at the validation loss; give rows"),
        ({"metrics": "rmse"}, "the metric 'rmse' is not for task='binary'"),
        ({"parallel": "ddp", "space": {"framework": ["keras"]}}, "framework cannot be drawn"),
        ({"warmup_steps": 4}, "warmup_steps is 4, and the whole run has 4 steps"),
        ({"space": {"warmup_steps": [0, 7]}}, "warmup_steps is 7, and the whole run has 4 steps"),
        ({"track": {"jsnl": "x"}}, "unknown tracker 'jsnl'; did you mean 'jsonl'"),
    ],
)
def test_bad_input_is_refused_before_anything_starts(options, message):
    with pytest.raises(lnb.TrainingError, match=message):
        search(**options)


@pytest.mark.parametrize("framework", ["torch", "keras"])
def test_a_fixed_option_that_does_not_go_with_the_model_is_refused_alike(framework):
    model = lnb.models.mlp((4,), framework=framework)
    wrong = {
        "torch": ({"framework": "keras"}, "the model is one of torch"),
        "keras": ({"parallel": "ddp"}, "PyTorch's"),
    }
    options, message = wrong[framework]
    with pytest.raises(lnb.TrainingError, match=message):
        search(model, **options)
    with pytest.raises(lnb.TrainingError, match="unknown schedule 'cosin'; did you mean 'cosine'"):
        search(model, {"schedule": ["constant", "cosin", "linear"]})


def test_a_value_that_does_beside_some_others_is_not_refused():
    space = {
        "width": [16, 24], "heads": [4, 3], "optimizer": ["adam", "sgd"], "momentum": [0.0, 0.9],
        "dropout": [0.0, 0.1, 0.2],
    }  # fmt: skip
    drawn = sweep_space.read(space)
    found = rehearse(Recipe.of(lnb.models.transformer(), drawn), drawn, {"seed": 3})
    assert found.seed == 3
    drawn = sweep_space.read({**space, "width": [16, 24, 7]})
    with pytest.raises(lnb.TrainingError, match="width is 7 with heads="):
        rehearse(Recipe.of(lnb.models.transformer(), drawn), drawn, {})


def test_a_space_in_which_some_draws_fit_is_not_refused():
    space = sweep_space.read({"momentum": [0.0, 0.9], "optimizer": ["adam", "sgd"]})
    assert {"momentum": 0.9, "optimizer": "sgd"} in list(sweep_space.corners(space))


def test_without_optuna_the_error_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(lnb.TrainingError, match=r'pip install "lepton-nb\[sweep\]"'):
        search()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"at_once": 0}, "at_once is 0; give a whole number of 1 or more"),
        ({"at_once": "many"}, "at_once is 'many'; give a whole number of 1 or more"),
        ({"at_once": 2, "workers": "auto"}, "give workers as a number"),
    ],
)
def test_how_many_trials_cannot_train_at_once(options, message):
    with pytest.raises(lnb.TrainingError, match=message):
        search(**options)
