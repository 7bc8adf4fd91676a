"""The training panel, driven as its buttons drive it, with real trainings of two ranks."""

import re
import threading
from types import SimpleNamespace

import numpy as np
import polars as pl
import pytest

import lepton_nb as lnb
from lepton_nb.events import Progress, Status
from lepton_nb.training.torch_state import packed, unpacked
from lepton_nb.widgets import notebook
from lepton_nb.widgets.training_controls import progress_words
from lepton_nb.widgets.training_panel import TrainingPanel

QUICK = {"epochs": 2, "batch_size": 64, "learning_rate": 0.01, "hidden": (8,), "log_every_steps": 5}


def table(rows=1_500, seed=0):
    random = np.random.default_rng(seed)
    a, b = random.normal(size=(2, rows))
    kind = random.choice(["up", "down"], rows)
    return pl.DataFrame({"a": a, "b": b, "kind": kind, "late": a + b * (kind == "up") > 0.3, "delay": 3 * a - b})


@pytest.fixture
def panel(cluster):
    made = TrainingPanel(data={"flights": table(), "more": table(300, seed=1)}, cluster=lambda: cluster)
    yield made
    made.close()


def until_phase(run, phase):
    """Wait until the run tells that it is in a phase."""
    there = threading.Event()

    def look(event):
        if isinstance(event, Progress) and event.values.get("phase") == phase:
            there.set()

    end = run.watch(look)
    assert there.wait(120), f"{run.name} was never {phase}: {run.status}"
    end()


def until_beyond(run, step):
    """Wait until the run has done more steps than that."""
    there = threading.Event()
    end = run.watch(lambda event: there.set() if run.step > step else None)
    assert there.wait(120), f"{run.name} stands at step {run.step}: {run.status}"
    end()


def started(panel):
    """The run that a click on Start leads to."""
    known = panel.runs
    panel._controls._start.click()
    panel._wait_for_works()
    assert len(panel.runs) == len(known) + 1, panel._faults.texts
    return panel.runs[-1]


def drawn(panel):
    """The runs whose losses the chart has, as its legend calls them."""
    return {trace.name.split(",")[0] for trace in panel._curves.loss.figure.data}


def test_a_run_is_started_watched_and_evaluated_and_a_second_one_compared_with_it(panel):
    assert panel.run is None
    assert panel._status.value.endswith("No training run yet.</div>")
    panel.set(target="late", features=("a", "b", "kind"), metrics=("auc", "f1"), **QUICK)
    first = started(panel)
    panel.wait()
    assert panel._faults.texts == ()
    assert (panel.run, first.status, first.history.height) == (first, Status.FINISHED, 2)
    assert (panel._controls._bar.value, panel._controls._bar.bar_style) == (1.0, "success")
    assert panel._controls._words.value.startswith(f"Step {first.step} of {first.step} · epoch 2 of 2 · loss 0.")
    # The curves are those of the run, and all that was measured can be chosen.
    lines = {trace.name: list(trace.y) for trace in panel._curves.loss.figure.data}
    assert lines[f"{first.name}, training"] == first.history["loss"].to_list()
    columns = [name for _, name in panel._curves.column.options]
    assert {"validation_auc", "validation_f1", "rows_per_s", "gradient_norm", "learning_rate"} <= {*columns}
    panel._curves.column.value = "validation_auc"
    assert list(panel._curves.other.figure.data[0].y) == first.history["validation_auc"].to_list()
    # Each rank has its bar.
    assert list(panel._ranks.throughput.figure.data[0].y) == ["rank 1", "rank 0"]
    # It is said which rows are for what.
    notes = panel._ranks._notes.value
    found = re.findall(r"<li>(.*?)</li>", notes)[:3]
    assert found == [
        "to learn from: 1,050 rows in memory",
        "to validate: 150 rows in memory",
        "to test, when the run is over: 300 other rows",
    ]
    assert "No checkpoints are kept" in panel._ranks._checkpoints.value
    # The rows that were kept for it tell how good the model is.
    assert panel.evaluation.metrics["rows"] == 300
    assert panel.evaluation.metrics["auc"] > 0.8
    titles = [chart.figure.layout.title.text for chart in panel._evaluation.charts]
    assert titles == ["ROC", "Precision and recall", "Confusion", "Calibration"]
    confusion = panel._evaluation.charts[2]
    before = confusion.figure.data[0].text
    panel._evaluation.threshold.value = 0.05
    assert confusion.figure.data[0].text != before
    assert "predicted" in panel._evaluation._sample.value

    panel.set(learning_rate=0.001)
    second = started(panel)
    panel.wait()
    assert panel.runs == (first, second)
    assert panel.run is second
    assert drawn(panel) == {first.name, second.name}
    assert panel._curves.note.value == ""
    panel._curves.chosen.value = (second.name,)
    assert drawn(panel) == {second.name}
    panel._curves.chosen.value = (first.name, second.name)
    # What learns from other rows of the same table is marked, and what learns another target is not drawn beside it.
    panel.set(seed=1, epochs=1)
    third = started(panel)
    panel.set(target="delay")
    fourth = started(panel)
    panel.wait()
    assert drawn(panel) == {fourth.name}
    left_out = re.findall(r"(training-\d+) learns late by binary cross entropy", panel._curves.note.value)
    assert left_out == [first.name, second.name, third.name]
    panel._curves.column.value = "learning_rate"
    assert {trace.name for trace in panel._curves.other.figure.data} == {run.name for run in panel.runs}
    panel._controls._run.value = first.name
    assert panel.run is first
    assert drawn(panel) == {first.name, second.name, f"{third.name} (other rows)"}
    widths = {trace.name: trace.line.width for trace in panel._curves.loss.figure.data}
    assert widths[f"{first.name}, training"] > widths[f"{second.name}, training"]
    assert f"Other rows: {third.name} learnt from" in panel._curves.note.value


