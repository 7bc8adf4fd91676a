"""One frame at a time, the newest state, and no view that waits for ever."""

import pytest

from lepton_nb.widgets.pump import PATIENCE_S, Pump


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def sent():
    return []


@pytest.fixture
def pump(sent, clock):
    return Pump(sent.append, clock)


def test_nothing_is_sent_to_nobody(pump, sent):
    pump.changed()
    assert sent == []


def test_a_view_gets_a_frame_and_what_changes_meanwhile_comes_in_one(pump, sent):
    pump.opened()
    for _ in range(100):
        pump.changed()
    assert sent == [1]
    pump.shown(1)
    assert sent == [1, 2]
    pump.shown(2)
    assert sent == [1, 2]


def test_a_view_that_is_current_waits_for_a_change(pump, sent):
    pump.opened(current=True)
    assert sent == []
    pump.changed()
    assert sent == [1]


def test_what_was_lost_on_the_way_is_followed_by_the_next_frame_at_once(pump, sent):
    pump.opened()
    pump.missed()
    assert sent == [1, 2]
    pump.changed()
    assert sent == [1, 2]


def test_an_old_answer_lets_nothing_through(pump, sent):
    pump.opened()
    pump.shown(1)
    pump.changed()
    pump.changed()
    pump.shown(1)
    assert sent == [1, 2]


def test_a_silent_view_is_tried_again_ever_more_seldom(pump, sent, clock):
    pump.opened()
    for _ in range(1000):
        clock.now += PATIENCE_S / 10
        pump.changed()
    assert 3 <= len(sent) <= 8
    pump.shown(pump.number)
    assert len(sent) <= 9


def test_no_view_no_frames(pump, sent):
    pump.opened()
    pump.closed()
    pump.changed()
    assert sent == [1]
    assert pump.views == 0
