"""The ledger: which reports were made, of what, how they ended and what they recorded, in one SQLite file."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import sqlite3
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psutil

from lepton_nb.errors import ReportError

LEDGER_NAME = "ledger.sqlite"
VARIABLE = "LEPTON_NB_LEDGER"
SCHEMA_VERSION = 1
# How long one process waits for another that writes.
BUSY_S = 30.0
# The clock of a machine may be set: what psutil says of one process then moves a little.
START_TOLERANCE_S = 2.0

_SCHEMA = """
CREATE TABLE IF NOT EXISTS runs (
    id TEXT PRIMARY KEY, notebook TEXT NOT NULL, parameters TEXT NOT NULL, folder TEXT NOT NULL, status TEXT NOT NULL,
    started TEXT NOT NULL, ended TEXT, metrics TEXT NOT NULL, parent TEXT, slot TEXT, definition TEXT,
    host TEXT NOT NULL, pid INTEGER NOT NULL, pid_started REAL NOT NULL
);
CREATE INDEX IF NOT EXISTS runs_started ON runs (started);
CREATE INDEX IF NOT EXISTS runs_notebook ON runs (notebook, started);
"""
_ENTER = "INSERT OR REPLACE INTO runs VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
_READ = """
SELECT id, notebook, parameters, folder, status, started, ended, metrics, parent, slot, definition,
    host, pid, pid_started
FROM runs WHERE started >= :since AND substr(id, 1, length(:id)) = :id ORDER BY started DESC, rowid DESC
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One run of a notebook as the ledger has it.

    status: "running", "finished", "failed", "cancelled", or "lost" when its process died without a word. started and
    ended are UTC. notebook, parameters and metrics are as in the report's manifest. parent is the id of the run, or of
    the sweep, that this one belongs to, slot the moment that a schedule meant it for, definition the schedule's.
    """

    id: str
    notebook: str
    parameters: Mapping[str, Any] = field(default_factory=dict)
    folder: Path
    status: str
    started: datetime
    ended: datetime | None = None
    metrics: Mapping[str, Any] = field(default_factory=dict)
    parent: str | None = None
    slot: str | None = None
    definition: str | None = None

    @property
    def duration_s(self) -> float | None:
        """Seconds from start to end, None while there is no end."""
        return None if self.ended is None else (self.ended - self.started).total_seconds()


class Ledger:
    """The ledger in the file `path`, which the first entry makes. Many processes may use it at once.

    Every method raises ReportError for a file that is damaged, of a newer lepton_nb, or out of reach; what is in such
    a file stays as it is.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path).expanduser().absolute()

    @property
    def folder(self) -> Path:
        """The folder that the file is in; reports below it are kept by their path from there."""
        return self.path.parent

    def begin(
        self,
        id: str,
        *,
        notebook: str,
        parameters: Mapping[str, Any],
        folder: str | os.PathLike[str],
        parent: str | None = None,
        slot: str | None = None,
        definition: str | None = None,
    ) -> None:
        """Enter a run of this process that begins now; `folder` is where its report will be."""
        process = psutil.Process()
        row = (
            id, notebook, _json(parameters), self._kept(Path(folder)), "running", _now(), None, "{}", parent, slot,
            definition, socket.gethostname(), process.pid, process.create_time(),
        )  # fmt: skip
        with self._open(write=True) as database:
            database.execute(_ENTER, row)

    def end(
        self,
        id: str,
        status: str,
        metrics: Mapping[str, Any],
        ended: datetime | None = None,
        *,
        folder: str | os.PathLike[str] | None = None,
    ) -> None:
        """Enter how a run ended, and where its report is in the end, if that is another `folder`."""
        moment = _now() if ended is None else ended.astimezone(UTC).isoformat()
        with self._open(write=True) as database:
            database.execute(
                "UPDATE runs SET status = ?, metrics = ?, ended = ?, folder = coalesce(?, folder) WHERE id = ?",
                (status, _json(metrics), moment, None if folder is None else self._kept(Path(folder)), id),
            )

    def runs(
        self,
        notebook: str | None = None,
        status: str | None = None,
        since: datetime | None = None,
        limit: int | None = None,
    ) -> list[Run]:
        """The runs, newest first; none where there is no file yet.

        notebook: its path as in the manifest, or the end of it, such as "flights.ipynb" or "flights".
        """
        if not self.path.exists():
            return []
        earliest = "" if since is None else since.astimezone(UTC).isoformat()
        with self._open() as database:
            # The rest is what SQL cannot see: whether a process lives, and a name without its ending.
            rows = database.execute(_READ, {"since": earliest, "id": ""})
            found: list[Run] = []
            for row in rows:
                if limit is not None and len(found) >= limit:
                    break
                run = self._run(row)
                if (status is None or run.status == status) and (notebook is None or _named(run.notebook, notebook)):
                    found.append(run)
        return found

    def run(self, id_or_prefix: str) -> Run:
        """The run of this id, or of the only id that begins so. Raises ReportError for none, or several."""
        rows = []
        if self.path.exists() and id_or_prefix:
            with self._open() as database:
                rows = database.execute(_READ, {"since": "", "id": id_or_prefix}).fetchall()
        if len(rows) == 1:
            return self._run(rows[0])
        if rows:
            raise ReportError(f"several runs begin with {id_or_prefix!r}; write more of the id", name=id_or_prefix)
        raise ReportError(
            f"there is no run {id_or_prefix!r} in {self.path}; lepton-nb report list shows those that are there",
            name=id_or_prefix,
        )

    def forget(self, id: str) -> None:
        """Take a run out of the ledger; its report stays where it is."""
        with self._open(write=True) as database:
            database.execute("DELETE FROM runs WHERE id = ?", (id,))

    @contextlib.contextmanager
    def connected(self, *, write: bool = False) -> Iterator[sqlite3.Connection]:
        """An open connection to the file, for tables of other parts; committed at the end, or undone by an error."""
        with self._open(write=write) as database:
            yield database

    @contextlib.contextmanager
    def _open(self, *, write: bool = False) -> Iterator[sqlite3.Connection]:
        database = None
        try:
            if write:
                self.folder.mkdir(parents=True, exist_ok=True)
            database = sqlite3.connect(self.path, timeout=BUSY_S, isolation_level=None)
            self._prepare(database)
            if write:
                database.execute("BEGIN IMMEDIATE")
            yield database
            if write:
                database.execute("COMMIT")
        except (sqlite3.Error, OSError) as error:
            raise ReportError(_told(error, self.path), path=str(self.path)) from error
        finally:
            if database is not None:
                # What was not committed is undone.
                database.close()

    def _prepare(self, database: sqlite3.Connection) -> None:
        there = database.execute("SELECT 1 FROM sqlite_master WHERE name = 'lepton_nb_schema'").fetchone()
        version = there and database.execute("SELECT version FROM lepton_nb_schema WHERE part = 'runs'").fetchone()
        if not version:
            with contextlib.suppress(sqlite3.OperationalError):
                # Another process may be doing the same, for which this one statement does not wait.
                database.execute("PRAGMA journal_mode = WAL")
            database.execute("BEGIN IMMEDIATE")
            for statement in _SCHEMA.split(";"):
                database.execute(statement)
            database.execute(
                "CREATE TABLE IF NOT EXISTS lepton_nb_schema (part TEXT PRIMARY KEY, version INTEGER NOT NULL)"
            )
            database.execute("INSERT OR IGNORE INTO lepton_nb_schema VALUES ('runs', ?)", (SCHEMA_VERSION,))
            database.execute("COMMIT")
        elif version[0] > SCHEMA_VERSION:
            raise ReportError(
                f"the ledger {self.path} was written by a newer lepton_nb; update this one, or name another file with "
                f"--ledger or {VARIABLE}",
                path=str(self.path),
                version=version[0],
            )

    def _kept(self, folder: Path) -> str:
        folder = folder.absolute()
        return folder.relative_to(self.folder).as_posix() if folder.is_relative_to(self.folder) else str(folder)

    def _run(self, row: tuple[Any, ...]) -> Run:
        id_, notebook, parameters, folder, status, started, ended, metrics, parent, slot, definition, *process = row
        if status == "running" and not _lives(*process):
            status = "lost"
        return Run(
            id=id_,
            notebook=notebook,
            parameters=json.loads(parameters),
            folder=self.folder / folder,
            status=status,
            started=datetime.fromisoformat(started),
            ended=None if ended is None else datetime.fromisoformat(ended),
            metrics=json.loads(metrics),
            parent=parent,
            slot=slot,
            definition=definition,
        )


