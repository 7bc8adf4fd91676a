"""Described models of every kind and task learn the same in both frameworks, on one rank and on two."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import training_contract as contract

import lepton_nb as lnb
from lepton_nb.training.models import build, copy_weights

COUNT, TOKENS, STEPS = 61, 9, 12
RANDOM = np.random.default_rng(4)
PLAIN = RANDOM.normal(size=(COUNT, 6))
IMAGES = RANDOM.normal(size=(COUNT, 6, 5, 2))
SEQUENCES = RANDOM.normal(size=(COUNT, 5, 3))
WORDS = RANDOM.integers(0, TOKENS, (COUNT, 6)).astype(np.float64)
# Description, features and target, of a binary, a multiclass and a regression task, and of one for each step.
CASES = {
    "mlp": (lnb.models.mlp((8,), task="regression"), PLAIN, PLAIN[:, 0] - PLAIN[:, 1]),
    "cnn": (lnb.models.cnn((3, 4), kernel=3), IMAGES, (IMAGES.mean(axis=(1, 2, 3)) > 0).astype(np.float64)),
    "rnn": (
        lnb.models.rnn("gru", (4,), each_step=True, task="regression"), SEQUENCES, SEQUENCES.cumsum(axis=1)[:, :, 0],
    ),
    "transformer": (
        lnb.models.transformer(1, 8, 2, vocabulary=TOKENS, task="multiclass", classes=3), WORDS, WORDS[:, 0] % 3,
    ),
}  # fmt: skip
OPTIONS = {
    "steps": STEPS, "batch_size": 25, "precision": "float64", "optimizer": "sgd", "learning_rate": 0.1, "seed": 5,
    "log_every_steps": 1,
}  # fmt: skip


@pytest.fixture(scope="module")
def in_torch(cluster):
    """A finished run of each kind, on one rank."""
    found = {}

    def of(kind):
        if kind not in found:
            description, *data = CASES[kind]
            found[kind] = lnb.train(description, tuple(data), workers=1, cluster=cluster, **OPTIONS).wait(200)
        return found[kind]

    return of


def same_first_weights(kind):
    """The Keras model with the very weights that the run in PyTorch began with."""
    description, features, _ = CASES[kind]
    shape = features.shape[1:]
    module = build(description, shape, OPTIONS["seed"]).double()
    model = build(dataclasses.replace(description, framework="keras"), shape, 0, dtype="float64")
    copy_weights(module, model)
    return model


@pytest.mark.slow
@pytest.mark.parametrize("kind", CASES)
@pytest.mark.parametrize("framework", contract.FRAMEWORKS)
def test_two_ranks_in_either_framework_learn_what_one_learns_in_pytorch(cluster, in_torch, tmp_path, framework, kind):
    """The issue's own: one description, both frameworks, any number of ranks; then saved, loaded and asked again."""
    description, *data = CASES[kind]
    model = description if framework == "torch" else same_first_weights(kind)
    one = in_torch(kind)
    run = lnb.train(model, tuple(data), workers=2, loss=one.spec.loss, cluster=cluster, **OPTIONS).wait(200)
    np.testing.assert_allclose(run.steps["loss"], one.steps["loss"], rtol=0, atol=1e-10)
    assert run.steps["loss"][-1] < run.steps["loss"][0]
    features = data[0][:7]
    found = run.predict(features)
    np.testing.assert_allclose(found, one.predict(features), rtol=0, atol=1e-10)
    # A description is saved with its weights; of a model of the user's own, code is not.
    loaded = lnb.load(run.save(tmp_path / "saved"), model=None if framework == "torch" else model)
    np.testing.assert_array_equal(loaded.predict(features), found)


@pytest.mark.slow
@pytest.mark.parametrize("framework", contract.FRAMEWORKS)
def test_mixed_precision_multiplies_in_16_bits_and_keeps_weights_and_losses_in_32(cluster, framework):
    """bfloat16 has 8 bits of precision, float32 has 24: the losses differ, by a part in some hundreds at the most."""
    options = {"steps": 35, "validation": contract.rows(101, seed=5)}
    whole, mixed = (
        contract.start(cluster, framework, precision=precision, **options)
        for precision in ("float32", "mixed_bfloat16")
    )
    whole.wait(200)
    mixed.wait(200)
    apart = np.abs(mixed.steps["loss"] - whole.steps["loss"])
    assert 1e-5 < apart.max() < 2e-2
    assert mixed.history["validation_loss"][-1] == pytest.approx(whole.history["validation_loss"][-1], abs=2e-2)
    values = mixed.model.weights if framework == "keras" else list(mixed.model.parameters())
    assert {str(value.dtype).removeprefix("torch.") for value in values} == {"float32"}
    features = contract.rows(50, seed=6)[0]
    np.testing.assert_allclose(mixed.predict(features), whole.predict(features), atol=3e-2)
