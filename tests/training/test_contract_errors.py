"""What goes wrong is said alike in both frameworks, with the fix in the message."""

from __future__ import annotations

import contextlib
import threading
from types import SimpleNamespace

import numpy as np
import pytest
import training_contract as contract
from loops import ALONE, loop_of, torch_engine, write_rows

import lepton_nb as lnb
from lepton_nb.training.settle import settle
from lepton_nb.training.spec import TrainingSpec


@pytest.fixture(scope="module", params=contract.FRAMEWORKS)
def make_engine(request):
    """Of each framework, in this process."""
    if request.param == "torch":
        yield torch_engine
        return

    def keras_engine(model, shape, spec):
        from lepton_nb.training.keras_engine import KerasEngine
        from lepton_nb.training.keras_group import Group

        return KerasEngine(model, shape, spec, Group(ALONE, []))

    with contract.keras_in_double():
        yield keras_engine


def dense(make_engine, inputs, outputs, frozen=False):
    """A function that builds one dense layer."""

    def in_torch():
        from torch import nn

        return nn.Linear(inputs, outputs).requires_grad_(not frozen)

    def in_keras():
        import keras

        model = keras.Sequential([keras.Input((inputs,)), keras.layers.Dense(outputs)])
        model.trainable = not frozen
        return model

    return in_torch if make_engine is torch_engine else in_keras


def told(make_engine, folder, model, rows, **options):
    """What a run of one rank over `rows` fails with."""
    write_rows(folder, train=rows)
    spec = TrainingSpec(precision="float64", **options)
    channel = SimpleNamespace(stopping=False, pauses=0, send=lambda kind, **facts: None)
    with pytest.raises(lnb.TrainingError) as caught:
        loop_of(make_engine, model, spec, folder, channel).run()
    return caught.value


def changed(**values):
    features, target = contract.rows(60)
    for row, value in values.get("target", {}).items():
        target[row] = value
    return features * values.get("scale", 1.0), target


FEATURES = contract.FEATURES


