"""The scheduler: enters slots when they are due, runs them, tries again, and has people told.

Each pass is one `step` at a time that is given. All that must outlive the process is in `Slots`.
"""

from __future__ import annotations

import contextlib
import glob
import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Literal

from lepton_nb.background import BackgroundRun, Control
from lepton_nb.errors import LeptonError, ReportError
from lepton_nb.events import Status
from lepton_nb.reports import guard
from lepton_nb.reports.definition import MOST_MISSED, Definition, Schedule
from lepton_nb.reports.inputs import sha256
from lepton_nb.reports.notify import deliver, message
from lepton_nb.reports.place import MANIFEST_NAME
from lepton_nb.reports.slots import Notice, Slot, Slots

# A slot that is no older is on time, and not a missed one.
GRACE = timedelta(seconds=60)
# A notebook that takes the scheduler itself down each time would do so for ever.
MOST_ATTEMPTS = 100
# How often somebody is told in vain before it is given up, and how long to wait between.
TELL_TRIES, TELL_WAIT_S = 3, 5.0

Make = Callable[[Definition, Slot, Path], BackgroundRun[Any]]


@dataclass(frozen=True, slots=True)
class _Running:
    definition: Definition
    slot: Slot
    folder: Path
    run: BackgroundRun[Any]


def split(schedule: Schedule, moments: Sequence[datetime], now: datetime) -> tuple[list[datetime], list[datetime]]:
    """Which of the slots `moments`, in order, are to be run, and which are skipped, by the policy of `schedule`."""
    missed = [moment for moment in moments if moment <= now - GRACE]
    due = [moment for moment in moments if moment > now - GRACE]
    made_up: list[datetime] = []
    if schedule.missed == "once" and not due:
        made_up = missed[-1:]
    elif schedule.missed == "all" and schedule.missed_limit:
        made_up = missed[-schedule.missed_limit :]
    return made_up + due, missed[: len(missed) - len(made_up)]


class Scheduler:
    """Runs the slots of `definitions`, at most `at_once` at a time over all schedulers that share the file of `slots`.

    tell: is given a line for people about each thing that happens. make: makes the run of a slot, not yet started.
    """

    def __init__(
        self,
        definitions: Sequence[Definition],
        slots: Slots,
        *,
        at_once: int = 1,
        tell: Callable[[str], None] = lambda line: None,
        make: Make | None = None,
    ) -> None:
        self.slots, self.at_once, self._tell = slots, at_once, tell
        self.definitions = {one.name: one for one in definitions}
        self._make = make or self._planned
        self._running: list[_Running] = []
        self._telling: BackgroundRun[None] | None = None

    @property
    def running(self) -> tuple[Slot, ...]:
        """The slots that this scheduler runs."""
        return tuple(one.slot for one in self._running)

    @property
    def telling(self) -> bool:
        """True while somebody is being told."""
        return self._telling is not None and not self._telling.status.over

    @property
    def ended(self) -> bool:
        """True when a run has ended that no step has seen yet."""
        return any(one.run.status.over for one in self._running)

    def enter(self, now: datetime) -> None:
        """Enter the slots that have become due; a definition that is new begins now."""
        for name, definition in self.definitions.items():
            schedule = definition.schedule
            if schedule is None:
                continue
            seen = self.slots.seen(name, f"{schedule.cron.expression} {schedule.cron.time_zone}", now)
            moments = schedule.cron.latest(seen, now, MOST_MISSED) if seen < now else []
            if moments:
                due, skipped = split(schedule, moments, now)
                self.slots.enter(name, due, skipped, now)
                if skipped:
                    self._tell(f"{name}: {len(skipped)} missed slots skipped")

    def step(self, now: datetime, *, claim: bool = True) -> None:
        """See to the runs that ended, keep the leases of the others, and start what waits (with `claim`)."""
        for one in [one for one in self._running if one.run.status.over]:
            self._running.remove(one)
            self._end(one, now)
        for slot in self.slots.beat(self.running, now):
            lost = next(one for one in self._running if one.slot is slot)
            self._tell(f"{_named(slot)}: another scheduler has taken over; stopped here")
            self._running.remove(lost)
            lost.run.stop(timeout_s=None)
            self._discard(lost)
        for slot in self.slots.release(now):
            self._tell(f"{_named(slot)}: its scheduler is gone; it runs again from the start")
        while claim:
            found = self.slots.claim(self.definitions, now, self.at_once)
            if found is None:
                break
            self._begin(found, now)
        self._notify(now)

    def stop(self, now: datetime) -> None:
        """Cancel what runs; its slots wait for the next scheduler. What is half made goes."""
        for one in self._running:
            with contextlib.suppress(LeptonError):
                one.run.stop(timeout_s=None)
        for one in self._running:
            if one.run.status is Status.STOPPED:
                self.slots.end(one.slot, "cancelled", now, again=now)
                self._tell(f"{_named(one.slot)}: cancelled; it runs again when a scheduler starts")
                self._discard(one)
            else:
                self._end(one, now)
        self._running.clear()
        if self._telling is not None:
            self._telling.stop(timeout_s=None)

    def _begin(self, slot: Slot, now: datetime) -> None:
        definition = self.definitions[slot.definition]
        try:
            if slot.folder is not None and whole(slot.folder):
                # Its scheduler died between the last file and the note that all is well.
                if self.slots.end(slot, "finished", now, folder=slot.folder):
                    self._tell(f"{_named(slot)}: finished: {slot.folder}")
                return
            folder = place(definition, slot)
            clear(definition, slot)
            if not self.slots.place(slot, folder):
                return
            if slot.attempt > MOST_ATTEMPTS:
                raise ReportError(f"given up after {MOST_ATTEMPTS} attempts that ended with their scheduler")
            run = self._make(definition, slot, folder)
        except LeptonError as error:
            self._fail(definition, slot, error, now)
            return
        self._tell(f"{_named(slot)}: started, attempt {slot.attempt}")
        self._running.append(_Running(definition, slot, folder, run.start()))

    def _end(self, one: _Running, now: datetime) -> None:
        error = one.run.error
        if error is not None:
            self._fail(one.definition, one.slot, error, now, one)
            return
        folder = one.run.wait().folder
        if self.slots.end(one.slot, "finished", now, folder=folder):
            clear(one.definition, one.slot, but=folder)
            self._tell(f"{_named(one.slot)}: finished: {folder}")
        else:
            self._discard(one)

    def _fail(
        self, definition: Definition, slot: Slot, error: BaseException, now: datetime, one: _Running | None = None
    ) -> None:
        tries, retries = slot.tries + 1, definition.retries
        again = now + timedelta(seconds=retries.wait_before(tries)) if tries <= retries.count else None
        made = getattr(error, "facts", {}).get("report")
        if self.slots.end(slot, "failed", now, error=str(error), again=again, folder=made and made.folder):
            then = f"; again at {again.isoformat(timespec='seconds')}" if again else ""
            self._tell(f"{_named(slot)}: failed: {error}{then}")
        elif one is not None:
            self._discard(one)

    def _discard(self, one: _Running) -> None:
        error = one.run.error
        made = getattr(error, "facts", {}).get("report") if error is not None else None
        for folder in {one.folder, made.folder if made else one.folder}:
            shutil.rmtree(folder, ignore_errors=True)

    def _notify(self, now: datetime) -> None:
        if self.telling:
            return
        notice = self.slots.notice(self.definitions, now)
        if notice is not None:
            self._telling = BackgroundRun(lambda control: self._deliver(notice, control), name="notify").start()

    def _deliver(self, notice: Notice, control: Control) -> None:
        definition = self.definitions[notice.definition]
        told = message(definition, notice.event, notice.slot, notice.facts)
        for one in definition.notifications:
            for tries in range(1, TELL_TRIES + 1):
                problems = deliver([one], told)
                for problem in problems:
                    self._tell(f"{notice.definition}: nobody was told of the {notice.event}: {problem}")
                if not problems or tries == TELL_TRIES:
                    break
                if control.wait_for_stop(TELL_WAIT_S):
                    return  # told by the next scheduler
        self.slots.told(notice)

    def _planned(self, definition: Definition, slot: Slot, folder: Path) -> BackgroundRun[Any]:
        from lepton_nb.reports.run import plan

        return plan(
            definition.notebook,
            definition.parameters,
            output=folder,
            timeout_s=definition.timeout_s,
            show_code=definition.outputs.show_code,
            formats=definition.outputs.formats,
            ledger=self.slots.path,
            slot=slot.slot.isoformat(),
        ).run()


