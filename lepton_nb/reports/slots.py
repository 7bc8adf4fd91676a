"""Slots: moments at which a definition is due, each done by one scheduler, in one SQLite file that all of them share.

A slot is "waiting", "running", "finished", "failed", "cancelled" or "skipped". Who runs one holds a lease, by a token
that is its attempt's alone; who lost it may change nothing any more. Where a scheduler dies, its slots wait again.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import sqlite3
import uuid
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psutil

from lepton_nb.errors import ReportError

BUSY_S = 30.0
# How long a scheduler may say nothing before another takes its slots over; one that has died loses them at once.
LEASE = timedelta(seconds=60)
# The clock of a machine may be set: what psutil says of one process then moves a little.
START_TOLERANCE_S = 2.0

_SCHEMA = """
CREATE TABLE IF NOT EXISTS schedules (definition TEXT PRIMARY KEY, seen TEXT NOT NULL, cron TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS slots (
    definition TEXT NOT NULL, slot TEXT NOT NULL, state TEXT NOT NULL, due TEXT NOT NULL, attempt INTEGER NOT NULL,
    tries INTEGER NOT NULL, token TEXT, machine TEXT, pid INTEGER, pid_started REAL, heard TEXT, folder TEXT,
    ended TEXT, error TEXT, PRIMARY KEY (definition, slot)
);
CREATE INDEX IF NOT EXISTS slots_state ON slots (state, due);
CREATE TABLE IF NOT EXISTS notices (
    id INTEGER PRIMARY KEY, definition TEXT NOT NULL, slot TEXT NOT NULL, event TEXT NOT NULL, facts TEXT NOT NULL,
    heard TEXT, tries INTEGER NOT NULL DEFAULT 0
);
"""
_COLUMNS = "definition, slot, state, due, attempt, tries, folder, ended, error"


@dataclass(frozen=True, slots=True, kw_only=True)
class Slot:
    """One slot. attempt counts all runs that were begun, tries those that failed; times are UTC.

    due: not run before then. folder: where the report of this attempt is, or will be. token: of who runs it.
    """

    definition: str
    slot: datetime
    state: str
    due: datetime
    attempt: int
    tries: int
    folder: Path | None
    ended: datetime | None
    error: str | None
    token: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Notice:
    """Something that somebody is to be told: event is "failure" or "recovery"."""

    id: int
    definition: str
    slot: str
    event: str
    facts: Mapping[str, Any]
    tries: int


class Slots:
    """The slots in the file `path`, for this process. Times are given, and never read from a clock here.

    Raises ReportError where the file cannot be read or written.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path).expanduser().absolute()
        self._me = (machine(), os.getpid(), psutil.Process().create_time())
        with self._open(write=True) as database:
            for statement in _SCHEMA.split(";"):
                database.execute(statement)

    def seen(self, definition: str, cron: str, now: datetime) -> datetime:
        """Up to when the slots of a definition are entered: `now` when it, or its times, are new."""
        with self._open(write=True) as database:
            row = database.execute("SELECT seen, cron FROM schedules WHERE definition = ?", (definition,)).fetchone()
            if row is None or row[1] != cron:
                database.execute("INSERT OR REPLACE INTO schedules VALUES (?, ?, ?)", (definition, _text(now), cron))
                return now
            return _moment(row[0])

    def enter(
        self,
        definition: str,
        due: Iterable[datetime],
        skipped: Iterable[datetime],
        until: datetime,
        *,
        manual: bool = False,
    ) -> None:
        """Enter slots, each once whoever else does, and that all up to `until` are, unless they are `manual`."""
        with self._open(write=True) as database:
            for state, moments in (("waiting", due), ("skipped", skipped)):
                for moment in moments:
                    database.execute(
                        "INSERT OR IGNORE INTO slots (definition, slot, state, due, attempt, tries) "
                        "VALUES (?, ?, ?, ?, 0, 0)",
                        (definition, _text(moment), state, _text(moment)),
                    )
            if not manual:
                database.execute(
                    "UPDATE schedules SET seen = max(seen, ?) WHERE definition = ?", (_text(until), definition)
                )

    def release(self, now: datetime) -> list[Slot]:
        """Have the slots of schedulers that died, or were silent for too long, wait again; returns them as they were.

        Where the report of such a slot is complete, it is for the next attempt to find out.
        """
        found = []
        with self._open(write=True) as database:
            rows = database.execute(
                f"SELECT {_COLUMNS}, token, machine, pid, pid_started, heard FROM slots WHERE state = 'running'"  # noqa: S608
            ).fetchall()
            for *row, token, where, pid, pid_started, heard in rows:
                if now - _moment(heard) < LEASE and not (where == self._me[0] and _gone(pid, pid_started)):
                    continue
                slot = _slot(row, token)
                found.append(slot)
                database.execute(
                    "UPDATE slots SET state = 'waiting', token = NULL WHERE definition = ? AND slot = ?",
                    (slot.definition, _text(slot.slot)),
                )
        return found

    def claim(self, definitions: Iterable[str], now: datetime, at_once: int) -> Slot | None:
        """Take the next slot of one of `definitions`, or None: nothing waits, or `at_once` run, also elsewhere.

        Of one definition no two run at a time.
        """
        with self._open(write=True) as database:
            busy = {row[0] for row in database.execute("SELECT definition FROM slots WHERE state = 'running'")}
            running = database.execute("SELECT count(*) FROM slots WHERE state = 'running'").fetchone()[0]
            free = sorted(set(definitions) - busy)
            if running >= at_once or not free:
                return None
            row = database.execute(
                f"SELECT {_COLUMNS} FROM slots WHERE state = 'waiting' AND due <= ? "  # noqa: S608
                f"AND definition IN ({','.join('?' * len(free))}) ORDER BY due, definition LIMIT 1",
                (_text(now), *free),
            ).fetchone()
            if row is None:
                return None
            slot, token = _slot(row, ""), uuid.uuid4().hex
            database.execute(
                "UPDATE slots SET state = 'running', attempt = attempt + 1, token = ?, machine = ?, pid = ?, "
                "pid_started = ?, heard = ? WHERE definition = ? AND slot = ?",
                (token, *self._me, _text(now), slot.definition, _text(slot.slot)),
            )
            values = {name: getattr(slot, name) for name in Slot.__slots__}
            return Slot(**{**values, "state": "running", "attempt": slot.attempt + 1, "token": token})

    def place(self, slot: Slot, folder: Path) -> bool:
        """Note where the report will be, before anything is written there; False when the slot was lost."""
        with self._open(write=True) as database:
            return self._change(database, slot, "folder = ?", str(folder))

    def beat(self, slots: Iterable[Slot], now: datetime) -> list[Slot]:
        """Keep the leases of `slots`; returns those that were lost."""
        with self._open(write=True) as database:
            return [slot for slot in slots if not self._change(database, slot, "heard = ?", _text(now))]

    def end(
        self,
        slot: Slot,
        state: str,
        now: datetime,
        *,
        error: str | None = None,
        again: datetime | None = None,
        folder: Path | None = None,
    ) -> bool:
        """Enter how an attempt ended, or that it is tried `again` at that time; False when the slot was lost.

        A failure, and the first success after one, become notices in the same step.
        """
        with self._open(write=True) as database:
            before = database.execute(
                "SELECT state FROM slots WHERE definition = ? AND state IN ('finished', 'failed') AND slot <> ? "
                "ORDER BY ended DESC LIMIT 1",
                (slot.definition, _text(slot.slot)),
            ).fetchone()
            changed = self._change(
                database,
                slot,
                "state = ?, token = NULL, ended = ?, error = ?, due = coalesce(?, due), tries = tries + ?, "
                "folder = coalesce(?, folder)",
                "waiting" if again else state,
                None if again else _text(now),
                error,
                _text(again) if again else None,
                int(state == "failed"),
                str(folder) if folder else None,
            )
            event = {"failed": "failure"}.get(state)
            if state == "finished" and before is not None and before[0] == "failed":
                event = "recovery"
            if changed and event and not again:
                facts = {"error": error, "report": str(folder or slot.folder or ""), "attempt": slot.attempt}
                database.execute(
                    "INSERT INTO notices (definition, slot, event, facts) VALUES (?, ?, ?, ?)",
                    (slot.definition, _text(slot.slot), event, json.dumps(facts)),
                )
            return changed

    def notice(self, definitions: Iterable[str], now: datetime) -> Notice | None:
        """Take the next notice that nobody is busy with, or None; it comes again unless it is `told` in time."""
        names = list(definitions)
        with self._open(write=True) as database:
            row = database.execute(
                "SELECT id, definition, slot, event, facts, tries FROM notices WHERE (heard IS NULL OR heard <= ?) "  # noqa: S608
                f"AND definition IN ({','.join('?' * len(names))}) ORDER BY id LIMIT 1",
                (_text(now - LEASE), *names),
            ).fetchone()
            if row is None:
                return None
            database.execute("UPDATE notices SET heard = ?, tries = tries + 1 WHERE id = ?", (_text(now), row[0]))
        number, definition, slot, event, facts, tries = row
        return Notice(
            id=number, definition=definition, slot=slot, event=event, facts=json.loads(facts), tries=tries + 1
        )

    def told(self, notice: Notice) -> None:
        """The notice was delivered, or given up."""
        with self._open(write=True) as database:
            database.execute("DELETE FROM notices WHERE id = ?", (notice.id,))

    def list(self, definition: str | None = None, limit: int | None = None) -> list[Slot]:
        """The slots, newest first."""
        with self._open() as database:
            rows = database.execute(
                f"SELECT {_COLUMNS}, token FROM slots WHERE ? IS NULL OR definition = ? ORDER BY slot DESC LIMIT ?",  # noqa: S608
                (definition, definition, -1 if limit is None else limit),
            ).fetchall()
        return [_slot(row[:-1], row[-1] or "") for row in rows]

    def _change(self, database: sqlite3.Connection, slot: Slot, what: str, *values: Any) -> bool:
        done = database.execute(
            f"UPDATE slots SET {what} WHERE definition = ? AND slot = ? AND state = 'running' AND token = ?",  # noqa: S608
            (*values, slot.definition, _text(slot.slot), slot.token),
        )
        return done.rowcount == 1

    @contextlib.contextmanager
    def _open(self, *, write: bool = False) -> Iterator[sqlite3.Connection]:
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with contextlib.closing(sqlite3.connect(self.path, timeout=BUSY_S, isolation_level=None)) as database:
                with contextlib.suppress(sqlite3.OperationalError):
                    # Another process may be doing the same, for which this one statement does not wait.
                    database.execute("PRAGMA journal_mode = WAL")
                database.execute("BEGIN IMMEDIATE" if write else "BEGIN")
                try:
                    yield database
                except BaseException:
                    database.execute("ROLLBACK")
                    raise
                database.execute("COMMIT")
        except (sqlite3.Error, OSError) as error:
            raise ReportError(
                f"cannot use {self.path}: {error}; give a file that you may write with --ledger", path=str(self.path)
            ) from error


