"""The history as JSON lines: whole, once, and gone on with."""

import subprocess
import sys

import pytest
from tracked import FACTS, RESUMED, epoch, kinds, lines, step, tell

from lepton_nb.errors import TrainingError
from lepton_nb.training.tracking import trackers
from lepton_nb.training.tracking.jsonl import JsonLines, read


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
