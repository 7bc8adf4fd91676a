"""The course of a stream in bounded memory."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

import lepton_nb as lnb
from lepton_nb.events import Finished, Progress, Started
from lepton_nb.figures.batches import Course, batches

VALUES = {
    "rows_per_s": 1.0, "lag_rows": 0, "watermark": None, "latest": None, "late": 0, "state_bytes": 0, "over": False,
}  # fmt: skip


def events(count):
    return [Progress(run="a", at_s=1_000.0 + n, done=n, values=VALUES) for n in range(count)]


@given(st.integers(0, 300), st.integers(4, 40))
def test_it_keeps_a_bounded_number_of_batches_evenly_spread_with_both_ends(count, most):
    course = Course(most)
    for event in events(count):
        course.add(event)
    kept = [batch.rows for batch in course.batches]
    assert len(kept) <= most
    assert kept == list(range(count)) if count < most else len(kept) >= most // 2
    if count:
        assert (kept[0], kept[-1]) == (0, count - 1)
        steps = {later - earlier for earlier, later in itertools.pairwise(kept[:-1])}
        assert len(steps) <= 1


def test_it_holds_what_the_events_say():
    given_out = events(5)
    course = Course()
    for event in [Started(run="a"), *given_out, Finished(run="a")]:
        course.add(event)
    assert course.batches == batches(given_out)
    assert Course().batches == []
    assert len(lnb.figures.streams.course(course.batches).data[0].x) == 5


def test_events_of_something_else_are_refused():
    with pytest.raises(lnb.WindowError, match="are not those of a stream"):
        Course().add(Progress(run="training", done=1, values={"loss": 1.0}))
