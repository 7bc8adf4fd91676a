import contextlib
import json
import resource
import subprocess
import sys
import threading
import types
import warnings

import pytest

from lepton_nb.errors import TrainingError
from lepton_nb.training.tracking import Tracker, Tracking, TrackingWarning, trackers
from lepton_nb.training.tracking.apart import Apart
from lepton_nb.training.tracking.choose import HISTORY_FILE
from lepton_nb.training.tracking.jsonl import JsonLines, read
from lepton_nb.training.tracking.scalars import scalars
from lepton_nb.training.tracking.tensorboard import END_TAG, OPTIONS_TAG, EventFiles
from lepton_nb.training.tracking.written import Written

FACTS = {"name": "training-1", "options": {"learning_rate": 0.01, "optimizer": "adam"}, "resumed": False}
RESUMED = {**FACTS, "name": "training-2", "resumed": True}


def step(number, loss=None, rate=0.01, elapsed_s=0.0):
    loss = 1 / number if loss is None else loss
    return {
        "step": number, "epoch": 1, "loss": loss, "gradient_norm": 2.0, "learning_rate": rate, "elapsed_s": elapsed_s,
    }  # fmt: skip


def epoch(number, at, **figures):
    return {"epoch": number, "step": at, "loss": 1 / number, "rows_per_s": 100.0, "elapsed_s": 1.0, **figures}


