"""What ranks say, noted once whatever comes twice, in plain values."""

import pytest

from lepton_nb.training.attempts import Team
from lepton_nb.training.heard import Heard
from lepton_nb.training.spec import TrainingSpec
from lepton_nb.training.tracking import Tracking


@pytest.fixture
def heard():
    return Heard(Team(TrainingSpec()), Tracking(()), lambda said, kind: None)


def row(step, **figures):
    return {"step": step, "epoch": 1, "loss": 0.5, "elapsed_s": 1.0, **figures}


def test_a_message_that_comes_twice_is_told_once(heard):
    told = []
    messages = [
        {"kind": "waiting"}, {"kind": "waiting"}, {"kind": "started"}, {"kind": "ready", "task": "binary"},
        {"kind": "steps", "rows": [row(1, gradient_norm=1.0, learning_rate=0.1)]}, {"kind": "epoch", "row": row(2)},
    ]  # fmt: skip
    for message in messages + messages[3:]:
        heard.take(message, lambda done, phase, **values: told.append((done, phase, values)))
    figures = {"epoch": 1, "loss": 0.5}
    assert told == [(0, "waiting", {}), (0, "training", {}), (1, "training", figures), (2, "training", figures)]
    assert (heard.task, heard.steps_done, heard.waiting) == ("binary", 2, False)
    assert heard.history.epochs("binary").height == heard.history.steps().height == 1


def test_what_ranks_of_an_attempt_before_cost_counts_too(heard):
    report = {"cpu_s": 2.0}
    heard.take({"kind": "cost", "rank": 0, "report": report}, None)
    heard.begin_again()
    heard.take({"kind": "cost", "rank": 0, "report": report}, None)
    assert heard.costs == [{0: report}, {0: report}]
