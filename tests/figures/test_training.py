import numpy as np
import polars as pl
import pytest

import lepton_nb as lnb

RANDOM = np.random.default_rng(1)
TARGET = (RANDOM.random(20_000) < 0.3).astype(np.float32)
SCORES = np.clip(0.3 + 0.2 * TARGET + RANDOM.normal(0, 0.15, TARGET.size), 0, 1)


def test_loss_curves_leave_out_what_was_not_measured():
    history = pl.DataFrame({"epoch": [1, 2], "loss": [0.5, 0.4], "validation_loss": [None, None]})
    assert [trace.name for trace in lnb.figures.training.loss_curves(history).data] == ["training"]
    measured = history.with_columns(validation_loss=pl.Series([0.6, 0.55]))
    figure = lnb.figures.training.loss_curves(measured)
    assert [trace.name for trace in figure.data] == ["training", "validation"]
    assert list(figure.data[1].y) == [0.6, 0.55]
    assert (figure.layout.xaxis.title.text, figure.layout.yaxis.title.text) == ("epoch", "loss")


def test_loss_curves_of_a_run_that_has_just_begun_say_so():
    empty = pl.DataFrame(schema={"epoch": pl.Int64, "loss": pl.Float64})
    assert "no epoch" in lnb.figures.training.loss_curves(empty).layout.annotations[0].text


def test_loss_curves_need_their_columns():
    with pytest.raises(lnb.TrainingError, match="'loss'"):
        lnb.figures.training.loss_curves(pl.DataFrame({"epoch": [1]}))


HISTORY = pl.DataFrame({"epoch": [1, 2], "step": [10, 20], "loss": [0.5, 0.4], "validation_loss": [0.6, None]})
STEPS = pl.DataFrame({"step": [5, 10, 15], "loss": [0.7, 0.5, 0.45]})


def test_runs_are_compared_by_step_each_in_a_colour_of_its_own():
    plain = HISTORY.drop("validation_loss")
    figure = lnb.figures.training.compare({"<torch>": HISTORY, "keras": plain}, {"keras": STEPS}, title="Both")
    lines = {trace.name: trace for trace in figure.data}
    assert [*lines] == [
        "&lt;torch&gt;, training", "&lt;torch&gt;, validation", "keras, step by step", "keras, training"
    ]  # fmt: skip
    assert list(lines["&lt;torch&gt;, training"].x) == [10, 20]
    # A figure that was not measured leaves a gap in the table, not in the line.
    assert list(lines["&lt;torch&gt;, validation"].y) == [0.6]
    assert list(lines["keras, step by step"].y) == [0.7, 0.5, 0.45]
    colours = {name.split(",")[0]: set() for name in lines}
    for name, trace in lines.items():
        colours[name.split(",")[0]].add(trace.line.color)
    assert [len(found) for found in colours.values()] == [1, 1]
    assert len(set.union(*colours.values())) == 2
    # Below a second line on the same numbers, the first must still show.
    assert lines["&lt;torch&gt;, training"].line.width > lines["keras, training"].line.width
    assert figure.layout.title.text == "Both"


def test_a_run_that_has_just_begun_is_compared_by_its_steps():
    empty = HISTORY.clear()
    figure = lnb.figures.training.compare({"a": empty}, {"a": STEPS.head(1)})
    assert [(trace.name, len(trace.x)) for trace in figure.data] == [("a, step by step", 1), ("a, training", 0)]


@pytest.mark.parametrize(
    ("histories", "steps", "message"),
    [
        ({}, None, "at least one run"),
        (HISTORY, None, "at least one run"),
        ({"torch": HISTORY}, {"torhc": STEPS}, "unknown run 'torhc'; did you mean 'torch'"),
        ({"torch": HISTORY.drop("step")}, None, "'step'"),
        ({"torch": HISTORY}, {"torch": STEPS.drop("loss")}, "'loss'"),
    ],
)
def test_compare_refuses_what_it_cannot_draw(histories, steps, message):
    with pytest.raises(lnb.TrainingError, match=message):
        lnb.figures.training.compare(histories, steps)


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