def lines(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def kinds(path):
    return [(line["kind"], line.get("step")) for line in lines(path)]


@pytest.fixture(autouse=True, scope="module")
def _without_tensorflow():
    """TensorBoard's own switch to read files by itself; it would load TensorFlow for it, which takes long."""
    sys.modules.setdefault("tensorboard.compat.notf", types.ModuleType("tensorboard.compat.notf"))


def shown(folder):
    """What TensorBoard finds in a folder: its scalars, {tag: [(step, value)]}, and texts."""
    from tensorboard.backend.event_processing.plugin_event_accumulator import EventAccumulator

    found = EventAccumulator(str(folder)).Reload()
    numbers, texts = {}, {}
    for tag in found.Tags()["tensors"]:
        events = [(event.step, event.tensor_proto) for event in found.Tensors(tag)]
        if found.SummaryMetadata(tag).plugin_data.plugin_name == "scalars":
            numbers[tag] = [(at, tensor.float_val[0]) for at, tensor in events]
        else:
            texts[tag] = [(at, tensor.string_val[0].decode()) for at, tensor in events]
    return numbers, texts


def tell(tracker, facts, steps=(), epochs=(), status="finished", said=None):
    tracker.begin(facts)
    for row in steps:
        tracker.steps([row])
    for row in epochs:
        tracker.epoch(row)
    if status is not None:
        tracker.end(status, said or {})


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


# JSON lines


def test_lines_are_whole_and_there_as_soon_as_they_are_told(tmp_path):
    path = tmp_path / "runs" / "history.jsonl"
    tracker = JsonLines(path, clock=lambda: 12.5)
    tracker.begin(FACTS)
    assert lines(path) == [{"kind": "begin", "at_s": 12.5, **FACTS}]
    tracker.steps([step(2), step(4, loss=float("nan"))])
    assert lines(path)[1:] == [{"kind": "step", **step(2)}, {"kind": "step", **step(4), "loss": None}]
    tracker.epoch(epoch(1, 4))
    tracker.end("stopped", {"cost": {"core_s": 2.5}, "where": tmp_path})
    assert lines(path)[3:] == [
        {"kind": "epoch", **epoch(1, 4)},
        {"kind": "end", "at_s": 12.5, "status": "stopped", "cost": {"core_s": 2.5}, "where": str(tmp_path)},
    ]


def test_rows_that_arrive_twice_have_one_line(tmp_path):
    path = tmp_path / "history.jsonl"
    rows = [step(2), step(4), step(2), step(4)]
    tell(JsonLines(path), FACTS, rows, [epoch(1, 4), epoch(1, 4)])
    assert kinds(path) == [("begin", None), ("step", 2), ("step", 4), ("epoch", 4), ("end", None)]


def test_a_run_that_goes_on_adds_what_is_new(tmp_path):
    path = tmp_path / "history.jsonl"
    tell(JsonLines(path), FACTS, [step(2), step(4), step(6)], [epoch(1, 4)], status=None)
    tell(JsonLines(path), RESUMED, [step(2), step(4), step(6), step(8)], [epoch(1, 4), epoch(2, 8)])
    assert kinds(path) == [
        ("begin", None), ("step", 2), ("step", 4), ("step", 6), ("epoch", 4),
        ("begin", None), ("step", 8), ("epoch", 8), ("end", None),
    ]  # fmt: skip
    assert [line["kind"] for line in read(path)] == [line["kind"] for line in lines(path)]


def test_a_run_that_goes_on_another_way_says_from_where(tmp_path):
    path = tmp_path / "history.jsonl"
    tell(JsonLines(path), FACTS, [step(2), step(4), step(6), step(8)], [epoch(1, 8)])
    tell(JsonLines(path), RESUMED, [step(2), step(4), step(6, loss=0.1)])
    assert kinds(path)[7:] == [("begin", None), ("rewind", 6), ("step", 6), ("end", None)]
    assert [(line["step"], line["loss"]) for line in read(path) if line["kind"] == "step"] == [
        (2, 0.5), (4, 0.25), (6, 0.1),
    ]  # fmt: skip
    assert not [line for line in read(path) if line["kind"] == "epoch"]


def test_another_run_in_the_same_file_is_told_whole(tmp_path):
    path = tmp_path / "history.jsonl"
    for _ in range(2):
        tell(JsonLines(path), FACTS, [step(2), step(4)])
    assert kinds(path) == [("begin", None), ("step", 2), ("step", 4), ("end", None)] * 2
    assert len(read(path)) == 4


def test_an_epoch_that_was_validated_later_is_read_once(tmp_path):
    path = tmp_path / "history.jsonl"
    tell(JsonLines(path), FACTS, (), [epoch(1, 4)], status="stopped")
    tell(JsonLines(path), RESUMED, (), [epoch(1, 4, validation_loss=0.5)])
    assert [line["validation_loss"] for line in read(path) if line["kind"] == "epoch"] == [0.5]


def test_half_a_line_is_cut_off_before_a_run_goes_on(tmp_path):
    path = tmp_path / "history.jsonl"
    tell(JsonLines(path), FACTS, [step(2)], status=None)
    with path.open("a") as file:
        file.write('{"kind": "step", "st')
    assert [line["kind"] for line in read(path)] == ["begin", "step"]
    tell(JsonLines(path), RESUMED, [step(2), step(4)], status=None)
    assert kinds(path) == [("begin", None), ("step", 2), ("begin", None), ("step", 4)]


def test_a_kernel_that_is_killed_leaves_whole_lines(tmp_path):
    code = """
import itertools, pathlib, sys
from lepton_nb.training.tracking.jsonl import JsonLines
tracker = JsonLines(pathlib.Path(sys.argv[1]))
tracker.begin({"name": "a", "options": {}})
for number in itertools.count():
    tracker.steps([{"step": number * 50 + i, "epoch": 1, "loss": 0.5} for i in range(50)])
    print(flush=True)
"""
    path = tmp_path / "history.jsonl"
    with subprocess.Popen([sys.executable, "-c", code, str(path)], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        for _ in range(20):
            process.stdout.readline()
        process.kill()
    text = path.read_bytes()
    assert text.endswith(b"\n")
    assert [line.get("step") for line in lines(path)][1:] == list(range(len(lines(path)) - 1))
    assert len(lines(path)) > 1_000


def test_somebody_else_s_file_is_left_alone(tmp_path):
    path = tmp_path / "notes.txt"
    path.write_text("Buy milk.\n")
    with pytest.raises(TrainingError, match="is not the history of a run: line 1 .*track= needs a file of its own"):
        trackers({"jsonl": path})
    assert path.read_text() == "Buy milk.\n"


# TensorBoard


def test_tensorboard_reads_what_was_written(tmp_path):
    row = epoch(1, 4, validation_loss=0.5, validation_accuracy=0.75)
    tracker = EventFiles(tmp_path)
    tell(tracker, FACTS, [step(2), step(4), step(2)], [row, row], said={"cost": "12 core-seconds | 3 J"})
    numbers, texts = shown(tmp_path)
    assert numbers == {
        "train/loss": [(2, 0.5), (4, 0.25)],
        "train/gradient_norm": [(2, 2.0), (4, 2.0)],
        "train/learning_rate": [(2, pytest.approx(0.01)), (4, pytest.approx(0.01))],
        "epoch/loss": [(4, 1.0)],
        "rows_per_s": [(4, 100.0)],
        "validation/loss": [(4, 0.5)],
        "validation/accuracy": [(4, 0.75)],
    }
    ((_, options),) = texts[OPTIONS_TAG]
    assert "| learning_rate | 0.01 |" in options
    assert "| name | training-1 |" in options
    ((at, end),) = texts[END_TAG]
    assert at == 4
    assert "| cost | 12 core-seconds \\| 3 J |" in end


def test_tensorboard_sees_a_run_as_it_goes(tmp_path):
    tracker = EventFiles(tmp_path)
    tracker.begin(FACTS)
    for number in (1, 2, 3):
        tracker.steps([step(number)])
        assert [at for at, _ in shown(tmp_path)[0]["train/loss"]] == list(range(1, number + 1))


def test_the_reader_that_scripts_use_takes_them_too(tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    tell(EventFiles(tmp_path), FACTS, [step(2), step(4)])
    found = EventAccumulator(str(tmp_path)).Reload()
    assert [(event.step, event.value) for event in found.Scalars("train/loss")] == [(2, 0.5), (4, 0.25)]
    assert set(found.PluginTagToContent("text")) == {OPTIONS_TAG, END_TAG}


def test_event_files_are_written_without_a_framework(tmp_path):
    code = """
import sys
from lepton_nb.training.tracking import Tracking, trackers
tracking = Tracking(trackers(sys.argv[1]))
tracking.begin({"name": "a", "options": {}, "resumed": True})
tracking.steps([{"step": 1, "loss": 0.5}])
tracking.end("finished", {})
assert not {"torch", "tensorflow", "keras"} & set(sys.modules)
"""
    subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=True)
    assert shown(tmp_path)[0] == {"train/loss": [(1, 0.5)]}


def test_tensorboard_shows_each_step_of_a_run_that_goes_on_once(tmp_path):
    tell(EventFiles(tmp_path), FACTS, [step(2), step(4), step(6)], [epoch(1, 4)], status=None)
    tell(EventFiles(tmp_path), RESUMED | {"name": "training-1"}, [step(4), step(6), step(8)], [epoch(1, 4)])
    numbers, texts = shown(tmp_path)
    assert [at for at, _ in numbers["train/loss"]] == [2, 4, 6, 8]
    assert len(numbers["epoch/loss"]) == 1
    assert len(texts[OPTIONS_TAG]) == 1


def test_tensorboard_shows_the_way_that_a_run_took_in_the_end(tmp_path):
    tell(EventFiles(tmp_path), FACTS, [step(2), step(4), step(6), step(8)], [epoch(1, 8)])
    tell(EventFiles(tmp_path), RESUMED, [step(2), step(4), step(6, loss=0.125)])
    numbers, _ = shown(tmp_path)
    assert numbers["train/loss"] == [(2, 0.5), (4, 0.25), (6, 0.125)]
    assert numbers.get("epoch/loss", []) == []
    # And a third session knows what the second has made of it.
    tell(EventFiles(tmp_path), RESUMED, [step(6, loss=0.125), step(8, loss=0.0625)])
    assert shown(tmp_path)[0]["train/loss"] == [(2, 0.5), (4, 0.25), (6, 0.125), (8, 0.0625)]


def test_tensorboard_shows_another_run_in_the_folder_instead_of_the_one_before(tmp_path):
    tell(EventFiles(tmp_path), FACTS, [step(2), step(4), step(6)])
    tell(EventFiles(tmp_path), FACTS, [step(2, loss=0.75)])
    numbers, texts = shown(tmp_path)
    assert numbers["train/loss"] == [(2, 0.75)]
    assert len(texts[OPTIONS_TAG]) == 1


def test_an_event_file_that_ends_in_the_middle_of_an_event_is_gone_on_with(tmp_path):
    tell(EventFiles(tmp_path), FACTS, [step(2), step(4)], status=None)
    (file,) = tmp_path.iterdir()
    file.write_bytes(file.read_bytes()[:-7])
    tell(EventFiles(tmp_path), RESUMED, [step(2), step(4), step(6)])
    assert [at for at, _ in shown(tmp_path)[0]["train/loss"]] == [2, 4, 6]


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


# A tracker in the background


class Noting:
    """Keeps what it is told, once it is let; raises while it has trouble."""

    where = "notes"

    def __init__(self):
        self.calls = []
        self.may = threading.Event()
        self.may.set()
        self.trouble = None

    def _note(self, *call):
        assert self.may.wait(60)
        if self.trouble is not None:
            raise self.trouble
        self.calls.append(call)

    def begin(self, facts):
        self._note("begin")

    def steps(self, rows):
        self._note("steps", [row["step"] for row in rows])

    def epoch(self, row):
        self._note("epoch", row["epoch"])

    def end(self, status, facts):
        self._note("end", status)


def test_a_slow_tracker_holds_nobody_up_and_gets_everything_in_order():
    notes = Noting()
    apart = Apart(notes)
    notes.may.clear()
    apart.begin(FACTS)
    apart.steps([step(1)])
    apart.steps([step(2), step(3)])
    apart.epoch(epoch(1, 3))
    apart.steps([step(4)])
    assert notes.calls == []
    notes.may.set()
    apart.end("finished", {})
    told = [number for call in notes.calls if call[0] == "steps" for number in call[1]]
    assert told == [1, 2, 3, 4]
    assert [call[0] for call in notes.calls if call[0] != "steps"] == ["begin", "epoch", "end"]


def test_a_tracker_that_hangs_at_the_end_is_not_waited_for():
    notes = Noting()
    apart = Apart(notes, end_timeout_s=0.1)
    notes.may.clear()
    apart.begin(FACTS)
    with pytest.raises(TrainingError, match="not everything was taken within 0.1 s"):
        apart.end("finished", {})
    notes.may.set()
    apart._run.wait(60)
    assert [call[0] for call in notes.calls] == ["begin", "end"]


def test_what_fails_in_the_background_is_raised_where_it_can_be_told():
    notes = Noting()
    told = []
    tracking = Tracking([Apart(notes)], told.append)
    notes.trouble = ConnectionError("no route to the server")
    tracking.begin(FACTS)
    tracking.steps([step(1)])
    tracking.end("failed", {})
    assert told[-1] == "the history in notes may be incomplete: no route to the server"


def test_trouble_that_nobody_has_heard_of_is_raised_at_the_end_though_it_is_over():
    notes = Noting()
    apart = Apart(notes)
    notes.may.clear()
    notes.trouble = ConnectionError("no route to the server")
    apart.begin(FACTS)
    notes.may.set()
    while apart._error is None:
        threading.Event().wait(0.01)
    notes.trouble = None
    with pytest.raises(ConnectionError):
        apart.end("finished", {})
    assert notes.calls == [("end", "finished")]


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
