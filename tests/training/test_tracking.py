"""What of a row is news, which trackers are asked for, what fails, and MLflow."""

import contextlib
import resource
import sys
import types
import warnings

import pytest
from tracked import FACTS, Noting, epoch, kinds, shown, step, tell

from lepton_nb.errors import TrainingError
from lepton_nb.training.tracking import Tracker, Tracking, TrackingWarning, trackers
from lepton_nb.training.tracking.choose import HISTORY_FILE
from lepton_nb.training.tracking.jsonl import JsonLines
from lepton_nb.training.tracking.scalars import scalars
from lepton_nb.training.tracking.tensorboard import EventFiles
from lepton_nb.training.tracking.written import Written


@pytest.fixture(autouse=True, scope="module")
def _without_tensorflow():
    """TensorBoard's own switch to read files by itself; it would load TensorFlow for it, which takes long."""
    sys.modules.setdefault("tensorboard.compat.notf", types.ModuleType("tensorboard.compat.notf"))


# What a row says, and what of it is new


def test_figures_of_a_row_have_the_tags_that_tools_group_by():
    assert scalars("step", step(4, loss=0.5)) == {
        "train/loss": 0.5,
        "train/gradient_norm": 2.0,
        "train/learning_rate": 0.01,
    }
    row = epoch(
        1, 4, validation_accuracy=0.75, validation_loss=None, ranks={"memory_bytes": [10, 20]}, note="x", ok=True
    )
    assert scalars("epoch", row) == {
        "epoch/loss": 1.0,
        "rows_per_s": 100.0,
        "validation/accuracy": 0.75,
        "epoch/ranks/memory_bytes/0": 10.0,
        "epoch/ranks/memory_bytes/1": 20.0,
    }
    assert scalars("step", {"step": 1, "loss": float("nan"), "gradient_norm": float("inf")}) == {}


def test_a_row_is_news_once_whatever_it_says_later_in_the_same_session():
    written = Written()
    assert [news.step for news in written.take("step", step(2))] == [2]
    assert written.take("step", step(2)) == []
    assert written.take("step", step(2, loss=9.0)) == []
    assert [news.step for news in written.take("step", step(4))] == [4]


def test_an_epoch_that_is_validated_later_is_news_again():
    written = Written()
    written.take("epoch", epoch(1, 8))
    (news,) = written.take("epoch", epoch(1, 8, validation_loss=0.5))
    assert news.figures == {"validation/loss": 0.5}
    assert not news.again
    assert written.take("epoch", epoch(1, 8, validation_loss=0.5)) == []


def test_what_an_earlier_session_wrote_is_no_news_though_it_took_another_time():
    earlier = {2: scalars("step", step(2)), 4: scalars("step", step(4)) | scalars("epoch", epoch(1, 4))}
    written = Written(earlier)
    assert written.take("step", step(2, elapsed_s=9.0)) == []
    assert written.take("step", step(4, loss=0.25 + 1e-9)) == []
    assert written.take("epoch", {**epoch(1, 4), "rows_per_s": 7.0}) == []
    assert [news.step for news in written.take("step", step(6))] == [6]


def test_other_numbers_than_an_earlier_session_s_start_anew_from_that_step_on():
    earlier = {number: scalars("step", step(number)) for number in (2, 4, 6, 8)}
    written = Written(earlier)
    news = [one for row in (step(2), step(4, rate=0.001), step(6), step(8)) for one in written.take("step", row)]
    assert [(one.step, one.again) for one in news] == [(4, True), (6, False), (8, False)]


def test_the_step_with_which_an_epoch_ends_is_written_anew_with_the_epoch():
    earlier = {4: scalars("step", step(4)) | scalars("epoch", epoch(1, 4, validation_loss=0.5))}
    written = Written(earlier)
    assert written.take("step", step(4)) == []
    news = written.take("epoch", epoch(1, 4, validation_loss=0.75))
    assert [(one.kind, one.step, one.again) for one in news] == [("step", 4, True), ("epoch", 4, False)]
    assert news[0].figures == scalars("step", step(4))


# What is asked for


def test_a_folder_gets_both(tmp_path):
    made = trackers(tmp_path / "run")
    assert [type(tracker) for tracker in made] == [JsonLines, EventFiles]
    assert all(isinstance(tracker, Tracker) for tracker in made)
    tracking = Tracking(made)
    tracking.begin(FACTS)
    tracking.steps([step(2)])
    tracking.epoch(epoch(1, 2))
    tracking.end("finished", {})
    assert kinds(tmp_path / "run" / HISTORY_FILE) == [("begin", None), ("step", 2), ("epoch", 2), ("end", None)]
    assert shown(tmp_path / "run")[0]["train/loss"] == [(2, 0.5)]


def test_a_place_stays_where_it_was_when_the_notebook_changes_its_folder(tmp_path, monkeypatch):
    (tmp_path / "other").mkdir()
    monkeypatch.chdir(tmp_path)
    made = trackers("run")
    monkeypatch.chdir(tmp_path / "other")
    for tracker in made:
        tell(tracker, FACTS, [step(2)])
    assert not list((tmp_path / "other").iterdir())
    assert len(list((tmp_path / "run").iterdir())) == 2


def test_each_may_have_a_place_of_its_own(tmp_path):
    made = trackers({"tensorboard": tmp_path / "board", "jsonl": str(tmp_path / "h.jsonl")})
    assert [type(tracker) for tracker in made] == [EventFiles, JsonLines]
    assert trackers(made) == made
    assert trackers(None) == trackers([]) == []