OnStop = Literal["wait", "cancel"]


def serve(
    scheduler: Scheduler,
    *,
    stopping: Callable[[], int],
    clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    pause: Callable[[], object],
    on_stop: OnStop = "wait",
    once: bool = False,
    enter: bool = True,
) -> None:
    """Run the scheduler until `stopping` says so (1: asked to stop, 2: asked again, in a hurry).

    pause: waits a moment, less when there may be something to do. once: do what is due now, and return.
    enter: look at schedules at all.
    """
    if enter:
        scheduler.enter(clock())
    while True:
        asked = stopping()
        if asked > 1 or (asked and on_stop == "cancel"):
            scheduler.stop(clock())
            return
        now = clock()
        if enter and not once and not asked:  # with `once`, what becomes due meanwhile is the next call's
            scheduler.enter(now)
        scheduler.step(now, claim=not asked)
        if not scheduler.running and (asked or once) and not scheduler.telling:
            return
        pause()


def place(definition: Definition, slot: Slot) -> Path:
    """The folder of the report of this attempt at a slot."""
    return definition.outputs.folder / (_base(slot) + (f"-{slot.attempt}" if slot.attempt > 1 else ""))


def clear(definition: Definition, slot: Slot, *, but: Path | None = None) -> None:
    """Remove what earlier attempts at a slot left, whole or half made, except for the folder `but`."""
    base, folder = glob.escape(_base(slot)), definition.outputs.folder
    for pattern in (base, f"{base}-*", f".{base}-*"):
        for path in folder.glob(pattern):
            if but is not None and path.name == but.name:
                continue
            if path.name.startswith("."):
                guard.clear(path)
            else:
                shutil.rmtree(path, ignore_errors=True)


def whole(folder: Path) -> bool:
    """True when `folder` holds a finished report, and each of its files is as its manifest says."""
    try:
        manifest = json.loads((folder / MANIFEST_NAME).read_text(encoding="utf-8"))
        return manifest["status"] == "finished" and all(
            sha256(folder / name) == facts["sha256"] for name, facts in manifest["files"].items()
        )
    except (OSError, ValueError, LookupError, TypeError, AttributeError):
        return False


def _base(slot: Slot) -> str:
    moment = slot.slot.astimezone(UTC)
    return f"{slot.definition}-{moment:%Y%m%dT%H%M%S}{f'.{moment.microsecond:06}' if moment.microsecond else ''}Z"


def _named(slot: Slot) -> str:
    return f"{slot.definition} {slot.slot.astimezone(UTC).isoformat(timespec='seconds')}"
