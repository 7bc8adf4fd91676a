"""The trials of a sweep, kept by Optuna: in memory, or in a folder from which another process goes on."""

from __future__ import annotations

import contextlib
import zlib
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import polars as pl

from lepton_nb.errors import TrainingError
from lepton_nb.training.sweep_space import Choices, Range, Space

if TYPE_CHECKING:
    from optuna import Study, Trial
    from optuna.distributions import BaseDistribution
    from optuna.pruners import BasePruner
    from optuna.trial import FrozenTrial

Direction = Literal["minimize", "maximize"]
Prune = Literal["median", "hyperband"]

NAME = "sweep"


def require_optuna() -> None:
    """Raise TrainingError where Optuna is not installed."""
    try:
        import optuna  # noqa: F401
    except ImportError as error:
        raise TrainingError('a sweep needs Optuna; install it: pip install "lepton-nb[sweep]"') from error


@dataclass(frozen=True, slots=True)
class Rules:
    """How a sweep draws and judges: the same rules, seed and results so far give the same next draw.

    prune: "median", "hyperband" or None. epochs: the most that a trial trains, or None if that is not known.
    """

    space: Space
    direction: Direction
    prune: Prune | None
    startup: int
    seed: int
    epochs: int | None


class Trials:
    """Draws the trials of a sweep one by one and notes how they went. One thread writes, any may read."""

    def __init__(self, rules: Rules, journal: Path | None = None) -> None:
        import optuna
        from optuna.storages import InMemoryStorage, JournalStorage
        from optuna.storages.journal import JournalFileBackend

        self._rules = rules
        self._distributions = {name: _distribution(entry) for name, entry in rules.space.items()}
        with _quiet():
            # A journal is lines of JSON: nothing in it is executed when it is read.
            self._storage = InMemoryStorage() if journal is None else JournalStorage(JournalFileBackend(str(journal)))
            self._study = optuna.create_study(
                storage=self._storage,
                study_name=NAME,
                direction=rules.direction,
                load_if_exists=True,
                sampler=optuna.samplers.RandomSampler(seed=0),
                pruner=optuna.pruners.NopPruner(),
            )

    def left(self, total: int) -> bool:
        """Whether there is a trial to train: one that did not end, or a further one up to `total`."""
        found = self._all()
        return len(found) < total or any(trial.state.name == "RUNNING" for trial in found)

    def begin(self, total: int, begun: Collection[int] = ()) -> Drawn | None:
        """The next trial: one that was begun and did not end, or a new one; None when there are `total`.

        begun: the numbers of those that train now.
        """
        import optuna

        found = self._all()
        running = [trial for trial in found if trial.state == optuna.trial.TrialState.RUNNING]
        left = next((trial for trial in running if trial.number not in begun), None)
        if left is None and len(found) >= total:
            return None
        study = self._study_for(len(found) if left is None else left.number)
        if left is None:
            trial = study.ask(self._distributions)
        else:
            # The names that it had drawn keep their values; those that it had not are drawn as they would have been.
            trial = optuna.trial.Trial(study, left._trial_id)
            for name, entry in self._rules.space.items():
                _suggest(trial, name, entry)
        reported = {} if left is None else dict(left.intermediate_values)
        return Drawn(trial, self._values(trial.params), reported)

    def _study_for(self, number: int) -> Study:
        """The study as one trial sees it: its noise comes from the seed and its number, not from the trials before."""
        import optuna

        seed = zlib.crc32(f"{self._rules.seed}/{number}".encode())
        return optuna.load_study(
            storage=self._storage,
            study_name=NAME,
            sampler=optuna.samplers.TPESampler(seed=seed, n_startup_trials=self._rules.startup),
            pruner=self._pruner(),
        )

    def _pruner(self) -> BasePruner:
        from optuna import pruners

        if self._rules.prune == "median":
            return pruners.MedianPruner(n_startup_trials=self._rules.startup, n_warmup_steps=1)
        if self._rules.prune == "hyperband":
            return pruners.HyperbandPruner(max_resource=self._rules.epochs or "auto")
        return pruners.NopPruner()

    def finished(self) -> int:
        """How many trials have ended, in whichever way."""
        return sum(trial.state.is_finished() for trial in self._all())

    def best(self) -> tuple[int, float, dict[str, Any]] | None:
        """Number, value and drawn values of the best complete trial, the first of equals; None while there is none."""
        complete = [trial for trial in self._all() if trial.state.name == "COMPLETE"]
        if not complete:
            return None
        sign = 1 if self._rules.direction == "minimize" else -1
        best = min(complete, key=lambda trial: (sign * _value(trial), trial.number))
        return best.number, _value(best), self._values(best.params)

    def better(self, value: float) -> bool:
        """Whether `value` is better than that of every complete trial."""
        best = self.best()
        return best is None or (value < best[1] if self._rules.direction == "minimize" else value > best[1])

    def reasons(self) -> list[str]:
        """Why trials failed, in order."""
        return [trial.user_attrs["reason"] for trial in self._all() if trial.state.name == "FAIL"]

    def frame(self, *, over: bool) -> pl.DataFrame:
        """One row for each trial; see `SweepRun.trials`. `over`: those that are not finished have been stopped."""
        names = {"RUNNING": "stopped" if over else "running", "COMPLETE": "complete", "PRUNED": "pruned"}
        rows = []
        for trial in self._all():
            reported = trial.intermediate_values
            rows.append(
                {
                    "number": trial.number,
                    "state": names.get(trial.state.name, "failed"),
                    "value": trial.value if trial.value is not None else reported[max(reported)] if reported else None,
                    "epochs_done": max(reported, default=0),
                    "duration_s": trial.user_attrs.get("duration_s"),
                    **{name: trial.params.get(name) for name in self._rules.space},
                    "reason": trial.user_attrs.get("reason"),
                }
            )
        drawn = {name: _column_type(entry) for name, entry in self._rules.space.items()}
        schema: dict[str, Any] = {"number": pl.Int64, "state": pl.String, "value": pl.Float64, "epochs_done": pl.Int64}
        schema |= {"duration_s": pl.Float64, **drawn, "reason": pl.String}
        for name, dtype in drawn.items():
            if dtype == pl.String:
                for row in rows:
                    row[name] = None if row[name] is None else str(row[name])
        return pl.DataFrame(rows, schema=schema)

    def _all(self) -> list[FrozenTrial]:
        return self._study.get_trials(deepcopy=False)

    def _values(self, params: Mapping[str, Any]) -> dict[str, Any]:
        """Drawn values as they were given in the space, in its order."""
        found = {}
        for name, entry in self._rules.space.items():
            value = params[name]
            found[name] = entry.values[_position(entry.labels, value)] if isinstance(entry, Choices) else value
        return found


