"""What a sweep is told to do: a frozen, validated value."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Literal, get_args

from lepton_nb.errors import TrainingError
from lepton_nb.training.history import EPOCH_SCHEMA
from lepton_nb.training.spec import SEEDS, TrainingSpec
from lepton_nb.training.sweep_study import Direction, Prune

_LOWER = ("loss", "mae", "mse", "error", "elapsed")
_HIGHER = ("accuracy", "auc", "f1", "r2", "precision", "recall", "rows_per_s")


@dataclass(frozen=True, slots=True, kw_only=True)
class SweepSpec:
    """The options of `lnb.sweep` that are not those of `lnb.train`.

    trials: how many trainings, failed ones included; of a resumed sweep: with those that it has.
    metric: a column of `run.history`, or "validation_<name>" of a further metric of `lnb.train`, such as
        "validation_auc"; a trial's value is its figure for the epoch whose weights the model has.
    direction: "minimize", "maximize", or "auto": down for losses and errors, up for accuracy and the like.
    prune: ends a trial after an epoch in which it is poor: "median" one whose best figure so far is worse than the
        median of the complete trials at that epoch, "hyperband" by successive halving; None: no trial.
    startup: so many complete or pruned trials are drawn at random before the search learns from them (TPE), and so
        many are complete before "median" ends one.
    seed: of the draws, and of each training.
    at_once: how many trials train at the same time, each on workers of its own; "auto": as many as the cluster has
        room for. Other trainings on the cluster wait until the sweep is over. What is drawn then depends on which
        trials ended before it, so that the same seed may draw other values.
    path: a new folder for the sweep, from which it can go on, and for the best model.
    resume: the folder of a sweep to go on with.
    """

    trials: int = 20
    metric: str = "validation_loss"
    direction: Direction | str = "auto"
    prune: Prune | None = "median"
    startup: int = 5
    seed: int = 0
    at_once: int | Literal["auto"] = 1
    path: str | os.PathLike[str] | None = None
    resume: str | os.PathLike[str] | None = None

    def __post_init__(self) -> None:
        for name in ("trials", "startup", "at_once"):
            value = getattr(self, name)
            if name == "at_once" and value == "auto":
                continue
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                raise TrainingError(f"{name} is {value!r}; give a whole number of 1 or more", name=name, value=value)
        if isinstance(self.seed, bool) or not isinstance(self.seed, int) or not 0 <= self.seed < SEEDS:
            raise TrainingError(f"seed is {self.seed!r}; give an integer from 0 to {SEEDS - 1:,}", seed=self.seed)
        if self.prune is not None and self.prune not in get_args(Prune):
            raise TrainingError.unknown("prune", str(self.prune), [*get_args(Prune), "None"])
        if self.direction not in ("auto", *get_args(Direction)):
            raise TrainingError.unknown("direction", str(self.direction), ["auto", *get_args(Direction)])
        if self.path is not None and self.resume is not None:
            raise TrainingError("path is for a new sweep and resume for one that goes on; give one of them")
        for name in ("path", "resume"):
            value = getattr(self, name)
            if value is not None and (not isinstance(value, str | os.PathLike) or not os.fspath(value)):
                raise TrainingError(f"{name} is {value!r}; give the path of a folder", name=name)

    def require_metric(self, spec: TrainingSpec) -> None:
        """Raise TrainingError if a training with the options `spec` does not measure the metric."""
        known = [name for name, dtype in EPOCH_SCHEMA.items() if dtype.is_float()]
        known += [f"validation_{name}" for name in spec.metrics]
        if self.metric not in known:
            raise TrainingError.unknown("metric", str(self.metric), known)
        if spec.validation is None and self.metric.startswith("validation_"):
            raise TrainingError(f"{self.metric} is measured on rows of its own; give them: validation=...")

    @property
    def wanted(self) -> Direction:
        """The direction, "auto" resolved. Raises TrainingError where the metric's name does not tell."""
        if self.direction != "auto":
            return "minimize" if self.direction == "minimize" else "maximize"
        if any(word in self.metric for word in _LOWER):
            return "minimize"
        if any(word in self.metric for word in _HIGHER):
            return "maximize"
        raise TrainingError(f"is more or less {self.metric} better? give direction='maximize' or 'minimize'")
