from types import SimpleNamespace

import numpy as np
import pytest
import torch
from loops import loop_of, torch_engine, write_rows
from torch import nn

import lepton_nb as lnb
from lepton_nb.training.sharding import epoch_order
from lepton_nb.training.spec import TrainingSpec


def run_loop(folder, *, stopping=False, validation=None, model=None, **options):
    """A loop of one rank over 100 rows, run to its end; and all that it sent."""
    write_rows(folder, train=rows(), **({} if validation is None else {"validation": validation}))
    sent = []
    channel = SimpleNamespace(stopping=stopping, pauses=0, send=lambda kind, **facts: sent.append((kind, facts)))
    loop = loop_of(torch_engine, model or start(), TrainingSpec(**options), folder, channel)
    loop.run()
    return loop, sent


def rows():
    features = np.random.default_rng(0).normal(size=(100, 3))
    return features, (features[:, 0] > 0.5).astype(float)


def start():
    torch.manual_seed(0)
    return nn.Linear(3, 1)


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


def test_an_epoch_whose_last_step_is_the_last_of_all_is_finished(tmp_path):
    loop, sent = run_loop(tmp_path, stopping=True, batch_size=100, validation=rows(), patience=1)
    assert loop.stopped
    (row,) = [facts["row"] for kind, facts in sent if kind == "epoch"]
    assert row["epoch"] == row["step"] == 1
    assert "validation_loss" not in row


def weights_of(loop):
    return torch.cat([value.detach().reshape(-1) for value in loop.engine.model.parameters()]).numpy()


def test_a_run_of_so_many_steps_ends_within_an_epoch(tmp_path):
    loop, sent = run_loop(tmp_path, steps=25, epochs=1, batch_size=10, log_every_steps=1)
    assert loop.step == 25
    assert [row["epoch"] for row in step_rows(sent)] == [1] * 10 + [2] * 10 + [3] * 5
    assert [facts["row"]["epoch"] for kind, facts in sent if kind == "epoch"] == [1, 2]


def test_accumulation_gives_the_weights_of_the_whole_batch(tmp_path):
    options = {"epochs": 5, "batch_size": 32, "precision": "float64", "learning_rate": 0.1}
    whole, _ = run_loop(tmp_path, **options)
    # 7 pieces of the last batch's 4 rows: some are empty.
    pieces, _ = run_loop(tmp_path, accumulation=7, **options)
    np.testing.assert_allclose(weights_of(pieces), weights_of(whole), rtol=0, atol=1e-12)


def plain_loop(spec, weight_of=None, limit=None):
    """Torch's own parts, as anyone would put them together for one process."""
    model = start().double()
    features, target = (torch.from_numpy(values) for values in rows())
    optimizer = torch.optim.SGD(model.parameters(), lr=spec["learning_rate"], momentum=spec.get("momentum", 0.0))
    steps = spec["epochs"] * 4
    fall = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=steps)
    norms = []
    for epoch in range(spec["epochs"]):
        for batch in torch.from_numpy(epoch_order(100, 0, epoch)).split(spec["batch_size"]):
            weight = None if weight_of is None else weight_of[target[batch].long()]
            losses = nn.functional.binary_cross_entropy_with_logits(
                model(features[batch]).squeeze(1), target[batch], reduction="none"
            )
            loss = losses.mean() if weight is None else (losses * weight).sum() / weight.sum()
            optimizer.zero_grad()
            loss.backward()
            norms.append(float(torch.nn.utils.clip_grad_norm_(model.parameters(), limit or float("inf"))))
            optimizer.step()
            fall.step()
    return model, norms


