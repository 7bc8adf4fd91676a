"""The history of a run as JSON lines, one object a line, each with its `kind`.

begin: name, options, resumed, at_s (seconds since the epoch). A begin that is not resumed starts another run.
step, epoch: a row of `run.steps` or `run.history`. A row that comes again with more figures takes the place of the
one before.
rewind: step. The run went on from an older state with other options: rows from this step on, so far, do not count.
end: status, at_s, and what else there is to say.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from lepton_nb.errors import TrainingError
from lepton_nb.training.tracking.files import GrowingFile
from lepton_nb.training.tracking.scalars import Kind, scalars
from lepton_nb.training.tracking.written import Written

KINDS = ("begin", "step", "epoch", "rewind", "end")


class JsonLines:
    """Adds to the file `path`, a message at a time, in whole lines; `tail -f` shows the run as it goes.

    Numbers that JSON cannot say (nan, inf) are null. Raises TrainingError for a path that cannot be written to or a
    file that holds something else.
    """

    def __init__(self, path: Path, clock: Callable[[], float] = time.time) -> None:
        self.where = f"JSON lines in {path}"
        self._file = GrowingFile(path)
        self._clock = clock
        self._written = Written()
        try:
            _check(path)
            self._file.path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("ab"):
                pass
        except OSError as error:
            raise TrainingError(
                f"track={str(path)!r} cannot be written to: {error.strerror}; choose another place", path=str(path)
            ) from error

    def begin(self, facts: Mapping[str, Any]) -> None:
        """Go on with what the file holds if facts["resumed"]; otherwise what it holds is of other runs."""
        try:
            _end_last_line(self._file.path)
            if facts.get("resumed"):
                self._written = Written(_figures(read(self._file.path)))
        finally:
            self._add([{"kind": "begin", "at_s": self._clock(), **facts}])

    def steps(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """One line a row."""
        self._add([line for row in rows for line in self._lines("step", row)])

    def epoch(self, row: Mapping[str, Any]) -> None:
        """One line."""
        self._add(self._lines("epoch", row))

    def end(self, status: str, facts: Mapping[str, Any]) -> None:
        """One line."""
        self._add([{"kind": "end", "at_s": self._clock(), "status": status, **facts}])

    def _lines(self, kind: Kind, row: Mapping[str, Any]) -> list[dict[str, Any]]:
        lines: list[dict[str, Any]] = []
        for news in self._written.take(kind, row):
            lines += [{"kind": "rewind", "step": news.step}] if news.again else []
            lines.append({"kind": news.kind, **news.row})
        return lines

    def _add(self, lines: Sequence[Mapping[str, Any]]) -> None:
        text = "".join(json.dumps(_plain(line), allow_nan=False) + "\n" for line in lines)
        self._file.add(text.encode())


def read(path: Path) -> list[dict[str, Any]]:
    """The lines of the last run in the file that count, in order. A last line that is not whole is left out.

    Raises TrainingError for a line that is not one of a history.
    """
    found: dict[tuple[Any, ...], dict[str, Any]] = {}
    with path.open("rb") as file:
        for number, text in enumerate(file, 1):
            if not text.endswith(b"\n"):
                break
            line = _parsed(text, path, number)
            kind = line["kind"]
            if kind == "begin" and not line.get("resumed"):
                found.clear()
            if kind == "rewind":
                found = {key: old for key, old in found.items() if old.get("step", -1) < line["step"]}
            elif kind in ("step", "epoch"):
                found[kind, line[kind]] = line
            else:
                found[kind, number] = line
    return list(found.values())


def _figures(lines: Sequence[Mapping[str, Any]]) -> dict[int, dict[str, float]]:
    figures: dict[int, dict[str, float]] = {}
    for line in lines:
        if line["kind"] in ("step", "epoch"):
            row = {name: value for name, value in line.items() if name != "kind"}
            figures.setdefault(line["step"], {}).update(scalars(line["kind"], row))
    return figures


def _parsed(text: bytes, path: Path, number: int) -> dict[str, Any]:
    try:
        line = json.loads(text)
    except ValueError:
        line = None
    if not isinstance(line, dict) or line.get("kind") not in KINDS:
        raise TrainingError(
            f"{path} is not the history of a run: line {number} is {text[:60]!r}; track= needs a file of its own",
            path=str(path),
        )
    return line


def _check(path: Path) -> None:
    """Refuse to add to a file that is somebody else's."""
    if path.is_dir():
        raise TrainingError(
            f"track={{'jsonl': {str(path)!r}}} is a folder; give a file, such as {str(path / 'history.jsonl')!r}, or "
            f"track={str(path)!r} alone",
            path=str(path),
        )
    if path.is_file():
        with path.open("rb") as file:
            first = file.readline()
        if first.endswith(b"\n"):
            _parsed(first, path, 1)


def _end_last_line(path: Path) -> None:
    """Cut off a last line that a machine that went down left unfinished."""
    if not path.is_file():
        return
    with path.open("r+b") as file:
        content = file.read()
        if content and not content.endswith(b"\n"):
            file.truncate(content.rfind(b"\n") + 1)


def _plain(value: Any) -> Any:
    """What JSON can say: numbers that are not finite become null, other things their text."""
    if isinstance(value, Mapping):
        return {str(name): _plain(part) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(part) for part in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value if value is None or isinstance(value, str | int) else str(value)
