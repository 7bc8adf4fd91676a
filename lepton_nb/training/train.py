"""`train`: options, model and data are checked, and a run is started."""

from __future__ import annotations

import contextlib
import os
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from lepton_nb import announce
from lepton_nb.cluster.scratch import Scratch
from lepton_nb.errors import TrainingError
from lepton_nb.training import checkpoint, models
from lepton_nb.training.feeds import feed, later_feed
from lepton_nb.training.placement import place
from lepton_nb.training.run import TrainingRun
from lepton_nb.training.settle import check_cluster, check_vocabulary, check_warmup, settle
from lepton_nb.training.spec import TrainingSpec
from lepton_nb.training.tracking import trackers

if TYPE_CHECKING:
    from lepton_nb.cluster.session import Cluster
    from lepton_nb.data.frames import Frame
    from lepton_nb.data.transform import Prepared


def train(
    model: models.Model,
    data: Prepared | Frame,
    *,
    target: str | None = None,
    workers: int | tuple[int, int] | Literal["auto"] = 2,
    epochs: int = 10,
    batch_size: int = 256,
    cluster: Cluster | None = None,
    **options: Any,
) -> TrainingRun:
    """Start to train `model` on `workers` workers, and return at once.

    model: a torch.nn.Module or a Keras model (a copy is trained), a function that builds one (called with the number
        of features, or the shape of a row, if it takes an argument), or a description such as `lnb.models.mlp()`. The
        model gives logits for classes, (rows,), (rows, 1) or (rows, classes), without sigmoid or softmax.
    data: what `lnb.prepare` returned; any frame with numeric columns, of which `target` is learnt, Parquet larger than
        memory and Dask collections among them; or arrays, (features, target): see `feeds.feed`.
    batch_size: rows of one step over all workers together; the result does not depend on the number of workers,
        but for random noise inside the model (dropout).
    workers: how many, or the least and the most of them; "auto" measures what is quickest, and `run.notes` tells why.
        A warning tells where fewer than were given would be faster.
    cluster: where to train; by default a cluster is started for this run and closed at its end.
    options: see TrainingSpec, such as learning_rate=1e-3, optimizer="adam", loss="auto", validation=rows, seed=0.

    Raises TrainingError for options, data or a cluster that do not fit; what goes wrong later is raised by `wait`.
    """
    before = options.pop("resume") if isinstance(options.get("resume"), TrainingRun) else None
    spec = settle(model, target=target, workers=workers, epochs=epochs, batch_size=batch_size, **options)
    announce.seed("train", spec.seed)
    if cluster is not None:
        check_cluster(cluster)
    if before is not None:
        spec = _after(before, spec)
    spec, resumed = _with_checkpoints(spec)
    if before is not None:
        resumed = before.state
    client = None if cluster is None else cluster.client
    feeds = {"train": feed(data, spec.target, spec.row_dtype, stream=spec.stream, client=client)}
    if spec.validation is not None:
        feeds["validation"] = later_feed(feeds["train"].reader, spec.validation, stream=spec.stream, client=client)
    check_warmup(spec, len(feeds["train"]))
    check_vocabulary(model, feeds)
    if cluster is not None:
        place(cluster.workers, spec.least_workers)
    with contextlib.ExitStack() as undo:
        own: Scratch | None = None
        if spec.max_restarts and spec.checkpoint is None:
            own = Scratch("checkpoints")
            undo.callback(own.close)
            spec = replace(spec, checkpoint=str(own.path))
        # Last, as it makes folders and files.
        run = TrainingRun(model, spec, feeds, cluster, resumed, own, trackers(spec.track), before).start()
        undo.pop_all()
    return run


def _after(before: TrainingRun, spec: TrainingSpec) -> TrainingSpec:
    """The spec of a run that goes on from where `before` was stopped, in its folder of checkpoints if it has one."""
    if before.state is None:
        raise TrainingError(
            f"{before.name} cannot be gone on with: it is {before.status.value}, and only a run that was stopped has "
            "its state; for others give the folder of their checkpoints: resume='folder'"
        )
    if spec.checkpoint is None and before.spec.checkpoint is not None and not before.has_own_checkpoints:
        return replace(spec, checkpoint=before.spec.checkpoint, resume=before.spec.checkpoint)
    return spec


def _with_checkpoints(spec: TrainingSpec) -> tuple[TrainingSpec, bytes | None]:
    """The spec with one whole path to write checkpoints to, if any, and the state to go on from, if any."""
    resumed = None if spec.resume is None else checkpoint.newest(spec.resume)
    folder = spec.checkpoint
    if folder is None and spec.resume is not None and os.path.isdir(spec.resume):
        folder = spec.resume
    if folder is None:
        return spec, resumed
    path = Path(folder).absolute()
    if path.exists() and not path.is_dir():
        raise TrainingError(f"checkpoint={str(path)!r} is a file; give a folder", path=str(path))
    mine = spec.resume is not None and path == Path(spec.resume).absolute()
    if not mine and path.is_dir() and checkpoint.steps(path):
        raise TrainingError(
            f"{path} holds the checkpoints of another run; go on with that one (resume={str(folder)!r}), or choose "
            "another folder",
            path=str(path),
        )
    return replace(spec, checkpoint=str(path)), resumed