@pytest.mark.parametrize("limit", [None, 0.2])
def test_momentum_schedule_and_clipping_are_those_of_torch(tmp_path, limit):
    options = {"epochs": 5, "batch_size": 32, "learning_rate": 0.5, "momentum": 0.9}
    loop, sent = run_loop(
        tmp_path, precision="float64", optimizer="sgd", schedule="cosine", clip_norm=limit, log_every_steps=1, **options
    )
    model, norms = plain_loop(options, limit=limit)
    expected = torch.cat([value.detach().reshape(-1) for value in model.parameters()]).numpy()
    # Torch adds 1e-6 to the norm that it divides by.
    np.testing.assert_allclose(weights_of(loop), expected, rtol=0, atol=1e-12 if limit is None else 1e-4)
    np.testing.assert_allclose(
        [row["gradient_norm"] for row in step_rows(sent)], norms, rtol=1e-10 if limit is None else 1e-4
    )
    assert any(norm > 0.2 for norm in norms)
    assert step_rows(sent)[0]["learning_rate"] == 0.5
    assert step_rows(sent)[-1]["learning_rate"] < 0.01


@pytest.mark.parametrize("given", ["balanced", {0: 1.5, 1: 7.0}])
def test_classes_count_as_much_as_they_are_told_to(tmp_path, given):
    options = {"epochs": 5, "batch_size": 32, "learning_rate": 0.5}
    more = {"precision": "float64", "optimizer": "sgd", "schedule": "cosine", "accumulation": 2}
    loop, _ = run_loop(tmp_path, class_weights=given, **more, **options)
    counts = np.bincount(rows()[1].astype(int))
    weights = 100 / (2 * counts) if given == "balanced" else np.array([1.5, 7.0])
    model, _ = plain_loop(options, weight_of=torch.from_numpy(weights))
    expected = torch.cat([value.detach().reshape(-1) for value in model.parameters()]).numpy()
    np.testing.assert_allclose(weights_of(loop), expected, rtol=0, atol=1e-12)


def test_class_weights_that_do_not_fit_are_refused(tmp_path):
    with pytest.raises(
        lnb.TrainingError, match="class_weights has no weight for class 1, which the training rows hold"
    ):
        run_loop(tmp_path, class_weights={0: 1.0})
    with pytest.raises(lnb.TrainingError, match="class_weights are for classes, and this is a regression"):
        run_loop(tmp_path, class_weights="balanced", loss="mse")


def test_patience_ends_the_run_and_gives_the_best_epoch(tmp_path):
    """Validation that wants the opposite: each epoch of learning makes it worse, so the first is the best."""
    features, target = rows()
    options = {"batch_size": 20, "learning_rate": 0.1, "precision": "float64"}
    loop, sent = run_loop(tmp_path, validation=(features, 1 - target), epochs=50, patience=3, **options)
    epochs = [facts["row"] for kind, facts in sent if kind == "epoch"]
    assert [row["epoch"] for row in epochs] == [1, 2, 3, 4]
    first, _ = run_loop(tmp_path, epochs=1, **options)
    np.testing.assert_array_equal(weights_of(loop), weights_of(first))


def test_patience_waits_as_long_as_it_gets_better(tmp_path):
    _, sent = run_loop(tmp_path, validation=rows(), epochs=6, batch_size=20, learning_rate=0.01, patience=1)
    losses = [facts["row"]["validation_loss"] for kind, facts in sent if kind == "epoch"]
    assert len(losses) == 6
    assert losses == sorted(losses, reverse=True)


class HalfUsed(nn.Module):
    def __init__(self):
        super().__init__()
        self.used = nn.Linear(3, 1)
        self.unused = nn.Linear(3, 1)

    def forward(self, values):
        return self.used(values)


def test_a_weight_that_takes_no_part_decays_as_it_does_with_several_ranks(tmp_path):
    """Several ranks add up a zero for it; PyTorch alone would leave it as it is."""
    model = HalfUsed()
    before = model.unused.weight.detach().double()
    options = {"learning_rate": 0.1, "weight_decay": 0.5, "optimizer": "adamw", "precision": "float64"}
    loop, sent = run_loop(tmp_path, model=model, batch_size=20, epochs=2, clip_norm=1e-3, log_every_steps=1, **options)
    after = dict(loop.engine.model.named_parameters())["unused.weight"].detach()
    torch.testing.assert_close(after, before * (1 - 0.1 * 0.5) ** 10, rtol=1e-12, atol=0)
    assert all(row["gradient_norm"] > 1e-3 for row in step_rows(sent))
