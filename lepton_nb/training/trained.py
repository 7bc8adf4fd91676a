"""A trained model with all that belongs to it: how rows are read, the task, the history. It can be saved and loaded.

The folder of a saved model is portable. Nothing in it is executed when it is read: model.json says what the model, the
preparation and the versions were, weights.pt (PyTorch) or weights.npz (Keras) holds numbers alone, and the history lies
beside them as JSON lines.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import json
import os
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import polars as pl

from lepton_nb.data.frames import is_dask
from lepton_nb.data.transform_values import transform_of, values_of
from lepton_nb.errors import TrainingError
from lepton_nb.training import metrics, models, tokens
from lepton_nb.training.batches import TargetFacts
from lepton_nb.training.evaluation import Evaluation
from lepton_nb.training.history import History
from lepton_nb.training.rows import Reader, Rows
from lepton_nb.training.spec import Task
from lepton_nb.training.tasks import check_target

if TYPE_CHECKING:
    import torch

    from lepton_nb.cluster.session import Cluster
    from lepton_nb.data.frames import Frame
    from lepton_nb.data.transform import Prepared

PREDICTION_BATCH = 16_384
FORMAT = 1
MODEL, EPOCHS, STEPS = "model.json", "epochs.jsonl", "steps.jsonl"
WEIGHTS = {"torch": "weights.pt", "keras": "weights.npz"}
_VERSIONS = ("lepton-nb", "numpy", "polars")
_VERSIONS_OF = {"torch": ("torch",), "keras": ("keras", "tensorflow")}


@dataclass(eq=False)
class Trained:
    """A trained model; `lnb.load` gives one, and a finished run has one.

    history, steps: as those of the run. facts: what is told of the training in the saved folder.
    """

    described: models.Model
    reader: Reader
    task: Task
    weights: bytes
    seed: int
    history: pl.DataFrame
    steps: pl.DataFrame
    facts: dict[str, Any]
    framework: str = "torch"
    _model: Any = None

    def __repr__(self) -> str:
        reader = self.reader
        rows = f"{len(reader.names)} features" if reader.names else f"rows of the shape {reader.row_shape}"
        about = repr(self.described) if isinstance(self.described, models.Description) else "a model of your own"
        return f"Trained({about}, {self.framework}, task={self.task!r}, {rows}, {self.history.height} epochs)"

    @property
    def model(self) -> torch.nn.Module | Any:
        """The torch.nn.Module (on the CPU) or keras.Model, ready to predict.

        Raises TrainingError if the weights are of another one.
        """
        if self._model is None:
            reader = self.reader
            self._model = self._frame().read(self.described, reader.row_shape, self.seed, reader.dtype, self.weights)
        return self._model

    def predict(
        self,
        data: Any,
        *,
        cluster: Cluster | None = None,
        to: str | os.PathLike[str] | None = None,
        keep: Sequence[str] = (),
        overwrite: bool = False,
    ) -> Any:
        """Predictions for the rows of `data`: what `lnb.prepare` returned, a frame with the same columns, or an array.

        An array: binary: the probability of 1 (rows,); multiclass: probabilities (rows, classes); regression: values
        (rows,); with a target of several steps also (rows, steps). For a Dask DataFrame a Dask DataFrame; with `to`,
        written there by the workers of `cluster` and scanned: see `partitions.predict_partitions`.
        """
        if to is not None or cluster is not None or is_dask(data):
            from lepton_nb.training.partitions import predict_partitions

            return predict_partitions(self, data, cluster, to=to, keep=keep, overwrite=overwrite)
        rows = self._read(data, need_target=False, what="the data")
        return metrics.predictions(self.task, self._outputs(rows))

    def export(self, path: str | os.PathLike[str], **options: Any) -> Path:
        """Write the model for other programs; see `export.export`: format, outputs, sample, overwrite."""
        from lepton_nb.training.export import export

        return export(self, path, **options)

    def evaluate(self, test: Prepared | Frame) -> dict[str, float]:
        """How well the model does on `test`: rows, loss, and accuracy and auc, or mae and r2; see metrics.evaluate.

        And the metrics that were asked for in training.
        """
        return self.evaluation(test).metrics

    def evaluation(self, test: Prepared | Frame) -> Evaluation:
        """What `evaluate` gives, with the targets and predictions that it was counted from."""
        test, source = self.reader.with_source(test)
        rows = self._read(test, need_target=True, what="the test data")
        assert rows.target is not None
        outputs = self._outputs(rows)
        width = outputs.shape[-1] if self.task == "multiclass" else 1
        check_target(self.task, TargetFacts.of(rows.target), width, "the test data's target")
        answers = metrics.predictions(self.task, outputs)
        found = metrics.evaluate(self.task, rows.target, outputs)
        flat = outputs.reshape(-1, width) if self.task == "multiclass" else outputs.reshape(-1)
        asked = [name for name in self.facts.get("options", {}).get("metrics", ()) if name not in found]
        found |= {name: metrics.further(name, self.task, rows.target.reshape(-1), flat) for name in asked}
        return Evaluation(self.task, found, rows.target, answers, source)

    def save(self, path: str | os.PathLike[str], *, overwrite: bool = False) -> Path:
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
                self._write(made)
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

    def _write(self, folder: Path) -> None:
        (folder / WEIGHTS[self.framework]).write_bytes(self.weights)
        for name, table in ((EPOCHS, self.history), (STEPS, self.steps)):
            table.write_ndjson(folder / name)
        (folder / MODEL).write_text(json.dumps(self._told(), indent=2, allow_nan=False) + "\n")
        # What mkdtemp makes is for its owner alone; a saved model is as open as other files.
        mask = os.umask(0)
        os.umask(mask)
        folder.chmod(0o777 & ~mask)

    def _told(self) -> dict[str, Any]:
        reader = self.reader
        return {
            "format": FORMAT,
            "framework": self.framework,
            "model": models.told(self.described),
            "task": self.task,
            "features": list(reader.names),
            "target": reader.target_name,
            "precision": reader.dtype,
            "row_shape": None if reader.shape is None else list(reader.shape),
            "divisor": reader.divisor,
            "seed": self.seed,
            "preparation": None if reader.transform is None else values_of(reader.transform),
            "training": self.facts,
            "versions": {name: importlib.metadata.version(name) for name in _VERSIONS + _VERSIONS_OF[self.framework]},
        }

    def _frame(self) -> ModuleType:
        """What the framework of the model can do."""
        return importlib.import_module(f"lepton_nb.training.{self.framework}_model")

    def _read(self, data: Any, *, need_target: bool, what: str) -> Rows:
        rows = self.reader.read(data, need_target=need_target, what=what)
        known = models.vocabulary_of(self.described)
        if known is not None:
            tokens.check_tokens(rows.features, known, what)
        return rows

    def _outputs(self, rows: Rows) -> npt.NDArray[np.float64]:
        """Raw outputs: (rows,), (rows, classes), (rows, steps) or (rows, steps, classes)."""
        model, ask = self.model, self._frame().outputs
        found = []
        for start in range(0, len(rows), PREDICTION_BATCH):
            part = self.reader.numbers(np.ascontiguousarray(rows.features[start : start + PREDICTION_BATCH]))
            # The last bits of a product of matrices depend on the number of rows, but not within whole sixty-fours: so
            # a row is predicted alike alone and among others.
            missing = -len(part) % 64
            whole = np.concatenate([part, np.repeat(part[-1:], missing, axis=0)]) if missing else part
            try:
                found.append(ask(model, whole)[: len(part)])
            except Exception as error:  # whatever the parts of the model raise
                raise tokens.told(error) or error from error
        outputs: npt.NDArray[np.float64] = np.concatenate(found)
        one = outputs.ndim > 1 and outputs.shape[-1] == 1 and self.task != "multiclass"
        return outputs[..., 0] if one else outputs


def load(path: str | os.PathLike[str], model: models.Model | None = None) -> Trained:
    """The model that `run.save(path)` wrote: predict, evaluate, history, steps, model.

    model: what was trained, where that was a module or a function: code is not saved. A description such as
        `lnb.models.mlp()` is, and nothing need be given.
    Raises TrainingError for a folder that holds no saved model, or a damaged one, or a model that does not fit it.
    """
    folder = Path(path)
    try:
        told = json.loads((folder / MODEL).read_text())
        framework = told.get("framework", "torch") if isinstance(told, dict) else "torch"
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
    if not isinstance(told, dict) or told.get("format") != FORMAT:
        raise TrainingError(
            f"{folder / MODEL} has a form that this version of lepton_nb does not know; use the version that wrote it",
            path=str(folder),
        )
    try:
        if model is None:
            model = models.described(told["model"])
        transform = None if told["preparation"] is None else transform_of(told["preparation"])
        shape = told.get("row_shape")
        reader = Reader(
            tuple(told["features"]),
            told["target"],
            told["precision"],
            transform,
            None if shape is None else tuple(shape),
            told.get("divisor", 1.0),
        )
        task: Task = told["task"]
        found = Trained(
            model,
            reader,
            task,
            weights,
            told["seed"],
            history.epochs(task),
            history.steps(),
            told["training"],
            framework,
        )
    except (KeyError, TypeError) as error:
        raise TrainingError(f"the saved model in {folder} is damaged: {error!r}", path=str(folder)) from error
    _ = found.model  # fails now rather than with the first prediction
    return found


def _lines(file: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in file.read_text().splitlines()]
