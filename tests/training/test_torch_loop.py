from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

import lepton_nb as lnb
from lepton_nb.training.placement import place
from lepton_nb.training.spec import TrainingSpec
from lepton_nb.training.torch_group import Group
from lepton_nb.training.torch_loop import Loop

ALONE = place(("tcp://127.0.0.1:1",), 1)[0]


def run_loop(folder, *, stopping=False, **options):
    """A loop of one rank over 100 rows, run to its end; and all that it sent."""
    random = np.random.default_rng(0)
    features = random.normal(size=(100, 3))
    np.save(folder / "train_features.npy", features)
    np.save(folder / "train_target.npy", (features[:, 0] > 0).astype(float))
    torch.manual_seed(0)
    job = {"model": nn.Linear(3, 1), "spec": TrainingSpec(**options), "features": 3}
    sent = []
    channel = SimpleNamespace(stopping=stopping, send=lambda kind, **facts: sent.append((kind, facts)))
    loop = Loop(job, folder, Group(ALONE, torch.device("cpu")), channel)
    loop.run()
    return loop, sent


def step_rows(sent):
    return [row for kind, facts in sent if kind == "steps" for row in facts["rows"]]


def test_step_rows_hold_the_mean_loss_of_all_rows_since_the_row_before_across_epochs(tmp_path):
    # Seven steps an epoch, the last of ten rows, and a row for every five steps.
    options = {"epochs": 5, "batch_size": 15, "precision": "float64", "optimizer": "sgd", "learning_rate": 0.1}
    _, each = run_loop(tmp_path, log_every_steps=1, **options)
    _, few = run_loop(tmp_path, log_every_steps=5, **options)
    losses = np.array([row["loss"] for row in step_rows(each)])
    sizes = np.tile([15] * 6 + [10], 5)
    assert losses.size == 35
    assert [row["step"] for row in step_rows(few)] == [5, 10, 15, 20, 25, 30, 35]
    assert [row["epoch"] for row in step_rows(few)] == [1, 2, 3, 3, 4, 5, 5]
    expected = (losses * sizes).reshape(7, 5).sum(axis=1) / sizes.reshape(7, 5).sum(axis=1)
    np.testing.assert_allclose([row["loss"] for row in step_rows(few)], expected, rtol=1e-12)


@pytest.mark.parametrize(("stopping", "batch_size"), [(False, 100), (True, 50)])
def test_weights_that_the_last_step_broke_are_refused(tmp_path, stopping, batch_size):
    with pytest.raises(
        lnb.TrainingError, match=r"the weights \w+ are not finite after step 1; try a smaller"
    ) as caught:
        run_loop(tmp_path, stopping=stopping, batch_size=batch_size, epochs=1, optimizer="sgd", learning_rate=1e300)
    assert caught.value.step == 1


def test_a_stop_ends_the_loop_after_the_step_in_which_it_is_seen(tmp_path):
    loop, _ = run_loop(tmp_path, stopping=True, batch_size=10)
    assert loop.stopped
    assert loop.step == 1
