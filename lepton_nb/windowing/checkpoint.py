"""The folder in which a stream remembers where it stands, so that it can be killed at any moment and go on.

    stream.json           which query made it
    schemas               types of the input
    intent.json           the batch that is under way: from which position to which
    commit.json           the last batch that is done: position, watermarks, state files
    state/BATCH-SHARD-OF  open windows after a batch
    late, dead, aside     rows that were set aside, a Parquet file a batch
    results/              the results, where no other sink is given

A batch is first intended, then computed, then stored by the sink, then committed. A crash before the commit repeats
the intended batch with the same rows from the state before it; the sink replaces what it has of it.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import polars as pl

from lepton_nb.errors import WindowError
from lepton_nb.files import move, write_whole
from lepton_nb.windowing import blobs

FORMAT = 1
SIDES = ("late", "dead", "aside")


@dataclass(frozen=True)
class Commit:
    """Where a stream stands after a batch.

    latest: the latest tick seen of every channel. watermark: ticks, None before the first. rows: how many were read.
    set_aside: how many rows are late, dead letters, or without a time or key. over: the source has ended.
    """

    batch: int = 0
    position: Any = None
    latest: Mapping[str, int] = field(default_factory=dict)
    watermark: int | None = None
    shards: int = 0
    rows: int = 0
    emitted: int = 0
    set_aside: Mapping[str, int] = field(default_factory=dict)
    over: bool = False


@dataclass(frozen=True)
class Intent:
    """What a batch is going to do; all that the clock or the outside had a say in."""

    batch: int
    before: Any
    after: Any
    over: bool
    channels: tuple[str, ...]
    finished: tuple[str, ...]
    idle: tuple[str, ...]


class Checkpoint:
    """The folder of one stream; held by one process at a time.

    durable: make sure that files are on the disk before going on; not needed for a folder that ends with the process.
    """

    def __init__(self, path: Path, fingerprint: str, *, durable: bool) -> None:
        self.path = path
        self.durable = durable
        self._lock: int | None = None
        try:
            path.mkdir(parents=True, exist_ok=True)
            self._hold()
            self._claim(fingerprint)
            for name in ("state", *SIDES):
                (path / name).mkdir(exist_ok=True)
        except OSError as error:
            self.close()
            raise WindowError(
                f"the checkpoint folder {path} cannot be used: {_reason(error)}", path=str(path)
            ) from error
        except BaseException:
            self.close()
            raise

    def _hold(self) -> None:
        self._lock = os.open(self.path / ".lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        deadline = time.monotonic() + 5.0
        while True:
            try:
                fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return
            except OSError as error:
                # A killed process lets go a moment after it was seen to be gone.
                if time.monotonic() > deadline:
                    raise WindowError(
                        f"another stream is running with the checkpoint {self.path}; stop it first, "
                        "or give another folder",
                        path=str(self.path),
                    ) from error
                time.sleep(0.05)

    def _claim(self, fingerprint: str) -> None:
        file = self.path / "stream.json"
        if not file.exists():
            foreign = sorted(p.name for p in self.path.iterdir() if p.name not in (".lock", ".stream.json"))
            if foreign:
                raise WindowError(
                    f"the folder {self.path} holds other files ({', '.join(foreign[:3])}); "
                    "give a new or an empty folder as checkpoint",
                    path=str(self.path),
                )
            self._write_json("stream.json", {"format": FORMAT, "query": fingerprint})
            return
        known = self._read_json("stream.json")
        if known.get("format") != FORMAT:
            raise WindowError(
                f"the checkpoint {self.path} was written by another version; start anew in another folder"
            )
        blobs.check_query(known.get("query"), fingerprint)

    def commit(self) -> Commit:
        """The last batch that is done."""
        found = self._read_json("commit.json")
        return Commit(**found) if found else Commit()

    def intent(self) -> Intent | None:
        """The batch that was under way when the stream last ended, if one was."""
        found = self._read_json("intent.json")
        if not found or found["batch"] != self.commit().batch + 1:
            return None
        names = ("channels", "finished", "idle")
        return Intent(**{**found, **{name: tuple(found[name]) for name in names}})

    def intend(self, intent: Intent) -> None:
        """Write down what the next batch will do."""
        self._write_json("intent.json", asdict(intent))

    def complete(self, commit: Commit) -> None:
        """The batch is done; the state before it is not needed any more."""
        self._write_json("commit.json", asdict(commit))
        for file in (self.path / "state").iterdir():
            if not (file.name.startswith(f"{commit.batch:012d}-") and file.name.endswith(f"-{commit.shards:04d}")):
                file.unlink(missing_ok=True)

    def schemas(self) -> list[pl.Schema] | None:
        """Types of the input of each side, once known."""
        file = self.path / "schemas"
        return [table.schema for table in blobs.unpacked(file.read_bytes())[1].values()] if file.exists() else None

    def keep_schemas(self, schemas: Sequence[pl.Schema]) -> None:
        """Remember the types of the input."""
        tables = {str(number): pl.DataFrame(schema=schema) for number, schema in enumerate(schemas)}
        replace_file(self.path / "schemas", blobs.packed({}, tables), durable=self.durable)

    def set_aside(self, kind: str, batch: int, table: pl.DataFrame) -> None:
        """Keep rows of a batch beside the results; a batch that is repeated replaces its file."""
        file = self.path / kind / f"{batch:012d}.parquet"
        if not table.height:
            file.unlink(missing_ok=True)
            return
        unfinished = file.with_name(f".{file.name}")
        with _explained(self.path):
            table.write_parquet(unfinished)
            move(unfinished, file, durable=self.durable)

    def side(self, kind: str) -> pl.DataFrame | None:
        """All rows of one kind that were set aside, in the order of batches; None where there are none."""
        files = sorted((self.path / kind).glob("[0-9]*.parquet"))
        return pl.concat([pl.read_parquet(file) for file in files], how="diagonal_relaxed") if files else None

    def close(self) -> None:
        """Let another process hold the folder. Safe to call twice."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def _read_json(self, name: str) -> dict[str, Any]:
        try:
            found: dict[str, Any] = json.loads((self.path / name).read_bytes())
        except FileNotFoundError:
            return {}
        except ValueError as error:
            raise WindowError(
                f"{self.path / name} is damaged; start anew in another folder, the results so far stay where they are"
            ) from error
        return found

    def _write_json(self, name: str, value: Mapping[str, Any]) -> None:
        replace_file(self.path / name, json.dumps(value).encode(), durable=self.durable)


def state_file(folder: Path, batch: int, shard: int, shards: int) -> Path:
    """Where the open windows of one of `shards` shards after a batch are."""
    return folder / "state" / f"{batch:012d}-{shard:04d}-{shards:04d}"


def replace_file(file: Path, content: bytes, *, durable: bool, writer: str = "") -> None:
    """Write a file whole or not at all; `writer` tells apart those who may write it at the same time.

    Raises WindowError where the disk is full.
    """
    with _explained(file.parent):
        write_whole(file, [content], durable=durable, unfinished=file.with_name(f".{file.name}{writer}"))


@contextlib.contextmanager
def _explained(folder: Path) -> Iterator[None]:
    try:
        yield
    except (OSError, pl.exceptions.PolarsError) as error:
        raise WindowError(
            f"the stream cannot write to {folder}: {_reason(error)}; "
            "make room and start it again, it goes on where it was",
            path=str(folder),
        ) from error


def _reason(error: Exception) -> str:
    full = getattr(error, "errno", None) in (errno.ENOSPC, errno.EDQUOT) or "No space left" in str(error)
    return "the disk is full" if full else str(error)
