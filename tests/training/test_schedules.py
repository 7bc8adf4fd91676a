import numpy as np
import pytest
import torch

from lepton_nb.training import schedules


def rates(schedule, warmup_steps, steps):
    return [schedules.rate(0.5, schedule, warmup_steps, step, steps) for step in range(steps)]


def test_a_constant_rate_stays_after_its_warmup():
    assert rates("constant", 0, 3) == [0.5, 0.5, 0.5]
    assert rates("constant", 4, 6) == [0.125, 0.25, 0.375, 0.5, 0.5, 0.5]


@pytest.mark.parametrize("schedule", ["linear", "cosine"])
def test_schedules_are_those_of_torch(schedule):
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.5)
    kinds = torch.optim.lr_scheduler
    theirs = {
        "linear": lambda: kinds.LinearLR(optimizer, 1.0, 0.0, total_iters=40),
        "cosine": lambda: kinds.CosineAnnealingLR(optimizer, T_max=40),
    }[schedule]()
    expected = []
    for _ in range(40):
        expected.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        theirs.step()
    np.testing.assert_allclose(rates(schedule, 0, 40), expected, rtol=1e-12, atol=1e-15)
    # After a warmup the fall begins from the full rate.
    assert rates(schedule, 10, 50)[10:] == rates(schedule, 0, 40)


def test_a_warmup_longer_than_the_run_only_rises():
    assert rates("linear", 5, 3) == [0.1, 0.2, 0.3]
