"""How a run starts, and starts again: its plan, the errors that it survives, and how many workers it takes."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cloudpickle
import numpy as np
import numpy.typing as npt

from lepton_nb.errors import TrainingError
from lepton_nb.training import checkpoint, models
from lepton_nb.training.conductor import Plan
from lepton_nb.training.feeds import Feed
from lepton_nb.training.pace import WORTH_SAYING, Pace, time_of, workers
from lepton_nb.training.placement import CHOOSE
from lepton_nb.training.spec import TrainingSpec

if TYPE_CHECKING:
    from lepton_nb.cluster.session import Cluster


class FewerWorkersWarning(UserWarning):
    """Fewer workers than a run was given would be faster."""


class Restarts:
    """Which errors a run survives by starting again, and how often."""

    def __init__(self, most: int) -> None:
        self._most = most
        # Why the run started again, once for each time.
        self.reasons: tuple[str, ...] = ()
        # The step after which the model's own code failed, if that is why the run last started again.
        self._failed_step: int | None = None

    def take(self, error: TrainingError, *, stopping: bool) -> None:
        """Note why the run starts again; raises the error where it may not."""
        if stopping or getattr(error, "cause", None) not in ("lost", "crash"):
            raise error
        # One that ended without a word of its own, by a signal or by itself, may do better the next time.
        killed = error.cause == "lost" or (error.exit_code or 0) < 0 or (error.exit_code and "step" not in error.facts)
        step = error.facts.get("step", 0)
        if not killed and step in (0, self._failed_step):
            raise error  # its code fails at the same place again
        self._failed_step = None if killed else step
        if len(self.reasons) == self._most:
            if self.reasons:
                error.add_note(f"The run was started again before, {len(self.reasons)} in all: {self.reasons}")
            raise error
        self.reasons = (*self.reasons, str(error).splitlines()[0])


class Team:
    """How many workers a run takes, as it was told or as it was measured, and what there is to say about that."""

    def __init__(self, spec: TrainingSpec) -> None:
        self._auto = spec.workers == "auto"
        self._pace: Pace | None = None
        self.note: str | None = None

    def begin(self, plan: Plan) -> Plan:
        """The plan, with the question for the right number where that is open."""
        if not self._auto:
            return plan
        if plan.most == 1:
            self.note = "workers='auto': 1 worker trains, as the cluster has no more"
            return plan
        return replace(plan, least=plan.most, arrays={**plan.arrays, CHOOSE: np.ones(1, np.uint8)})

    def take(self, told: Mapping[str, Any]) -> str | None:
        """Note what was measured; a warning where fewer workers than were given would be faster."""
        if self._pace is not None:
            return None
        self._pace = pace = Pace.of(told)
        best, given = pace.best, max(pace.pass_s)
        if self._auto:
            self.note = f"workers='auto': {_train(best)}, measured: {pace}"
        elif best < given and pace.gain(given) >= WORTH_SAYING:
            self.note = f"workers={best} would be {pace.gain(given):.1f} times as fast, measured: {pace}"
            return self.note
        return None

    def settle(self, plan: Plan) -> Plan:
        """The plan with the number that was measured, if it was."""
        if not self._auto or self._pace is None:
            return plan
        arrays = {name: array for name, array in plan.arrays.items() if name != CHOOSE}
        return replace(plan, least=1, most=self._pace.best, arrays=arrays)


def job_of(model: models.Model, spec: TrainingSpec, own: bool) -> bytes:
    """What the ranks are to do, as bytes; own: checkpoints are only for the run's restarts.

    Raises TrainingError for a model that cannot be sent to the workers.
    """
    try:
        job: bytes = cloudpickle.dumps({"model": model, "spec": spec, "own_checkpoints": own})
    except Exception as error:  # whatever the parts of the model raise
        raise TrainingError(
            f"the model cannot be sent to the workers: {error}; give a function that builds it there, "
            "and open files, locks and the like inside of it"
        ) from error
    return job


def first_plan(
    spec: TrainingSpec, job: bytes, feeds: Mapping[str, Feed], resumed: bytes | None, cluster: Cluster
) -> Plan:
    """What the ranks need."""
    path = json.dumps([entry for entry in sys.path if entry]).encode()
    arrays: dict[str, npt.NDArray[Any]] = {"job": np.frombuffer(job, np.uint8), "path": np.frombuffer(path, np.uint8)}
    for feed in feeds.values():
        arrays |= feed.arrays
    if resumed is not None:
        arrays["resume"] = np.frombuffer(resumed, np.uint8)
    return Plan(
        least=spec.least_workers,
        most=spec.most_workers or max(1, len(cluster.workers)),
        framework=spec.framework,
        device="cuda" if cluster.backend == "cuda" else "cpu",
        arrays=arrays,
        deliver=tuple(feed.deliver for feed in feeds.values() if feed.deliver is not None),
        start_timeout_s=spec.start_timeout_s,
    )


def from_checkpoint(plan: Plan, folder: Any) -> Plan:
    """The plan from the newest checkpoint in `folder` on; the same where there is none yet."""
    if folder is None or not checkpoint.steps(Path(folder)):
        return plan
    return replace(plan, arrays={**plan.arrays, "resume": np.frombuffer(checkpoint.newest(folder), np.uint8)})


def compiled_note(told: Mapping[str, Any]) -> str:
    """What came of compiling, as `early.try_compiled` tells it."""
    took = f"{told['took_s']:.0f} s"
    if told["compiled_pass_s"] is None:
        return f"steps are not compiled: {told['reason']}; trying took {took}, which compile=False spares"
    pass_s, compiled_s = time_of(told["pass_s"]), time_of(told["compiled_pass_s"])
    if told["kept"]:
        return f"steps are compiled: a pass takes {compiled_s} instead of {pass_s}; compiling took {took}"
    return (
        f"steps are not compiled: a pass would take {compiled_s} instead of {pass_s}; trying took {took}, which "
        "compile=False spares"
    )


def _train(count: int) -> str:
    return f"{workers(count)} {'train' if count > 1 else 'trains'}"