def machine() -> str:
    """A name for the machine, as it runs since its start: a process number means something there alone."""
    facts = [socket.gethostname()]
    with contextlib.suppress(OSError):
        facts.append(Path("/proc/sys/kernel/random/boot_id").read_text().strip())
    with contextlib.suppress(OSError):
        facts.append(os.readlink("/proc/self/ns/pid"))
    return " ".join(facts)


def _gone(pid: int, started: float) -> bool:
    try:
        process = psutil.Process(pid)
        return abs(process.create_time() - started) > START_TOLERANCE_S or process.status() == psutil.STATUS_ZOMBIE
    except psutil.Error:
        return True


def _text(moment: datetime) -> str:
    """In UTC and always as long: the order of such texts is that of the moments."""
    return moment.astimezone(UTC).isoformat(timespec="microseconds")


def _moment(text: str) -> datetime:
    return datetime.fromisoformat(text)


def _slot(row: Any, token: str | None) -> Slot:
    definition, slot, state, due, attempt, tries, folder, ended, error = row
    return Slot(
        definition=definition,
        slot=_moment(slot),
        state=state,
        due=_moment(due),
        attempt=attempt,
        tries=tries,
        folder=Path(folder) if folder else None,
        ended=_moment(ended) if ended else None,
        error=error,
        token=token or "",
    )
