"""The folder of a sweep: what it is, Optuna's journal of its trials, the best model. No code is read from it."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from lepton_nb.errors import TrainingError
from lepton_nb.files import write_whole
from lepton_nb.training.sweep_space import matching

FORMAT = 1
FACTS, JOURNAL, LOCK, MODELS = "sweep.json", "journal.log", "sweep.lock", "models"


def prepare_folder(path: str | os.PathLike[str], facts: Mapping[str, Any], *, resume: bool) -> Path:
    """The folder of a sweep with `facts`, made, or found to hold just such a sweep where `resume`.

    Raises TrainingError where there is none to go on with, another one, or one that differs, and says in what.
    """
    folder = Path(path).absolute()
    told = {"format": FORMAT, **json.loads(json.dumps(facts, default=repr))}
    if not resume:
        if (folder / FACTS).exists():
            raise TrainingError(
                f"{folder} holds another sweep; go on with that one (resume={str(path)!r}), or choose another folder",
                path=str(folder),
            )
        try:
            folder.mkdir(parents=True, exist_ok=True)
            write_whole(folder / FACTS, [json.dumps(told, indent=2).encode(), b"\n"])
        except OSError as error:
            raise TrainingError(f"{folder} cannot be written: {error.strerror}; choose another folder") from error
        return folder
    try:
        found = json.loads((folder / FACTS).read_text())
    except OSError as error:
        raise TrainingError(
            f"{folder} holds no sweep to go on with: {FACTS} cannot be read ({error.strerror}); "
            "start one with path=... instead of resume=...",
            path=str(folder),
        ) from error
    except ValueError as error:
        raise TrainingError(f"the sweep in {folder} is damaged: {error}", path=str(folder)) from error
    if not isinstance(found, dict) or found.get("format") != FORMAT:
        raise TrainingError(f"{folder / FACTS} has a form that this version of lepton_nb does not know")
    _require_same(found, told, folder)
    return folder


def _require_same(found: dict[str, Any], told: dict[str, Any], folder: Path) -> None:
    same_names = found["space"].keys() == told["space"].keys()
    differing = [name for name in told if not matching(found.get(name), told[name])]
    if not same_names and "space" not in differing:
        differing.append("space")
    if differing:
        listed = "; ".join(f"{name} was {found.get(name)!r} and is {told[name]!r}" for name in differing)
        raise TrainingError(
            f"the sweep in {folder} was another one: {listed}; give what it had, or start anew with path=...",
            path=str(folder),
            differing=tuple(differing),
        )


@contextlib.contextmanager
def alone_in(folder: Path) -> Iterator[None]:
    """Hold the folder, and mend a journal whose last line was cut off. Raises TrainingError if another has it."""
    with (folder / LOCK).open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise TrainingError(
                f"another sweep runs in {folder}; wait for it or stop it, then resume={str(folder)!r}",
                path=str(folder),
            ) from error
        journal = folder / JOURNAL
        # Optuna's own lock, which a process that was killed while it wrote leaves behind.
        (folder / f"{JOURNAL}.lock").unlink(missing_ok=True)
        if journal.exists():
            whole = journal.read_bytes()
            if whole and not whole.endswith(b"\n"):
                os.truncate(journal, whole.rfind(b"\n") + 1)
        yield
