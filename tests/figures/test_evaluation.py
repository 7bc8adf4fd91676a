import numpy as np
import pytest

import lepton_nb as lnb

RANDOM = np.random.default_rng(1)
TARGET = (RANDOM.random(20_000) < 0.3).astype(np.float32)
SCORES = np.clip(0.3 + 0.2 * TARGET + RANDOM.normal(0, 0.15, TARGET.size), 0, 1)


def test_roc_draws_few_points_of_the_exact_curve_and_counts_every_row():
    from sklearn.metrics import roc_auc_score, roc_curve

    figure = lnb.figures.training.roc(TARGET, {"network": SCORES, "coin": RANDOM.random(TARGET.size)})
    drawn = figure.data[1]
    assert drawn.name == f"network (AUC {roc_auc_score(TARGET, SCORES):.3f})"
    assert len(drawn.x) <= 400
    assert (drawn.x[0], drawn.y[0], drawn.x[-1], drawn.y[-1]) == (0, 0, 1, 1)
    false, true, _ = roc_curve(TARGET, SCORES, drop_intermediate=False)
    exact = set(zip(false.astype(np.float32), true.astype(np.float32), strict=True))
    assert set(zip(drawn.x, drawn.y, strict=True)) <= exact
    assert len(figure.to_json()) < 40_000


def test_roc_of_few_rows_keeps_every_point():
    figure = lnb.figures.training.roc(np.array([0, 0, 1, 1]), {"a": np.array([0.1, 0.4, 0.35, 0.8])})
    assert list(figure.data[1].x) == [0, 0, 0.5, 0.5, 1]
    assert list(figure.data[1].y) == [0, 0.5, 0.5, 1, 1]


def test_calibration_points_lie_on_the_diagonal_for_honest_probabilities():
    chances = RANDOM.random(200_000)
    target = RANDOM.random(chances.size) < chances
    figure = lnb.figures.training.calibration(target, {"honest": chances}, bins=5)
    np.testing.assert_allclose(figure.data[1].x, [0.1, 0.3, 0.5, 0.7, 0.9], atol=0.01)
    np.testing.assert_allclose(figure.data[1].y, figure.data[1].x, atol=0.02)
    assert figure.data[1].customdata.sum() == chances.size


def test_names_are_text_and_not_html():
    figure = lnb.figures.training.roc(TARGET, {"<b>x</b>": SCORES})
    assert figure.data[1].name.startswith("&lt;b&gt;")


@pytest.mark.parametrize(
    ("target", "scores", "message"),
    [
        (TARGET, {}, "at least one model"),
        (TARGET, {"a": SCORES[1:]}, "one score for each row"),
        (np.ones(3), {"a": np.ones(3)}, "both classes"),
        (np.array([0, 1, 2]), {"a": np.ones(3)}, "0 and 1 only"),
        (np.array([0, 1]), {"a": np.array([0.1, np.nan])}, "NaN"),
    ],
)
def test_roc_refuses_what_it_cannot_draw(target, scores, message):
    with pytest.raises(lnb.TrainingError, match=message):
        lnb.figures.training.roc(target, scores)


@pytest.mark.parametrize("bins", [2.5, 0, True, "5"])
def test_calibration_refuses_bins_that_are_no_count(bins):
    with pytest.raises(lnb.TrainingError, match="give a whole number of 1 or more"):
        lnb.figures.training.calibration(np.array([0, 1]), {"a": np.array([0.1, 0.9])}, bins=bins)


def test_calibration_refuses_scores_that_are_no_probabilities():
    with pytest.raises(lnb.TrainingError, match="from 0 to 1"):
        lnb.figures.training.calibration(np.array([0, 1]), {"logits": np.array([-2.0, 3.0])})


def test_predictions_are_drawn_by_the_same_names_as_ever():
    assert lnb.figures.training.roc is lnb.figures.evaluation.roc
    assert lnb.figures.training.calibration is lnb.figures.evaluation.calibration


def test_roc_of_many_classes_has_a_line_for_each_against_the_others():
    from sklearn.metrics import roc_auc_score

    target, scores = RANDOM.integers(0, 3, 900), RANDOM.random((900, 3))
    figure = lnb.figures.evaluation.roc(target, {"net": scores}, classes=["early", "<on time>", "late"])
    areas = [roc_auc_score(target == number, scores[:, number]) for number in range(3)]
    names = [f"{name} (AUC {area:.3f})" for name, area in zip(["early", "&lt;on time&gt;", "late"], areas, strict=True)]
    assert [trace.name for trace in figure.data[1:]] == names
    both = lnb.figures.evaluation.precision_recall(target, {"a": scores, "b": scores})
    assert both.data[-1].name.startswith("b, 2 (AP ")


