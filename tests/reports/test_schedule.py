import shutil
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace

import pytest
from notebook_files import write_notebook

from lepton_nb.background import BackgroundRun
from lepton_nb.errors import ReportError
from lepton_nb.reports.definition import Definition, Outputs, Retries, Schedule, load
from lepton_nb.reports.schedule import Scheduler, place, serve, split, whole
from lepton_nb.reports.schedule_times import Cron
from lepton_nb.reports.slots import LEASE, Slots

START = datetime(2026, 11, 27, 12, tzinfo=UTC)
MINUTE = timedelta(minutes=1)


def definition(tmp_path, name="one", retries=0, **schedule):
    return Definition(
        name=name,
        path=tmp_path / f"{name}.yaml",
        notebook=Path("n.ipynb"),
        parameters={},
        schedule=Schedule(cron=Cron("*/10 * * * *"), **schedule),
        outputs=Outputs(folder=tmp_path / "out" / name),
        retries=Retries(count=retries, wait_s=60, factor=2),
    )


class Runs:
    """Makes runs that do no more than to end as they are told, and counts them."""

    def __init__(self, *faults):
        self.faults, self.slots, self.gate = list(faults), [], threading.Event()

    def __call__(self, definition, slot, folder):
        fault = self.faults.pop(0) if self.faults else None
        self.slots.append(slot)

        def work(control):
            if fault == "wait":
                control.on_stop(self.gate.set)
                self.gate.wait(20)
            elif fault:
                raise ReportError(fault)
            return SimpleNamespace(folder=folder)

        return BackgroundRun(work)


def settle(scheduler, now):
    """Steps at one moment until nothing of it runs."""
    scheduler.step(now)
    while scheduler.running or scheduler.telling:
        threading.Event().wait(0.01)
        scheduler.step(now)


def states(slots, name="one"):
    return [(f"{slot.slot:%H:%M}", slot.state) for slot in reversed(slots.list(name))]


@pytest.fixture
def slots(tmp_path):
    return Slots(tmp_path / "ledger.sqlite")


@pytest.mark.parametrize(
    ("policy", "run"),
    [
        ({"missed": "once"}, ["12:30"]),
        ({"missed": "skip"}, []),
        ({"missed": "all"}, ["12:10", "12:20", "12:30"]),
        ({"missed": "all", "missed_limit": 2}, ["12:20", "12:30"]),
        ({"missed": "all", "missed_limit": 0}, []),
    ],
)
def test_missed_slots_follow_the_policy(tmp_path, slots, policy, run):
    runs = Runs()
    scheduler = Scheduler([definition(tmp_path, **policy)], slots, make=runs)
    scheduler.enter(START)
    scheduler.enter(START + 35 * MINUTE)
    settle(scheduler, START + 35 * MINUTE)
    assert [f"{slot.slot:%H:%M}" for slot in runs.slots] == run
    assert states(slots) == [(at, "finished" if at in run else "skipped") for at in ("12:10", "12:20", "12:30")]


def test_a_slot_on_time_makes_up_for_the_missed_ones():
    moments = [START, START + 10 * MINUTE]
    schedule = Schedule(cron=Cron("*/10 * * * *"))
    assert split(schedule, moments, START + 10 * MINUTE) == ([moments[1]], [moments[0]])


def test_a_failed_run_is_tried_again_later_and_later_and_people_are_told(tmp_path, slots):
    told = []
    runs = Runs("no", "no again", None)
    scheduler = Scheduler([definition(tmp_path, retries=2)], slots, make=runs, tell=told.append)
    slots.enter("one", [START], [], START)
    settle(scheduler, START)
    settle(scheduler, START + timedelta(seconds=59))
    assert len(runs.slots) == 1
    settle(scheduler, START + timedelta(seconds=60))
    settle(scheduler, START + timedelta(seconds=179))
    assert (len(runs.slots), states(slots)) == (2, [("12:00", "waiting")])
    settle(scheduler, START + timedelta(seconds=180))
    assert states(slots) == [("12:00", "finished")]
    assert any("failed: no; again at 2026-11-27T12:01:00" in line for line in told)


def test_failure_and_recovery_become_one_notice_each(tmp_path, slots):
    scheduler = Scheduler([definition(tmp_path)], slots, make=Runs("no", None, None))
    seen = []
    for number in range(3):
        now = START + number * 10 * MINUTE
        slots.enter("one", [now], [], now)
        claimed = slots.claim(["one"], now, 1)
        slots.end(claimed, "failed" if number == 0 else "finished", now, error="no" if number == 0 else None)
        notice = slots.notice(scheduler.definitions, now)
        seen.append(notice and notice.event)
        if notice:
            # Nobody else takes it meanwhile; it comes again where its teller dies.
            assert slots.notice(scheduler.definitions, now) is None
            assert slots.notice(scheduler.definitions, now + LEASE).id == notice.id
            slots.told(notice)
    assert seen == ["failure", "recovery", None]