def test_what_cannot_be_had_is_refused_with_the_fix(tmp_path):
    file = tmp_path / "file"
    file.write_text("")
    with pytest.raises(TrainingError, match="unknown tracker 'tensorbord'; did you mean 'tensorboard'?"):
        trackers({"tensorbord": "x"})
    with pytest.raises(TrainingError, match="track is 3; give a folder, a mapping"):
        trackers(3)
    with pytest.raises(TrainingError, match=r"track\['jsonl'\] is None; give a path"):
        trackers({"jsonl": None})
    with pytest.raises(TrainingError, match="is a file; give a folder, or track={'jsonl'"):
        trackers(file)
    with pytest.raises(TrainingError, match="is a folder; give a file, such as"):
        trackers({"jsonl": tmp_path})
    with pytest.raises(TrainingError, match="cannot be written to: .*; choose another folder"):
        trackers({"tensorboard": file / "under"})
    with pytest.raises(TrainingError, match="cannot be written to: .*; choose another place"):
        trackers({"jsonl": file / "under"})
    with pytest.raises(TrainingError, match=r"track\['mlflow'\] is 5; give the URI"):
        trackers({"mlflow": 5})


def test_a_package_that_is_not_installed_is_named_with_the_command(monkeypatch):
    import importlib.util

    real = importlib.util.find_spec
    absent = ("mlflow", "tensorboard")
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *more: None if name in absent else real(name, *more))
    with pytest.raises(
        TrainingError, match="track needs mlflow, which is not installed; run: pip install mlflow-skinny"
    ):
        trackers({"mlflow": None})
    with pytest.raises(TrainingError, match=r"needs tensorboard, .* run: pip install 'lepton-nb\[tracking\]'"):
        trackers("folder")


# What fails


@contextlib.contextmanager
def small_disk():
    """Files of this process cannot grow past 2,000 bytes within it, as on a disk that is full.

    Not a fixture: pytest itself writes to a file between a test and the end of its fixtures.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2_000, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.parametrize("form", ["jsonl", "tensorboard"])
def test_a_full_disk_is_told_once_leaves_whole_rows_and_is_made_up_for(form, tmp_path):
    place = tmp_path / "h.jsonl" if form == "jsonl" else tmp_path
    told = []
    tracking = Tracking(trackers({form: place}), told.append)
    with small_disk():
        tracking.begin(FACTS)
        for number in range(1, 101):
            tracking.steps([step(number)])
    (file,) = tmp_path.iterdir()
    assert 1_000 < file.stat().st_size <= 2_000
    (sentence,) = told
    assert "cannot be written as" in sentence
    assert "File too large; the training goes on" in sentence
    seen = [at for at, _ in shown(tmp_path)[0]["train/loss"]] if form == "tensorboard" else kinds(place)[1:]
    assert 3 < len(seen) < 100
    tracking.epoch(epoch(1, 100))
    tracking.end("finished", {})
    assert len(told) == 1
    if form == "jsonl":
        assert [at for kind, at in kinds(place) if kind == "step"] == list(range(1, 101))
    else:
        assert [at for at, _ in shown(tmp_path)[0]["train/loss"]] == list(range(1, 101))


def test_a_history_that_stays_incomplete_is_told_at_the_end_and_the_others_are_whole(tmp_path):
    told = []
    tracking = Tracking([JsonLines(tmp_path / "h.jsonl"), *(board := [Noting()])], told.append)
    with small_disk():
        tracking.begin(FACTS)
        for number in range(1, 101):
            tracking.steps([step(number)])
        tracking.end("finished", {})
    assert ["incomplete" in sentence for sentence in told] == [False, True]
    assert len(board[0].calls) == 102


def test_a_failure_is_a_warning_of_ours_by_default(tmp_path):
    tracking = Tracking([JsonLines(tmp_path / "h.jsonl")])
    with small_disk():
        tracking.begin(FACTS)
        with pytest.warns(TrackingWarning, match="File too large") as told:
            _ = [tracking.steps([step(number)]) for number in range(1, 101)]
        assert len(told) == 1
        with pytest.warns(TrackingWarning, match="may be incomplete: File too large"):
            tracking.end("finished", {})


# MLflow


def test_mlflow_has_the_run_its_options_and_every_figure_once(tmp_path, monkeypatch):
    pytest.importorskip("mlflow", reason="MLflow is not installed; it is no dependency of lepton_nb")
    from mlflow.tracking import MlflowClient

    monkeypatch.delenv("MLFLOW_EXPERIMENT_NAME", raising=False)
    uri = f"sqlite:///{tmp_path / 'mlflow.db'}"
    with warnings.catch_warnings():
        warnings.simplefilter("error", TrackingWarning)
        tracking = Tracking(trackers({"mlflow": uri}))
        options = {**FACTS["options"], "long": "x" * 7_000}
        tracking.begin({**FACTS, "options": options})
        tracking.steps([step(2), step(4)])
        tracking.steps([step(2), step(4)])
        tracking.epoch(epoch(1, 4, validation_accuracy=0.75))
        tracking.steps([step(number) for number in range(5, 1_500)])
        tracking.end("stopped", {"cost": "12 core-seconds"})
    client = MlflowClient(tracking_uri=uri)
    (run,) = client.search_runs([client.get_experiment_by_name("lepton_nb").experiment_id])
    assert run.info.status == "KILLED"
    assert run.data.params["learning_rate"] == "0.01"
    assert run.data.tags["mlflow.runName"] == "training-1"
    assert run.data.tags["lepton_nb.cost"] == "12 core-seconds"
    losses = client.get_metric_history(run.info.run_id, "train/loss")
    assert [(one.step, one.value) for one in losses[:2]] == [(2, 0.5), (4, 0.25)]
    assert len(losses) == 2 + 1_495
    assert run.data.metrics["validation/accuracy"] == 0.75
