import itertools

import pytest

from lepton_nb.events import Failed, Finished, Progress, Started
from lepton_nb.training.time_left import in_words, time_left_s

START_S = 1_700_000_000.0


def progress(at_s, done, phase="training", total=1000):
    return Progress(run="r", at_s=START_S + at_s, done=done, total=total, values={"phase": phase})


def steady(*, first_s=0.0, first=0, steps_per_s=10.0, seconds=20):
    return [progress(first_s + second, first + int(second * steps_per_s)) for second in range(seconds + 1)]


def test_a_steady_run_has_its_rest_left_at_its_pace():
    events = steady()  # 200 of 1,000 steps, ten a second
    assert time_left_s(events, START_S + 20) == pytest.approx(80)
    # The clock goes on between two events, and never below nothing.
    assert time_left_s(events, START_S + 25) == pytest.approx(75)
    assert time_left_s(events, START_S + 500) == 0


@pytest.mark.parametrize(
    "events",
    [
        [],
        [Started(run="r", at_s=START_S)],
        [progress(0, 0, "starting")],
        [progress(0, 0, "starting"), progress(9, 0)],
        [progress(0, 0, total=None), progress(1, 5, total=None)],
    ],
)
def test_nothing_is_said_before_the_first_steps_or_without_a_total(events):
    assert time_left_s(events, START_S + 10) is None


def test_starting_pausing_and_starting_again_are_no_work():
    plain = steady()
    held = [
        progress(-300, 0, "starting"), *steady(seconds=10),
        progress(10, 100, "paused"), progress(510, 100), *steady(first_s=510, first=100, seconds=5),
        # What is done anew after a start counts neither.
        progress(515, 150, "restarting"), progress(615, 155), *steady(first_s=615, first=155, seconds=5),
    ]  # fmt: skip
    assert time_left_s(held, START_S + 620) == pytest.approx((1000 - 205) / 10)
    assert time_left_s(plain, START_S + 20) == pytest.approx(80)


def test_steps_from_before_a_run_was_gone_on_with_say_nothing_of_its_pace():
    events = [progress(0, 0, "starting"), progress(0.05, 500), *steady(first_s=0.05, first=500, seconds=10)]
    assert time_left_s(events, START_S + 10.05) == pytest.approx(40)


def test_while_a_run_is_paused_its_time_left_stands_still():
    events = [*steady(), progress(20, 200, "paused")]
    assert time_left_s(events, START_S + 20) == time_left_s(events, START_S + 900) == pytest.approx(80)


def test_the_pace_is_the_recent_one():
    slow_then_quick = steady(seconds=60, steps_per_s=1) + steady(first_s=60, first=60, steps_per_s=10, seconds=61)
    assert time_left_s(slow_then_quick, START_S + 121) == pytest.approx((1000 - 670) / 10)


def test_the_pause_between_epochs_is_part_of_a_long_runs_pace():
    # 100 steps in 10 s, then 10 s of validation: 5 steps a second on the whole.
    epochs = [(20 * epoch, 100 * epoch) for epoch in range(9)]
    events = list(itertools.chain.from_iterable((progress(s, n), progress(s + 10, n + 100)) for s, n in epochs))
    assert time_left_s(events, START_S + 170) == pytest.approx(100 / 5, rel=0.2)


def test_a_run_that_is_over_has_nothing_left():
    assert time_left_s([*steady(), Finished(run="r")], START_S + 20) == 0
    assert time_left_s([*steady(), Failed(run="r", error=ValueError())], START_S + 20) == 0


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0, "less than 5 s"), (42, "40 s"), (59, "60 s"), (90, "2 min"), (3_590, "1 h"), (12_060, "3 h 21 min")],
)
def test_times_are_told_in_words(seconds, words):
    assert in_words(seconds) == words