def test_two_schedulers_run_each_slot_once(tmp_path, slots):
    both = [
        Scheduler([definition(tmp_path, missed="all")], Slots(slots.path), make=Runs(), at_once=4) for _ in range(2)
    ]
    for scheduler in both:
        scheduler.enter(START)
    for number in range(1, 40):
        for scheduler in both if number % 2 else reversed(both):
            scheduler.enter(START + number * MINUTE)
            scheduler.step(START + number * MINUTE)
        for scheduler in both:
            settle(scheduler, START + number * MINUTE)
    ran = sorted(f"{slot.slot:%H:%M}" for scheduler in both for slot in scheduler._make.slots)
    assert ran == ["12:10", "12:20", "12:30"]
    assert {state for _, state in states(slots)} == {"finished"}


def test_no_more_run_at_once_than_allowed_and_never_two_of_one_definition(tmp_path, slots):
    names = ["a", "b", "c"]
    runs = Runs(*["wait"] * 3)
    scheduler = Scheduler([definition(tmp_path, name) for name in names], slots, make=runs, at_once=2)
    for name in names:
        slots.enter(name, [START, START + MINUTE], [], START)
    scheduler.step(START + MINUTE)
    other = Scheduler([definition(tmp_path, name) for name in names], Slots(slots.path), make=runs, at_once=2)
    other.step(START + MINUTE)
    assert [slot.definition for slot in runs.slots] == ["a", "b"]
    runs.gate.set()
    settle(scheduler, START + MINUTE)
    assert len(runs.slots) == 6


def test_who_was_silent_too_long_loses_its_slot_and_changes_nothing_any_more(tmp_path, slots):
    one = definition(tmp_path)
    slow, quick = Runs("wait"), Runs()
    first = Scheduler([one], slots, make=slow)
    second = Scheduler([one], Slots(slots.path), make=quick)
    slots.enter("one", [START], [], START)
    first.step(START)
    second.step(START + LEASE - timedelta(seconds=1))
    assert quick.slots == []
    settle(second, START + LEASE)
    assert [slot.attempt for slot in quick.slots] == [2]
    place(one, slow.slots[0]).mkdir(parents=True)
    first.step(START + LEASE)
    assert first.running == ()
    assert not place(one, slow.slots[0]).exists()
    assert [(slot.state, slot.attempt) for slot in slots.list()] == [("finished", 2)]


def test_a_stop_cancels_and_the_slot_runs_again_later(tmp_path, slots):
    runs = Runs("wait")
    scheduler = Scheduler([definition(tmp_path)], slots, make=runs)
    slots.enter("one", [START], [], START)
    scheduler.step(START)
    scheduler.stop(START)
    assert states(slots) == [("12:00", "waiting")]
    settle(Scheduler([definition(tmp_path)], slots, make=runs), START)
    assert [slot.attempt for slot in runs.slots] == [1, 2]
    assert states(slots) == [("12:00", "finished")]


def test_a_stop_that_waits_starts_nothing_more(tmp_path, slots):
    runs = Runs("wait")
    scheduler = Scheduler([definition(tmp_path)], slots, make=runs)
    slots.enter("one", [START, START + MINUTE], [], START)
    scheduler.step(START + MINUTE)
    serve(scheduler, stopping=lambda: 1, clock=lambda: START + MINUTE, pause=runs.gate.set)
    assert states(slots) == [("12:00", "finished"), ("12:01", "waiting")]


def test_a_real_report_that_was_complete_when_its_scheduler_died_is_not_made_again(tmp_path, slots):
    write_notebook(tmp_path / "n.ipynb", "print(x)", parameters="x: int = 1")
    (tmp_path / "one.yaml").write_text("notebook: n.ipynb\nparameters: {x: 7}\n")
    one = load(tmp_path / "one.yaml")
    scheduler = Scheduler([one], slots)
    slots.enter("one", [START], [], START)
    settle(scheduler, START)
    (made,) = slots.list()
    assert (made.state, made.folder) == ("finished", place(one, made))
    assert whole(made.folder)
    slots.enter("one", [START + MINUTE], [], START)
    lost = slots.claim(["one"], START + MINUTE, 1)
    folder = place(one, lost)
    shutil.copytree(made.folder, folder)
    slots.place(lost, folder)
    runs = Runs()
    settle(Scheduler([one], slots, make=runs), START + MINUTE + LEASE)
    assert (runs.slots, slots.list()[0].state) == ([], "finished")
    # One byte less, and it is not whole.
    page = folder / "report.html"
    page.write_bytes(page.read_bytes()[:-1])
    assert not whole(folder)
