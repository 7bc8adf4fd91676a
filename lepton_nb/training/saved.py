"""A trained model as a folder, and back.

The folder is portable. Nothing in it is executed when it is read: model.json says what the model, the preparation and
the versions were, weights.pt (PyTorch) or weights.npz (Keras) holds numbers alone, and the history lies beside them as
JSON lines.
"""

from __future__ import annotations

import importlib.metadata
import json
import os
import shutil
import tempfile
from pathlib import Path
from typing import Any

from lepton_nb.data.transform_values import transform_of, values_of
from lepton_nb.errors import TrainingError
from lepton_nb.training import models
from lepton_nb.training.history import History
from lepton_nb.training.rows import Reader
from lepton_nb.training.spec import Task
from lepton_nb.training.trained import Trained

FORMAT = 1
MODEL, EPOCHS, STEPS = "model.json", "epochs.jsonl", "steps.jsonl"
WEIGHTS = {"torch": "weights.pt", "keras": "weights.npz"}
_VERSIONS = ("lepton-nb", "numpy", "polars")
_VERSIONS_OF = {"torch": ("torch",), "keras": ("keras", "tensorflow")}


def save(trained: Trained, path: str | os.PathLike[str], *, overwrite: bool = False) -> Path:
    """Write the model into the folder `path`, whole or not at all, and return it.

    Raises TrainingError where there is something already, unless `overwrite` says to put this in its place, and
    where it cannot be written.
    """
    folder = Path(path).absolute()
    if folder.exists() and not (overwrite and (folder / MODEL).exists()):
        raise TrainingError(
            f"{folder} exists; choose another folder"
            + (", or say overwrite=True" if (folder / MODEL).exists() else ", this is no saved model"),
            path=str(folder),
        )
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        made = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
        try:
            _write(trained, made)
            if folder.exists():
                old = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent)) / "old"
                os.replace(folder, old)
                os.replace(made, folder)
                shutil.rmtree(old.parent)
            else:
                os.replace(made, folder)
        finally:
            shutil.rmtree(made, ignore_errors=True)
    except OSError as error:
        raise TrainingError(f"the model cannot be saved in {folder}: {error.strerror}", path=str(folder)) from error
    return folder


def _write(trained: Trained, folder: Path) -> None:
    (folder / WEIGHTS[trained.framework]).write_bytes(trained.weights)
    for name, table in ((EPOCHS, trained.history), (STEPS, trained.steps)):
        table.write_ndjson(folder / name)
    (folder / MODEL).write_text(json.dumps(told(trained), indent=2, allow_nan=False) + "\n")
    # What mkdtemp makes is for its owner alone; a saved model is as open as other files.
    mask = os.umask(0)
    os.umask(mask)
    folder.chmod(0o777 & ~mask)


def told(trained: Trained) -> dict[str, Any]:
    """What model.json says."""
    reader = trained.reader
    return {
        "format": FORMAT,
        "framework": trained.framework,
        "model": models.told(trained.described),
        "task": trained.task,
        "features": list(reader.names),
        "target": reader.target_name,
        "precision": reader.dtype,
        "row_shape": None if reader.shape is None else list(reader.shape),
        "divisor": reader.divisor,
        "seed": trained.seed,
        "preparation": None if reader.transform is None else values_of(reader.transform),
        "training": trained.facts,
        "versions": {name: importlib.metadata.version(name) for name in _VERSIONS + _VERSIONS_OF[trained.framework]},
    }


def load(path: str | os.PathLike[str], model: models.Model | None = None) -> Trained:
    """The model that `run.save(path)` wrote: predict, evaluate, history, steps, model.

    model: what was trained, where that was a module or a function: code is not saved. A description such as
        `lnb.models.mlp()` is, and nothing need be given.
    Raises TrainingError for a folder that holds no saved model, or a damaged one, or a model that does not fit it.
    """
    folder = Path(path)
    try:
        said = json.loads((folder / MODEL).read_text())
        framework = said.get("framework", "torch") if isinstance(said, dict) else "torch"
        if framework not in WEIGHTS:
            raise ValueError(f"the framework {framework!r} is not known")
        weights = (folder / WEIGHTS[framework]).read_bytes()
        history = History()
        for row in _lines(folder / EPOCHS):
            history.add_epoch(row)
        history.add_steps(_lines(folder / STEPS))
    except OSError as error:
        raise TrainingError(
            f"{folder} holds no saved model: {error.filename} cannot be read ({error.strerror}); "
            "give the folder that run.save() wrote",
            path=str(folder),
        ) from error
    except ValueError as error:
        raise TrainingError(f"the saved model in {folder} is damaged: {error}", path=str(folder)) from error
    if not isinstance(said, dict) or said.get("format") != FORMAT:
        raise TrainingError(
            f"{folder / MODEL} has a form that this version of lepton_nb does not know; use the version that wrote it",
            path=str(folder),
        )
    try:
        if model is None:
            model = models.described(said["model"])
        transform = None if said["preparation"] is None else transform_of(said["preparation"])
        shape = said.get("row_shape")
        reader = Reader(
            tuple(said["features"]),
            said["target"],
            said["precision"],
            transform,
            None if shape is None else tuple(shape),
            said.get("divisor", 1.0),
        )
        task: Task = said["task"]
        found = Trained(
            model,
            reader,
            task,
            weights,
            said["seed"],
            history.epochs(task),
            history.steps(),
            said["training"],
            framework,
        )
    except (KeyError, TypeError) as error:
        raise TrainingError(f"the saved model in {folder} is damaged: {error!r}", path=str(folder)) from error
    _ = found.model  # fails now rather than with the first prediction
    return found


def _lines(file: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in file.read_text().splitlines()]