def test_a_model_is_evaluated_on_rows_that_it_has_not_learnt_from_unless_somebody_wants_that(panel):
    panel.set(target="late", features=("a", "b", "kind"), **QUICK | {"epochs": 1})
    run = started(panel)
    panel.wait()
    evaluation = panel._evaluation
    assert [*evaluation.data.options] == [
        ("its test rows", "its test rows"), ("its validation rows", "its validation rows"), ("more", "more"),
        ("its training rows (learnt from)", "its training rows"), ("flights (learnt from)", "flights"),
    ]  # fmt: skip
    assert (evaluation.chosen, evaluation.warning.value) == ("its test rows", "")
    assert "learnt from" not in evaluation._words.value
    # On other rows, for which the button asks.
    evaluation.data.value = "more"
    evaluation.button.click()
    panel._wait_for_works()
    assert panel.evaluation.metrics == run.evaluate(table(300, seed=1))
    assert len(panel.figures()) == 6
    assert f"{run.name} on more: rows 300" in panel.summary()
    # A choice stays while the panel looks again at what there is.
    panel.refresh()
    assert evaluation.chosen == "more"
    for name, share in (("flights", "About 70% of these rows equal rows that"), ("its training rows", None)):
        evaluation.data.value = name
        assert f"{run.name} learnt from rows of these" in evaluation.warning.value
        evaluation.button.click()
        panel._wait_for_works()
        words = share or f"{run.name} learnt from these rows: this is how well it knows them"
        assert words in evaluation._words.value
        assert words in panel.summary()


def test_text_is_learnt_as_classes_and_evaluated_by_their_names(panel):
    panel.set(target="kind", features=("a", "b", "late"), **QUICK | {"epochs": 1})
    assert panel.form.values().model["task"] == "binary"
    started(panel)
    panel.wait()
    assert panel._faults.texts == ()
    confusion = panel._evaluation.charts[2]
    for threshold in (0.5, 0.4):
        panel._evaluation.threshold.value = threshold
        assert list(confusion.figure.data[0].x) == ["down", "up"]
    assert {*panel.evaluation.sample()["observed"]} == {"down", "up"}


def test_a_run_is_paused_resumed_stopped_and_gone_on_with(panel, tmp_path):
    panel.set(target="delay", features=("a", "b"), **QUICK)
    assert panel.form.values().model["task"] == "regression"
    assert panel.set(target="late", task="regression").form.values().model["task"] == "regression"
    panel.set(target="delay")
    # Longer than the test, if nobody stops it.
    panel.set(epochs=100_000, checkpoint=str(tmp_path / "run"), metrics=("rmse",))
    run = started(panel)
    until_phase(run, "training")
    panel.refresh()
    assert [button.disabled for button in (panel._controls._pause, panel._controls._resume)] == [False, True]
    panel._controls._pause.click()
    until_phase(run, "paused")
    panel.refresh()
    assert f"{run.name} is paused." in panel._status.value
    assert [button.disabled for button in (panel._controls._pause, panel._controls._resume)] == [True, False]
    panel._controls._resume.click()
    assert panel._controls._go_on.disabled
    until_beyond(run, run.step)
    panel._controls._stop.click()
    panel.wait()
    assert run.status is Status.STOPPED
    assert "step-" in panel._ranks._checkpoints.value
    titles = [chart.figure.layout.title.text for chart in panel._evaluation.charts[:2]]
    assert titles == ["Observed and predicted", "Residuals"]
    assert panel._evaluation.charts[2].layout.display == "none"
    assert not panel._controls._go_on.disabled
    # As of a run that had started again by itself: its ranks know nothing of what was before.
    run.state = packed(unpacked(run.state) | {"told": {"steps": [], "epochs": []}})
    panel._controls._go_on.click()
    panel._wait_for_works()
    again = panel.run
    assert again is not run, panel._faults.texts
    assert run.step > 0
    until_beyond(again, run.step)
    # Its history is that of both, each step once.
    assert again.history["epoch"].to_list() == list(range(1, again.history.height + 1))
    assert again.steps["step"].to_list()[: run.steps.height] == run.steps["step"].to_list()
    assert set(again.steps["step"].diff().drop_nulls()) == {5}
    # Closing stops what the panel started.
    panel.close()
    assert again.status is Status.STOPPED


