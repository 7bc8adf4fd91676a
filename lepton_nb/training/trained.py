"""A trained model with all that belongs to it: how rows are read, the task, the history; see `saved` too."""

from __future__ import annotations

import importlib
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import polars as pl

from lepton_nb.data.frames import is_dask
from lepton_nb.errors import TrainingError
from lepton_nb.training import metrics, models, tokens
from lepton_nb.training.batches import TargetFacts
from lepton_nb.training.evaluation import Evaluation, labelled
from lepton_nb.training.known_rows import MOST_ASKED, KnownRows
from lepton_nb.training.rows import Reader, Rows
from lepton_nb.training.spec import Task
from lepton_nb.training.tasks import check_target

if TYPE_CHECKING:
    import torch

    from lepton_nb.cluster.session import Cluster
    from lepton_nb.data.frames import Frame
    from lepton_nb.data.transform import Prepared

PREDICTION_BATCH = 16_384


@dataclass(eq=False)
class Trained:
    """A trained model; `lnb.load` gives one, and a finished run has one.

    history, steps: as those of the run. facts: what is told of the training in the saved folder. known: the rows that
    it has learnt from, None where they are not known, as of a loaded one.
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
    known: KnownRows | None = None
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

    def predict_labels(self, data: Any, *, threshold: float = 0.5) -> pl.Series:
        """The predicted class of each row of `data`, by name where classes have names, else by number.

        threshold: of two classes, the probability from which on a row is taken for the second. Of a target of several
        steps, lists. Raises TrainingError for a regression.
        """
        if self.task == "regression":
            raise TrainingError("a regression predicts numbers, which have no labels; use predict")
        answers = self.predict(data)
        numbers = answers.argmax(axis=-1) if self.task == "multiclass" else (answers >= threshold).astype(np.int64)
        return labelled(numbers, self.reader.classes).alias("predicted")

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
        share = None if self.known is None else self.known.share(rows.features, rows.target)
        return Evaluation(self.task, found, rows.target, answers, source, share, self.reader.classes)

    def learnt_share(self, data: Any) -> float | None:
        """The share, from 0 to 1, of the rows of `data` that the model has learnt from, by some of them.

        None where that is not known, as of a loaded model. Raises TrainingError or DataError for rows that do not fit.
        """
        if self.known is None:
            return None
        data, _ = self.reader.with_source(_some(data))
        rows = self.reader.read(data, need_target=True, what="the data")
        assert rows.target is not None
        return self.known.share(rows.features, rows.target)

    def save(self, path: str | os.PathLike[str], *, overwrite: bool = False) -> Path:
        """Write the model into the folder `path`, whole or not at all, and return it; see `saved.save`."""
        from lepton_nb.training.saved import save

        return save(self, path, overwrite=overwrite)

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


def _some(data: Any) -> Any:
    """Rows from everywhere in a long table; other data as it is."""
    if isinstance(data, pl.DataFrame) and data.height > MOST_ASKED:
        return data.gather_every(-(-data.height // MOST_ASKED))
    return data