def test_precision_recall_draws_few_points_of_the_exact_curve_and_counts_every_row():
    from sklearn.metrics import average_precision_score, precision_recall_curve

    figure = lnb.figures.evaluation.precision_recall(TARGET, {"network": SCORES})
    chance, drawn = figure.data
    assert list(chance.y) == [pytest.approx(TARGET.mean())] * 2
    assert drawn.name == f"network (AP {average_precision_score(TARGET, SCORES):.3f})"
    precision, recall, _ = precision_recall_curve(TARGET, SCORES)
    exact = set(zip(recall.astype(np.float32), precision.astype(np.float32), strict=True))
    assert set(zip(drawn.x[1:], drawn.y[1:], strict=True)) <= exact
    assert (len(drawn.x) <= 400, drawn.x[0], drawn.x[-1]) == (True, 0, 1)
    assert np.isfinite(drawn.customdata).all()


def test_confusion_matrix_shows_numbers_and_shares_of_the_observed_class():
    target, scores = np.array([0, 0, 0, 0, 1, 1]), np.array([0.1, 0.2, 0.3, 0.9, 0.8, 0.2])
    figure = lnb.figures.evaluation.confusion_matrix(target, scores, threshold=0.25, classes=["on time", "late"])
    cells = figure.data[0]
    assert [list(row) for row in cells.text] == [["1", "1"], ["2", "2"]]
    np.testing.assert_array_equal(cells.z, [[50, 50], [50, 50]])
    assert figure.layout.xaxis.title.text == "predicted class (late from 0.25 on)"
    with pytest.raises(lnb.TrainingError, match="a name for each of the 2 classes"):
        lnb.figures.evaluation.confusion_matrix(target, scores, classes=["late"])


def test_a_class_that_does_not_occur_has_shares_of_nothing():
    figure = lnb.figures.evaluation.confusion_matrix(np.array([0, 1]), np.array([[0.6, 0.2, 0.2], [0.2, 0.1, 0.7]]))
    assert list(figure.data[0].y) == ["2", "1", "0"]
    np.testing.assert_array_equal(figure.data[0].z, [[0, 0, 0], [0, 0, 100], [100, 0, 0]])
    assert figure.layout.xaxis.title.text == "predicted class"


def test_regression_figures_of_many_rows_stay_small_and_count_every_row():
    predicted = RANDOM.normal(10, 30, 336_000)
    observed = predicted + RANDOM.standard_t(2, predicted.size)
    figure = lnb.figures.evaluation.predicted_against_observed(observed, {"net": predicted}, unit="min")
    points, means, _ = figure.data
    assert points.name == "net (2,000 of 336,000 rows)"
    assert len(points.x) == 2_000
    np.testing.assert_allclose(means.y, means.x, atol=0.2)
    assert figure.layout.yaxis.title.text == "observed (min)"
    assert len(figure.to_json()) < 60_000
    spread = lnb.figures.evaluation.residuals(observed, {"net": predicted, "zero": 0 * predicted}, unit="min")
    assert len(spread.to_json()) < 60_000
    error = observed - predicted
    assert spread.data[0].name == (
        f"net (MAE {np.abs(error).mean():.4g} min, RMSE {np.sqrt(np.mean(error**2)):.4g} min)"
    )
    assert spread.layout.annotations[0].text == "1 % of the rows lie outside of what is shown"


def test_residuals_that_are_all_alike_and_targets_of_several_steps_can_be_drawn():
    target = np.ones((3, 2))
    figure = lnb.figures.evaluation.residuals(target, {"a": target})
    assert sum(figure.data[0].y) == pytest.approx(100)
    assert not figure.layout.annotations
    points = lnb.figures.evaluation.predicted_against_observed(target, {"a": target}).data[0]
    assert len(points.x) == 6


@pytest.mark.parametrize("draw", ["residuals", "predicted_against_observed"])
@pytest.mark.parametrize(
    ("target", "predictions", "message"),
    [
        (np.ones(3), {}, "at least one model"),
        (np.ones(3), {"a": np.ones(2)}, "one for each row"),
        (np.ones(0), {"a": np.ones(0)}, "one for each row"),
        (np.ones(1), {"a": np.array([np.nan])}, "NaN"),
    ],
)
def test_regression_figures_refuse_what_they_cannot_draw(draw, target, predictions, message):
    with pytest.raises(lnb.TrainingError, match=message):
        getattr(lnb.figures.evaluation, draw)(target, predictions)


@pytest.mark.parametrize(
    ("task", "target", "predictions", "names"),
    [
        ("binary", TARGET, SCORES, ["ROC", "Precision and recall", "Confusion", "Calibration"]),
        ("binary", np.ones(3), np.array([0.1, 0.8, 0.9]), ["Confusion", "Calibration"]),
        ("multiclass", np.array([0, 1, 2]), np.eye(3), ["ROC", "Precision and recall", "Confusion"]),
        ("multiclass", np.array([[0, 1]]), np.eye(2)[None], ["ROC", "Precision and recall", "Confusion"]),
        ("regression", np.ones((2, 3)), np.zeros((2, 3)), ["Observed and predicted", "Residuals"]),
    ],
)  # fmt: skip
def test_each_task_has_the_figures_that_fit(task, target, predictions, names):
    found = lnb.figures.evaluation.fitting(task, target, {"net": predictions})
    assert [*found] == names
    assert all(figure.data for figure in found.values())
