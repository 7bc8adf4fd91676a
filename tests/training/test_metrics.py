import numpy as np
import pytest
from sklearn import metrics as peer

from lepton_nb.errors import TrainingError
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


@pytest.mark.parametrize("scores", [LOGITS, LOGITS.round(1), np.zeros(TARGET.size)])
def test_precision_and_recall_agree_with_scikit_learn_also_with_ties(scores):
    curve = metrics.precision_recall_curve(TARGET, scores)
    precision, recall, thresholds = peer.precision_recall_curve(TARGET, scores)
    # Theirs goes from the lowest score to the highest, and ends at precision 1, which was never measured.
    np.testing.assert_allclose(curve.precision[1:], precision[-2::-1])
    np.testing.assert_allclose(curve.recall, recall[::-1])
    np.testing.assert_allclose(curve.score[1:], thresholds[::-1])
    assert curve.average == pytest.approx(peer.average_precision_score(TARGET, scores))
    assert metrics.further("average_precision", "binary", TARGET, scores) == curve.average


@pytest.mark.parametrize("threshold", [0.5, 0.2, 0.0, 1.1])
def test_confusion_of_two_classes_agrees_with_scikit_learn(threshold):
    chances = metrics.predictions("binary", LOGITS)
    found = metrics.confusion(TARGET, chances, threshold)
    np.testing.assert_array_equal(found, peer.confusion_matrix(TARGET, chances >= threshold, labels=[0, 1]))
    assert found.sum() == TARGET.size


def test_confusion_of_many_classes_agrees_with_scikit_learn_and_has_those_that_are_missing():
    target, scores = RANDOM.integers(0, 3, 500), RANDOM.normal(size=(500, 4))
    found = metrics.confusion(target, scores)
    np.testing.assert_array_equal(found, peer.confusion_matrix(target, scores.argmax(axis=1), labels=range(4)))
    assert found[3].sum() == 0


@pytest.mark.parametrize(
    ("target", "scores", "message"),
    [
        ([0, 1], [0.5], "one score for each row"),
        ([0, 1], [[0.5], [0.5]], r"or \(rows, classes\)"),
        ([0, 3], [[0.5, 0.2], [0.5, 0.1]], "class numbers from 0 to 1"),
        ([0, 0.5], [[0.5, 0.2], [0.5, 0.1]], "class numbers from 0 to 1"),
        ([0, 2], [0.5, 0.2], "0 and 1 only"),
        ([0, 1], [[0.5, np.nan], [0.5, 0.1]], "NaN"),
    ],
)
def test_confusion_refuses_what_it_cannot_count(target, scores, message):
    with pytest.raises(TrainingError, match=message):
        metrics.confusion(np.array(target), np.array(scores))


def test_one_class_has_no_precision_and_recall():
    with pytest.raises(TrainingError, match="3 ones in 3 rows; a precision-recall curve needs both classes"):
        metrics.precision_recall_curve(np.ones(3), np.zeros(3))
