import numpy as np
import polars as pl
import pytest

import lepton_nb as lnb


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
    # The last one stands out; above it, on the same numbers, the thin line of the first still shows.
    old, new = lines["&lt;torch&gt;, training"], lines["keras, training"]
    assert (old.line.width < new.line.width, old.opacity < new.opacity, old.zorder > new.zorder) == (True, True, True)
    assert figure.layout.title.text == "Both"


def test_the_run_to_look_at_may_be_another_than_the_last():
    runs = dict.fromkeys("abcd", HISTORY)
    compared = lnb.figures.training.compare(runs, current="b")
    widths = {trace.name[0]: trace.line.width for trace in compared.data}
    assert widths["b"] > widths["a"] == widths["c"] == widths["d"]
    drawn = lnb.figures.training.curves(runs, "loss", current="b")
    assert [trace.line.width for trace in drawn.data] == [*widths.values()]
    for draw in (
        lnb.figures.training.compare,
        lambda *given, **asked: lnb.figures.training.curves(*given, "loss", **asked),
    ):
        with pytest.raises(lnb.TrainingError, match="unknown run 'e'"):
            draw(runs, current="e")


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


MEASURED = pl.DataFrame(
    {
        "epoch": [1, 2, 3], "step": [10, 20, 30], "loss": [0.5, 0.4, 0.3], "validation_auc": [0.7, None, 0.8],
        "rows_per_s": [1e4, 2e4, 3e4], "elapsed_s": [1.0, 2.0, 3.0],
    }
)  # fmt: skip


def test_any_column_of_a_history_can_be_drawn_by_step_epoch_or_time():
    figure = lnb.figures.training.curves(MEASURED, "validation_auc", against="epoch")
    assert (list(figure.data[0].x), list(figure.data[0].y)) == ([1, 3], [0.7, 0.8])
    assert figure.layout.yaxis.title.text == "AUC of validation rows"
    figure = lnb.figures.training.curves(MEASURED, "rows_per_s", against="elapsed_s")
    assert (figure.layout.xaxis.title.text, figure.layout.yaxis.title.text) == ("time (s)", "rows / s")


def test_columns_of_several_runs_have_a_line_each_that_can_be_told_apart():
    runs = {f"run <{number}>": MEASURED for number in range(5)}
    figure = lnb.figures.training.curves(runs, "loss", "validation_auc")
    assert len({(trace.line.color, trace.line.dash) for trace in figure.data}) == 10
    assert figure.data[1].name == "run &lt;0&gt;, AUC of validation rows"
    assert figure.layout.yaxis.title.text == "loss, AUC"


def test_a_long_line_is_thinned_and_keeps_its_peaks_and_ends():
    norms = np.random.default_rng(0).random(300_000) + 1
    norms[123_456] = 900
    steps = pl.DataFrame({"step": np.arange(300_000), "gradient_norm": norms})
    figure = lnb.figures.training.curves(steps, "gradient_norm")
    drawn = figure.data[0]
    assert len(drawn.x) <= 2_000
    assert (drawn.x[0], drawn.x[-1], drawn.y.max()) == (0, 299_999, 900)
    assert figure.layout.yaxis.type == "log"


def test_curves_of_a_run_that_has_just_begun_say_so():
    figure = lnb.figures.training.curves(MEASURED.clear(), "loss")
    assert "nothing was measured" in figure.layout.annotations[0].text


@pytest.mark.parametrize(
    ("tables", "columns", "against", "message"),
    [
        ({}, ["loss"], "step", "at least one run"),
        (MEASURED, [], "step", "which column"),
        (MEASURED, ["validation_acu"], "step", "did you mean 'validation_auc'"),
        (MEASURED, ["loss"], "steps", "did you mean 'step'"),
    ],
)
def test_curves_refuse_what_they_cannot_draw(tables, columns, against, message):
    with pytest.raises(lnb.TrainingError, match=message):
        lnb.figures.training.curves(tables, *columns, against=against)


def test_numbers_that_are_all_alike_have_little_room_around_them():
    figure = lnb.figures.training.curves(MEASURED.with_columns(loss=pl.lit(0.5)), "loss")
    assert list(figure.layout.yaxis.range) == pytest.approx([0.45, 0.55])


def test_throughput_has_a_bar_for_each_rank():
    usage = pl.DataFrame(
        {
            "rank": [0, 1], "host": ["a", "<b>"], "rows": [500, 480], "rows_per_s": [1e5, None],
            "cpu_s": [4.0, 2.0], "elapsed_s": [2.0, 2.0], "memory_bytes": [10**9, 2 * 10**9],
        }
    )  # fmt: skip
    figure = lnb.figures.training.throughput(usage)
    bars = figure.data[0]
    assert (list(bars.x), list(bars.y)) == ([0, 1e5], ["rank 1", "rank 0"])
    assert [tuple(each) for each in bars.customdata] == [("&lt;b&gt;", 480, 1.0, 2.0), ("a", 500, 2.0, 1.0)]
    assert figure.layout.xaxis.title.text == "rows / s"
    assert "no rank" in lnb.figures.training.throughput(pl.DataFrame()).layout.annotations[0].text
    with pytest.raises(lnb.TrainingError, match="'rows_per_s'"):
        lnb.figures.training.throughput(usage.drop("rows_per_s"))