@pytest.mark.parametrize(
    ("model", "rows", "options", "message"),
    [
        ((FEATURES, 2), {}, {"loss": "mse"}, "loss 'mse' needs one output a row; the model gives 2. For classes use"),
        ((FEATURES, 1), {}, {"loss": "cross_entropy"}, "needs one output for each class; the model gives 1 a row"),
        ((FEATURES, 3), {"target": {5: 7.0}}, {}, "the target holds 7; it must hold class numbers from 0 to 2, as"),
        (
            (FEATURES, 1), {"target": {5: 2.0}}, {"loss": "binary_cross_entropy"},
            "the target holds 2; it must hold 0 and 1; for more classes use task='multiclass'",
        ),
        (
            (FEATURES + 1, 1), {}, {},
            f"the model takes rows with {FEATURES + 1} features, and these have {FEATURES} features; build",
        ),
        (
            (FEATURES, 1), {}, {"loss": "mse", "metrics": ("rmse", "auc")},
            "the metric 'auc' is not for task='regression'; choose among rmse, r2, explained_variance",
        ),
        ((FEATURES, 1), {}, {"metrics": "r2"}, "the metric 'r2' is not for task='binary'; choose among auc, average_"),
        ((FEATURES, 1, True), {}, {}, "the model has no weights to train; unfreeze some ("),
        (
            (FEATURES, 1), {"scale": 1e200}, {"loss": "mse", "batch_size": 20},
            "at step 1 (epoch 1, batch 1); try a smaller learning_rate (now 0.001), and look for extreme values in the",
        ),
        (
            (FEATURES, 1), {}, {"loss": "mse", "batch_size": 20, "optimizer": "sgd", "learning_rate": 1e200},
            "at step 2 (epoch 1, batch 2); try a smaller learning_rate (now 1e+200), and look for extreme values in",
        ),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_said_alike(make_engine, tmp_path, model, rows, options, message):
    """The issue's own: output and target, shapes, frozen weights, and a loss that is not finite with step and batch."""
    found = told(make_engine, tmp_path, dense(make_engine, *model), changed(**rows), **options)
    assert message in str(found)


def test_what_fails_within_a_model_is_told_as_it_is(make_engine, tmp_path):
    """It is no matter of the rows' width."""

    def in_torch():
        from torch import nn

        return nn.Sequential(nn.Linear(FEATURES, 3), nn.Linear(4, 1))

    def in_keras():
        import keras

        class Failing(keras.layers.Layer):
            def call(self, values):
                if values.shape[0] is not None:
                    raise ValueError("as planned")
                return values

        return keras.Sequential([keras.Input((FEATURES,)), Failing(), keras.layers.Dense(1)])

    model = in_torch if make_engine is torch_engine else in_keras
    reason = r"shapes cannot be multiplied" if make_engine is torch_engine else "as planned"
    message = str(told(make_engine, tmp_path, model, changed()))
    assert message.startswith(f"the model cannot take a batch of the shape (2, {FEATURES}) (rows, features): ")
    assert reason in message


def test_an_image_model_of_another_size_tells_what_it_takes(make_engine, tmp_path):
    """Flattened, as a dense layer sees it, in PyTorch; in Keras by its input."""

    def in_torch():
        from torch import nn

        return nn.Sequential(nn.Flatten(), nn.Linear(30, 1))

    def in_keras():
        import keras

        return keras.Sequential([keras.Input((5, 6)), keras.layers.Flatten(), keras.layers.Dense(1)])

    in_torch_ = make_engine is torch_engine
    rows = np.ones((60, 4, 6)), contract.rows(60)[1]
    wanted, found = ("30 features", "24 features") if in_torch_ else ("the shape (5, 6)", "the shape (4, 6)")
    message = str(told(make_engine, tmp_path, in_torch if in_torch_ else in_keras, rows))
    assert message.startswith(f"the model takes rows with {wanted}, and these have {found}; ")


@pytest.mark.parametrize("framework", contract.FRAMEWORKS)
@pytest.mark.parametrize("thing", ["lock", "generator"])
def test_a_model_that_cannot_travel_is_refused_alike(framework, thing):
    """The issue's own: what a function holds on to is named, and that it can be made where it is used."""
    held = threading.Lock() if thing == "lock" else (number for number in range(3))
    build = contract.builder(framework)

    def holding():
        assert held is not None
        return build()

    with pytest.raises(lnb.TrainingError, match=f"the model cannot be sent to the workers: .*{thing}.* a function"):
        contract.start(None, framework, model=holding)


def compiled_model():
    import keras

    model = keras.Sequential([keras.Input((FEATURES,)), keras.layers.Dense(1)])
    model.compile(keras.optimizers.RMSprop(0.25), "mse")
    return model


def test_what_a_keras_model_was_compiled_with_is_not_passed_over(tmp_path):
    """A training has its own loss and optimizer, and the model says others: the user decides."""
    with contract.keras_in_double():
        model = compiled_model()
    both = (
        r"compiled with the loss 'mse' and the optimizer RMSprop \(learning rate 0.25\), .*: loss=.* or 'mse', .*; opt"
    )
    for options, message in [
        ({}, both),
        (
            {"loss": "mse"},
            r"compiled with the optimizer RMSprop .*: optimizer='adam' or 'adamw' or 'sgd', and learning",
        ),
        (
            {"optimizer": "sgd"},
            "compiled with the loss 'mse', and a training has its own; say what it is to take: loss=",
        ),
    ]:
        with pytest.raises(lnb.TrainingError, match=message):
            lnb.train(model, contract.rows(), **options)
        with pytest.raises(lnb.TrainingError, match=message):
            lnb.sweep(model, contract.rows(), {"learning_rate": [0.1]}, validation=contract.rows(9), **options)
    assert settle(model, loss="mse", optimizer="adam").framework == "keras"
    assert settle(compiled_model, framework="keras").loss == "auto"


@pytest.mark.parametrize("make_engine", ["keras"], indirect=True)
def test_what_a_function_compiles_is_not_passed_over_either(make_engine, tmp_path):
    """It is built in a rank."""
    assert "compiled with the loss 'mse' and the optimizer RMSprop" in str(
        told(make_engine, tmp_path, compiled_model, changed())
    )
    write_rows(tmp_path, train=contract.rows(60))
    channel = SimpleNamespace(stopping=False, pauses=0, send=lambda kind, **facts: None)
    spec = TrainingSpec(precision="float64", loss="mse", epochs=1)
    loop_of(make_engine, compiled_model, spec, tmp_path, channel).run()


@pytest.mark.parametrize("framework", contract.FRAMEWORKS)
def test_unknown_options_name_the_closest_one(framework):
    """lonboard's habit, asked for by the issue."""
    for options, message in [
        ({"learning_rat": 0.1}, "unknown option 'learning_rat'; did you mean 'learning_rate'"),
        ({"optimizer": "adm"}, "unknown optimizer 'adm'; did you mean 'adam'"),
        ({"metrics": ("aucc",)}, "unknown metric 'aucc'; did you mean 'auc'"),
        ({"metrics": "acuracy"}, "the metric 'acuracy' need not be asked for: loss, and accuracy"),
        ({"schedule": "cosin"}, "unknown schedule 'cosin'; did you mean 'cosine'"),
    ]:
        with pytest.raises(lnb.TrainingError, match=message):
            contract.start(None, framework, **options)


@pytest.mark.parametrize("framework", contract.FRAMEWORKS)
def test_a_run_that_would_be_all_warm_up_is_refused(framework):
    """A learning rate that is never reached is a slip: batches are counted, not epochs."""
    steps = 2 * contract.STEPS_OF_EPOCH
    for options in ({"epochs": 2}, {"steps": steps}):
        message = (
            f"warmup_steps is {steps}, and the whole run has {steps} steps .*give fewer, such as warmup_steps=1, or"
        )
        with pytest.raises(lnb.TrainingError, match=message) as caught:
            contract.start(None, framework, warmup_steps=steps, **options)
        assert (caught.value.warmup_steps, caught.value.steps) == (steps, steps)


@pytest.mark.parametrize("framework", contract.FRAMEWORKS)
def test_running_out_of_memory_names_what_helps(framework):
    """Of the frameworks' own errors, for more than any machine has."""
    from lepton_nb.training.rank import _said

    caught: Exception | None = None
    with contextlib.suppress(ImportError):
        try:
            if framework == "torch":
                import torch

                torch.empty(2**50, dtype=torch.float64)
            else:
                import tensorflow as tf

                tf.zeros([2**25, 2**25], tf.float64)
        except Exception as error:
            caught = error
    assert caught is not None
    assert "give a smaller batch_size, or do each batch in pieces (accumulation=4)" in _said(caught)


@pytest.mark.slow
@pytest.mark.parametrize("framework", contract.FRAMEWORKS)
def test_ranks_say_what_a_single_one_says(cluster, framework):
    """The first loss that is not finite, from two ranks, with its step and batch and without a traceback."""
    features, target = contract.rows(60)
    features[:] *= 1e200
    run = contract.start(cluster, framework, data=(features, target * 1e200), batch_size=25, loss="mse")
    message = r"^the loss is (inf|nan) at step 1 \(epoch 1, batch 1\); try a smaller learning_rate \(now 0.1\)"
    with pytest.raises(lnb.TrainingError, match=message) as caught:
        run.wait(120)
    assert "Traceback" not in str(caught.value)
    assert run.restarts == ()
    assert run.step == 0