def test_what_is_wrong_is_said_in_the_panel_with_the_fix_and_where(panel):
    panel.set(target="late", epochs="many")
    panel._controls._start.click()
    assert panel._faults.texts == ("Could not start: Epochs must be a whole number, not 'many'",)
    panel.set(epochs=0)
    panel._controls._start.click()
    panel._wait_for_works()
    assert panel._faults.texts == ("Could not start the training: Epochs is 0; give a whole number of 1 or more",)
    part, _ = panel.form._find("epochs")
    assert "give a whole number of 1 or more" in part._entries["epochs"].fault.value
    assert not panel._controls._start.disabled
    for act, what in ((panel.pause, "pause"), (panel.resume, "resume"), (panel.stop, "stop")):
        with pytest.raises(lnb.TrainingError, match=f"there is no training to {what}"):
            act()
    with pytest.raises(lnb.TrainingError, match="only a run that this panel started"):
        panel.go_on()
    with pytest.raises(lnb.TrainingError, match="a DataFrame is no training run"):
        panel.adopt(table())


def test_an_error_of_a_run_lands_in_the_panel_with_its_traceback(panel):
    panel.set(target="delay", features=("a", "b"), **QUICK)
    panel.set(optimizer="sgd", learning_rate=1e30, max_restarts=0)
    run = started(panel)
    with pytest.raises(lnb.TrainingError):
        panel.wait()
    assert run.status is Status.FAILED
    (text,) = panel._faults.texts
    assert text.startswith(f"Could not train {run.name}: ")
    assert "try a smaller Learning rate" in text
    copied = panel._faults.view.children[0].children[1].children[0].text
    assert "Traceback" in copied
    panel._wait_for_works()
    assert "so there is no model" in panel._evaluation._words.value
    assert panel._controls._bar.bar_style == "danger"


def test_a_run_of_code_is_adopted_and_left_alone_when_the_panel_closes(cluster):
    options = {"target": "late", "cluster": cluster, "batch_size": 64}
    rows = table().select("a", "b", "late")
    run = lnb.train(lnb.models.mlp((4,)), rows, epochs=100_000, **options)
    try:
        panel = TrainingPanel(run, data={"rows": rows})
        assert (panel.run, panel.runs) == (run, (run,))
        until_beyond(run, 0)
        panel.refresh()
        assert panel._tabs.value == "Curves"
        assert panel._controls._go_on.disabled
        words = progress_words(run, 1_000_000, 3_000.0)
        assert " of 1,000,000 · epoch " in words
        assert words.endswith(" · about 50 min left")
        panel.close()
        assert not run.status.over
    finally:
        run.stop()
    # One that is over is shown as it ended.
    later = TrainingPanel(run, data={"rows": rows})
    assert f"{run.name} is stopped." in later._status.value
    assert later._evaluation.data.options == (("rows (learnt from)", "rows"),)
    later.evaluate(rows, "all rows")
    later.wait()
    assert f"{run.name} learnt from these rows" in later.summary()
    assert later.evaluation.metrics == run.evaluate(rows)
    assert later._controls._go_on.disabled
    later.close()


def test_without_a_front_end_it_waits_and_leaves_figures_and_words(cluster, outputs):
    rows = table().select("a", "b", "late")
    run = lnb.train(
        lnb.models.mlp((4,)), rows, target="late", epochs=2, batch_size=64, validation=rows, cluster=cluster
    )
    panel = TrainingPanel(run, data={"rows": rows})
    panel._ipython_display_()
    panel.close()
    assert run.status is Status.FINISHED
    words, *figures = outputs
    assert len(figures) == 2
    assert all("application/vnd.plotly.v1+json" in figure for figure in figures)
    assert words["text/plain"].startswith(f"TrainingRun {run.name}: finished, epoch 2 of 2, loss 0.")


def test_the_tables_of_a_notebook_are_offered_where_no_data_is_given(monkeypatch):
    rows = table(50)
    names = {"flights": rows, "lazy": rows.lazy(), "pandas": rows.to_pandas(), "_hidden": rows, "number": 3, "In": []}
    monkeypatch.setattr("IPython.get_ipython", lambda: SimpleNamespace(user_ns=names))
    assert [*notebook.tables()] == ["flights", "lazy", "pandas"]
    panel = TrainingPanel()
    assert [name for _, name in panel.form._rows.fields[0].choices] == ["flights", "lazy", "pandas"]
    # One that a cell makes later is there as well.
    names["later"] = rows
    panel.refresh()
    assert panel.set(data="later").form.values().data == "later"
    panel.wait()
    panel.close()


def test_without_a_run_there_is_nothing_to_wait_for():
    panel = TrainingPanel()
    assert panel.summary() == "No training run yet."
    assert panel.figures() == []
    panel.wait()
    panel.close()
