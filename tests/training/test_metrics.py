import numpy as np
import pytest
from sklearn import metrics as peer

from lepton_nb.training import metrics

RANDOM = np.random.default_rng(3)
TARGET = (RANDOM.random(5000) < 0.2).astype(np.float32)
LOGITS = RANDOM.normal(TARGET - 1.5, 1)


@pytest.mark.parametrize("scores", [LOGITS, LOGITS.round(1), np.zeros(TARGET.size)])
def test_auc_and_roc_agree_with_scikit_learn_also_with_ties(scores):
    assert metrics.auc(TARGET, scores) == pytest.approx(peer.roc_auc_score(TARGET, scores), abs=1e-12)
    false, true, _ = peer.roc_curve(TARGET, scores, drop_intermediate=False)
    curve = metrics.roc_curve(TARGET, scores)
    np.testing.assert_allclose(curve.false_positive_rate, false)
    np.testing.assert_allclose(curve.true_positive_rate, true)


def test_binary_figures_agree_with_scikit_learn():
    found = metrics.evaluate("binary", TARGET, LOGITS)
    chances = metrics.predictions("binary", LOGITS)
    assert found["loss"] == pytest.approx(peer.log_loss(TARGET, chances))
    assert found["accuracy"] == pytest.approx(peer.accuracy_score(TARGET, chances > 0.5))
    assert found["auc"] == pytest.approx(peer.roc_auc_score(TARGET, chances))


def test_a_sure_and_wrong_logit_costs_a_finite_loss():
    assert metrics.evaluate("binary", np.array([0.0, 1.0]), np.array([900.0, 900.0]))["loss"] == 450
    np.testing.assert_array_equal(metrics.predictions("binary", np.array([-900.0, 0.0, 900.0])), [0, 0.5, 1])


def test_one_class_has_no_auc():
    assert set(metrics.evaluate("binary", np.ones(3), np.zeros(3))) == {"rows", "loss", "accuracy"}


def test_multiclass_figures_agree_with_scikit_learn():
    target, outputs = RANDOM.integers(0, 3, 500), RANDOM.normal(size=(500, 3))
    found = metrics.evaluate("multiclass", target, outputs)
    chances = metrics.predictions("multiclass", outputs)
    assert found["loss"] == pytest.approx(peer.log_loss(target, chances))
    assert found["accuracy"] == pytest.approx(peer.accuracy_score(target, chances.argmax(axis=1)))


def test_regression_figures_agree_with_scikit_learn():
    target = RANDOM.normal(size=300)
    outputs = target + RANDOM.normal(size=300)
    found = metrics.evaluate("regression", target, outputs)
    assert found["loss"] == pytest.approx(peer.mean_squared_error(target, outputs))
    assert found["mae"] == pytest.approx(peer.mean_absolute_error(target, outputs))
    assert found["r2"] == pytest.approx(peer.r2_score(target, outputs))
    assert "r2" not in metrics.evaluate("regression", np.ones(3), np.zeros(3))


def test_calibration_bins_hold_their_edges_and_skip_empty_ones():
    bins = metrics.calibration_bins(np.array([0, 1, 1, 1]), np.array([0.0, 0.5, 0.9, 1.0]), bins=2)
    np.testing.assert_allclose(bins.predicted, [0, 0.8])
    np.testing.assert_allclose(bins.observed, [0, 1])
    assert bins.rows.tolist() == [1, 3]
    assert metrics.calibration_bins(np.array([0, 1]), np.array([0.1, 0.15]), bins=10).rows.tolist() == [2]