def find(output: Path, default_folder: Path, given: str | os.PathLike[str] | None = None) -> Path | None:
    """The file of the ledger that a report in the folder `output` belongs into, None where it belongs into none.

    It is the `given` one, that of the variable LEPTON_NB_LEDGER ("" for none), that beside the report or in
    `default_folder` if there is one, and else one in `default_folder` for a report that lies there.
    """
    if given is not None:
        return Path(given).expanduser().absolute()
    named = os.environ.get(VARIABLE)
    if named is not None:
        return Path(named).expanduser().absolute() if named else None
    beside, usual = output.parent / LEDGER_NAME, default_folder.absolute() / LEDGER_NAME
    if beside.exists():
        return beside
    return usual if usual.exists() or output.is_relative_to(usual.parent) else None


def usual(default_folder: Path, given: str | os.PathLike[str] | None = None) -> Path:
    """The ledger to look into: the `given` one, that of LEPTON_NB_LEDGER, or that in `default_folder`."""
    chosen = given if given is not None else os.environ.get(VARIABLE) or default_folder / LEDGER_NAME
    return Path(chosen).expanduser().absolute()


def _lives(host: str, pid: int, pid_started: float) -> bool:
    if host != socket.gethostname():
        return True  # who knows
    try:
        process = psutil.Process(pid)
        same = abs(process.create_time() - pid_started) <= START_TOLERANCE_S
        return same and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
    except psutil.Error:
        return True


def _named(notebook: str, wanted: str) -> bool:
    path, end = f"/{notebook}", f"/{Path(wanted).as_posix().lstrip('/')}"
    return path.endswith(end) or path.removesuffix(".ipynb").endswith(end) or end.endswith(path)


def _told(error: Exception, path: Path) -> str:
    elsewhere = f"or name another file with --ledger or {VARIABLE}"
    if isinstance(error, sqlite3.OperationalError | OSError):
        reason = error.strerror if isinstance(error, OSError) else str(error)
        return f"cannot use the ledger {path}: {reason}; make it a file that you may write, {elsewhere}"
    return f"the ledger {path} is damaged, or no ledger ({error}); move it away, {elsewhere}"


def _json(values: Mapping[str, Any]) -> str:
    return json.dumps(dict(values), allow_nan=False, ensure_ascii=False)


def _now() -> str:
    return datetime.now(UTC).isoformat()
