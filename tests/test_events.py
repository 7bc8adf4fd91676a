"""Events are frozen values that say when, and statuses that say whether more will come."""

import dataclasses
import pickle
import time

import pytest

from lepton_nb.events import Event, Failed, Finished, Progress, Started, Status


@pytest.mark.parametrize(
    ("status", "over"),
    [
        (Status.PENDING, False),
        (Status.RUNNING, False),
        (Status.STOPPED, True),
        (Status.FINISHED, True),
        (Status.FAILED, True),
    ],
)
def test_a_status_knows_whether_it_is_the_last(status: Status, over: bool) -> None:
    assert status.over is over


def test_an_event_is_stamped_with_wall_clock_time() -> None:
    before = time.time()
    event = Started(run="fit")
    assert before <= event.at_s <= time.time()


@pytest.mark.parametrize(
    "event",
    [
        Started(run="fit"),
        Progress(run="fit", done=3, total=10, values={"loss": 0.5}),
        Finished(run="fit", stopped=True),
        Failed(run="fit", error=ValueError("bad")),
    ],
)
def test_events_are_frozen_and_cross_processes(event: Event) -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        event.run = "other"  # type: ignore[misc]
    copy = pickle.loads(pickle.dumps(event))
    assert (type(copy), repr(copy)) == (type(event), repr(event))
