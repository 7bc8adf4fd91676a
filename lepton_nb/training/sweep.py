"""`sweep`: many trainings of one model with other options, the poor ones ended early."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from lepton_nb import announce
from lepton_nb.errors import TrainingError
from lepton_nb.training import models, sweep_folder, sweep_space
from lepton_nb.training.feeds import feed, later_feed
from lepton_nb.training.placement import place
from lepton_nb.training.settle import check_cluster, check_vocabulary
from lepton_nb.training.spec import CLASS_METRICS, NUMBER_METRICS, TrainingSpec
from lepton_nb.training.sweep_rehearsal import rehearse
from lepton_nb.training.sweep_run import SweepRun
from lepton_nb.training.sweep_space import Recipe
from lepton_nb.training.sweep_spec import SweepSpec
from lepton_nb.training.sweep_study import Rules, Trials, require_optuna
from lepton_nb.training.tracking import check_track

if TYPE_CHECKING:
    from lepton_nb.cluster.session import Cluster
    from lepton_nb.data.frames import Frame
    from lepton_nb.data.transform import Prepared

# Options that change where and how surely a trial runs, not what it finds.
INDIFFERENT = (
    "workers",
    "max_restarts",
    "log_every_steps",
    "start_timeout_s",
    "keep_checkpoints",
    "parallel",
    "stream",
)


def sweep(
    model: models.Model,
    data: Prepared | Frame,
    space: Mapping[str, Any],
    *,
    trials: int = 20,
    metric: str = "validation_loss",
    workers: int | tuple[int, int] | Literal["auto"] = 1,
    cluster: Cluster | None = None,
    **options: Any,
) -> SweepRun:
    """Start to search `space` for the best options of `lnb.train`, and return at once.

    model: a description such as `lnb.models.mlp()`, of which parts are drawn by name (hidden, dropout); a function of
        drawn values, as in `lambda width: lnb.models.mlp(hidden=(width, width))`, or of these and the number of
        features, which returns the module; or what else `lnb.train` takes, if only its options are drawn.
    data: as for `lnb.train`.
    space: by name of an option or of a part of the model, a list of choices ([64, 128], [(64,), (128, 64)]) or a range
        as a tuple: (low, high), (low, high, "log") or (low, high, step), both ends included, of whole numbers if both
        are whole.
    trials: how many trainings, one after the other, or with at_once=2 two at the same time on workers of their own.
    metric: what is compared, a column of `run.history`; see SweepSpec for it and direction, prune, startup, at_once,
        seed, path and resume.
    workers: of each training. cluster: where to train; by default one is started and closed at the end.
    options: those of `lnb.train`, the same for all trainings, such as target="late", validation=rows, epochs=5.

    One after the other, the same seed draws the same values, also when a sweep is stopped or killed and resumed: a draw
    depends on the seed, its number and the results before it. Data is not compared on resume.
    Raises TrainingError for what does not fit, a choice or an end of a range that no trial could train with among it;
    what goes wrong later is raised by `wait`.
    """
    require_optuna()
    own = {field.name for field in fields(SweepSpec)}
    known = {field.name for field in fields(TrainingSpec)} - {"checkpoint", "resume"} | own
    for name in options:
        if name not in known:
            raise TrainingError.unknown("option", name, [*known, "cluster"])
    spec = SweepSpec(trials=trials, metric=metric, **{name: options.pop(name) for name in own & options.keys()})
    given = {"workers": workers, "seed": spec.seed, **options, "metrics": _metrics(metric, options.get("metrics", ()))}
    drawn = sweep_space.read(space)
    recipe = Recipe.of(model, drawn)
    for name in drawn:
        if name in options:
            raise TrainingError(f"{name} is both drawn and given as {options[name]!r}; leave one out", name=name)
    first = rehearse(recipe, drawn, given)
    spec.require_metric(first)
    announce.seed("sweep", spec.seed)
    if spec.at_once != 1 and first.most_workers is None:
        raise TrainingError("at_once deals the workers out among trials; give workers as a number")
    rehearse(recipe, drawn, given, _rows(data, cluster, first, None if "vocabulary" in drawn else model))
    rules = Rules(drawn, spec.wanted, spec.prune, spec.startup, spec.seed, _most_epochs(first, drawn))
    with contextlib.ExitStack() as held:
        folder = _folder(spec, rules, first, recipe, held)
        trials_ = Trials(rules, None if folder is None else folder / sweep_folder.JOURNAL)
        run = SweepRun(spec, recipe, trials_, data, given, cluster, folder, held.pop_all())
    return run.start()


def _metrics(metric: str, given: str | Sequence[str]) -> tuple[str, ...]:
    """The further figures that a training measures: those that were given, and the one that is compared."""
    names = (given,) if isinstance(given, str) else tuple(given)
    name = str(metric).removeprefix("validation_")
    return (*names, name) if name != metric and name in CLASS_METRICS + NUMBER_METRICS else names


def _rows(data: Any, cluster: Any, spec: TrainingSpec, model: Any) -> int:
    """How many rows there are to train on. Raises TrainingError for what `lnb.train` would refuse for every trial.

    model: what the rows must fit, where that is not drawn.
    """
    if cluster is not None:
        check_cluster(cluster)
        place(cluster.workers, spec.least_workers)
    client = None if cluster is None else cluster.client
    feeds = {"train": feed(data, spec.target, spec.row_dtype, stream=spec.stream, client=client)}
    if spec.validation is not None:
        feeds["validation"] = later_feed(feeds["train"].reader, spec.validation, stream=spec.stream, client=client)
    check_vocabulary(model, feeds)
    check_track(spec.track)
    return len(feeds["train"])


def _most_epochs(spec: TrainingSpec, space: sweep_space.Space) -> int | None:
    if spec.steps is not None or "steps" in space:
        return None
    entry = space.get("epochs")
    return spec.epochs if entry is None else int(max(entry.corners()))


def _folder(
    spec: SweepSpec, rules: Rules, first: TrainingSpec, recipe: Recipe, held: contextlib.ExitStack
) -> Path | None:
    path = spec.path if spec.resume is None else spec.resume
    if path is None:
        return None
    drawn = rules.space.keys()
    facts = {
        "space": {name: entry.told() for name, entry in rules.space.items()},
        "metric": spec.metric,
        "direction": rules.direction,
        "prune": spec.prune,
        "startup": spec.startup,
        "seed": spec.seed,
        "options": {n: v for n, v in first.told().items() if n not in INDIFFERENT and n not in drawn},
        "model": {n: v for n, v in (models.told(recipe.model) or {}).items() if n not in drawn},
    }
    folder = sweep_folder.prepare_folder(path, facts, resume=spec.resume is not None)
    held.enter_context(sweep_folder.alone_in(folder))
    return folder