class Drawn:
    """A trial that runs: its drawn `values`, and what is told of it."""

    def __init__(self, trial: Trial, values: dict[str, Any], reported: dict[int, float]) -> None:
        self._trial = trial
        self.values = values
        # Of a run of this trial that did not come to its end.
        self._reported = reported

    @property
    def number(self) -> int:
        """Counted from 0."""
        return self._trial.number

    def report(self, epoch: int, value: float) -> bool:
        """Note the figure after `epoch`, counted from 1; True if the trial should end here."""
        if epoch not in self._reported:
            self._trial.report(value, epoch)
            self._reported[epoch] = value
        elif epoch < max(self._reported):
            return False  # it was judged then, and went on
        return self._trial.should_prune()

    def complete(self, value: float, duration_s: float) -> None:
        """The trial came to its end with `value`, a finite number."""
        self._end("COMPLETE", duration_s, value)

    def prune(self, duration_s: float) -> None:
        """The trial was ended early."""
        self._end("PRUNED", duration_s)

    def fail(self, reason: str, duration_s: float) -> None:
        """The trial failed."""
        self._trial.set_user_attr("reason", reason)
        self._end("FAIL", duration_s)

    def _end(self, state: str, duration_s: float, value: float | None = None) -> None:
        from optuna.trial import TrialState

        self._trial.set_user_attr("duration_s", duration_s)
        self._trial.study.tell(self._trial, value, state=TrialState[state])


def _distribution(entry: Range | Choices) -> BaseDistribution:
    from optuna import distributions

    if isinstance(entry, Choices):
        return distributions.CategoricalDistribution(entry.labels)
    if entry.whole:
        return distributions.IntDistribution(int(entry.low), int(entry.high), log=entry.log, step=int(entry.step or 1))
    return distributions.FloatDistribution(entry.low, entry.high, log=entry.log, step=entry.step)


def _suggest(trial: Trial, name: str, entry: Range | Choices) -> None:
    if isinstance(entry, Choices):
        trial.suggest_categorical(name, entry.labels)
    elif entry.whole:
        trial.suggest_int(name, int(entry.low), int(entry.high), log=entry.log, step=int(entry.step or 1))
    else:
        trial.suggest_float(name, entry.low, entry.high, log=entry.log, step=entry.step)


def _position(labels: tuple[Any, ...], value: Any) -> int:
    return next(i for i, label in enumerate(labels) if type(label) is type(value) and label == value)


def _column_type(entry: Range | Choices) -> Any:
    if isinstance(entry, Range):
        return pl.Int64 if entry.whole else pl.Float64
    kinds = {type(label) for label in entry.labels if label is not None}
    known = {int: pl.Int64, float: pl.Float64, bool: pl.Boolean}
    if kinds == {int, float}:
        return pl.Float64
    return known.get(kinds.pop(), pl.String) if len(kinds) == 1 else pl.String


def _value(trial: FrozenTrial) -> float:
    assert trial.value is not None
    return trial.value


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Optuna tells of every new study on stderr."""
    import optuna

    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        yield
    finally:
        optuna.logging.set_verbosity(before)
