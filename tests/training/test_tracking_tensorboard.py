"""The history as event files, as TensorBoard itself reads them."""

import subprocess
import sys
import types

import pytest
from tracked import FACTS, RESUMED, epoch, shown, step, tell

from lepton_nb.training.tracking.tensorboard import END_TAG, OPTIONS_TAG, EventFiles


@pytest.fixture(autouse=True, scope="module")
def _without_tensorflow():
    """TensorBoard's own switch to read files by itself; it would load TensorFlow for it, which takes long."""
    sys.modules.setdefault("tensorboard.compat.notf", types.ModuleType("tensorboard.compat.notf"))


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
