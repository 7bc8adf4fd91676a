"""A tracker in a background run of its own."""

import threading

import pytest
from tracked import FACTS, Noting, epoch, step

from lepton_nb.errors import TrainingError
from lepton_nb.training.tracking import Tracking
from lepton_nb.training.tracking.apart import Apart


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
