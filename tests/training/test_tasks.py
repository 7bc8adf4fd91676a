import numpy as np
import pytest

import lepton_nb as lnb
from lepton_nb.training.batches import TargetFacts
from lepton_nb.training.tasks import resolve_task

ZERO_ONE = np.array([0.0, 1.0, 1.0])
CLASSES = np.array([0.0, 1.0, 2.0])
NUMBERS = np.array([0.5, -1.0, 7.0])


@pytest.mark.parametrize(
    ("loss", "shape", "target", "task"),
    [
        ("auto", (3, 1), ZERO_ONE, "binary"),
        ("auto", (3,), ZERO_ONE, "binary"),
        ("auto", (3, 1), NUMBERS, "regression"),
        ("auto", (3, 3), CLASSES, "multiclass"),
        ("auto", (3, 2), ZERO_ONE, "multiclass"),
        ("mse", (3, 1), ZERO_ONE, "regression"),
    ],
)
def test_loss_output_and_target_settle_the_task(loss, shape, target, task):
    assert resolve_task(loss, shape, TargetFacts.of(target)) == task


@pytest.mark.parametrize(
    ("loss", "shape", "target", "message"),
    [
        ("binary_cross_entropy", (3, 2), ZERO_ONE, "needs one output a row; the model gives 2"),
        ("binary_cross_entropy", (3, 1), CLASSES, "the target holds 2; it must hold 0 and 1"),
        ("cross_entropy", (3, 1), CLASSES, "needs one output for each class; the model gives 1"),
        ("auto", (3, 2), CLASSES, "the target holds 2; it must hold class numbers from 0 to 1"),
        ("auto", (3, 2), NUMBERS, "the target holds 0.5"),
        ("auto", (3, 4, 4), CLASSES, r"has the shape \(3, 4, 4\)"),
    ],
)
def test_what_does_not_fit_is_refused(loss, shape, target, message):
    with pytest.raises(lnb.TrainingError, match=message):
        resolve_task(loss, shape, TargetFacts.of(target))
