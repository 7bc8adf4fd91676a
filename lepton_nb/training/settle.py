"""The options of a training, checked against each other and against the model: what can be known without the rows."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import Any, get_args

from lepton_nb.errors import TrainingError
from lepton_nb.training import models
from lepton_nb.training.feeds import Feed
from lepton_nb.training.spec import LOSS_OF_TASK, TASK_OF_LOSS, Optimizer, TrainingSpec
from lepton_nb.training.tasks import check_metrics
from lepton_nb.training.tokens import check_tokens


def settle(model: models.Model, **options: Any) -> TrainingSpec:
    """The spec of a training of `model`, with the framework and, for a described model, the loss that go with it.

    Raises TrainingError for options that cannot be, that do not go together, or do not go with the model.
    """
    spec = TrainingSpec.of(**options)
    models.check(model)
    check_compiled(model, options)
    spec = _with_framework(model, _with_task_of(model, spec))
    for name in ("patience", "metrics"):
        if getattr(spec, name) and spec.validation is None:
            what = "the validation loss" if name == "patience" else "validation rows"
            raise TrainingError(f"{name} looks at {what}; give rows for it: validation=...")
    if spec.loss != "auto":
        # As early as the task is known; a rank looks again.
        check_metrics(spec.metrics, TASK_OF_LOSS[spec.loss])
    if spec.framework == "keras" and spec.parallel != "auto":
        raise TrainingError(
            f"parallel={spec.parallel!r} is a way of PyTorch's, and the model is one of Keras's, which has one; leave "
            "parallel out"
        )
    return spec


def check_compiled(model: Any, said: Collection[str]) -> None:
    """Raise TrainingError for a model that Keras compiled, unless what takes the place of its choices was `said`."""
    if isinstance(model, type) or models.framework_of(model) != "keras" or not getattr(model, "compiled", False):
        return
    ignored, fix = [], []
    if model.loss is not None and "loss" not in said:
        ignored.append(f"the loss {_name(model.loss)}")
        fix.append(f"loss={' or '.join(map(repr, TASK_OF_LOSS))}, of a model that ends without sigmoid or softmax")
    if model.optimizer is not None and "optimizer" not in said:
        rate = float(model.optimizer.learning_rate)
        ignored.append(f"the optimizer {type(model.optimizer).__name__} (learning rate {rate:g})")
        fix.append(f"optimizer={' or '.join(map(repr, get_args(Optimizer)))}, and learning_rate=...")
    if ignored:
        raise TrainingError(
            f"the model was compiled with {' and '.join(ignored)}, and a training has its own; say what it is to take: "
            + "; ".join(fix)
        )


def _name(loss: Any) -> str:
    return repr(loss) if isinstance(loss, str) else str(getattr(loss, "name", getattr(loss, "__name__", loss)))


def check_warmup(spec: TrainingSpec, rows: int) -> None:
    """Raise TrainingError where all of a run over `rows` training rows would be warm-up."""
    steps = spec.total_steps(rows)
    if spec.warmup_steps >= steps:
        fewer = f"give fewer, such as warmup_steps={steps // 10}, or " if steps > 1 else ""
        raise TrainingError(
            f"warmup_steps is {spec.warmup_steps:,}, and the whole run has {steps:,} steps ({rows:,} rows in batches "
            f"of {spec.batch_size:,}), so that it would end before its learning rate is reached; {fewer}train longer",
            warmup_steps=spec.warmup_steps,
            steps=steps,
        )


def check_vocabulary(model: Any, feeds: Mapping[str, Feed]) -> None:
    """Raise TrainingError for rows, as far as they are in memory, with token numbers that the model does not know."""
    vocabulary = models.vocabulary_of(model)
    if vocabulary is None:
        return
    for part, feed in feeds.items():
        transform = feed.reader.transform
        prepared = None if transform is None else transform.vocabulary
        if prepared is not None and prepared > vocabulary:
            raise TrainingError(
                f"the data was prepared with {prepared:,} token numbers, and the model has vocabulary={vocabulary}; "
                f"give the model vocabulary={prepared}, or prepare with lnb.prepare(..., vocabulary={vocabulary})",
                vocabulary=vocabulary,
                prepared=prepared,
            )
        features = feed.arrays.get(f"{part}_features")
        if features is not None:
            check_tokens(features, vocabulary, f"the {'training' if part == 'train' else part} data")


def check_cluster(cluster: Any) -> None:
    """Raise TrainingError for what is no cluster."""
    missing = [name for name in ("client", "workers", "backend") if not hasattr(cluster, name)]
    if missing:
        raise TrainingError(
            f"cluster is a {type(cluster).__name__}; give an lnb.Cluster, as in "
            "lnb.train(model, data, cluster=lnb.Cluster(workers=2))"
        )


def _with_framework(model: models.Model, spec: TrainingSpec) -> TrainingSpec:
    """The spec with the framework of the model; a function is taken for one that builds a torch.nn.Module."""
    found = models.framework_of(model)
    if spec.framework == "auto":
        return replace(spec, framework=found or "torch")
    if found is not None and found != spec.framework:
        raise TrainingError(
            f"the model is one of {found}, and framework={spec.framework!r}; leave framework out, or give another model"
        )
    return spec


def _with_task_of(model: models.Model, spec: TrainingSpec) -> TrainingSpec:
    """The spec with the loss of a described model's task, which "auto" would otherwise guess from the target."""
    if not isinstance(model, models.Description):
        return spec
    if spec.loss == "auto":
        return replace(spec, loss=LOSS_OF_TASK[model.task])
    if TASK_OF_LOSS[spec.loss] != model.task:
        raise TrainingError(
            f"the model has task={model.task!r}, and loss={spec.loss!r} is for {TASK_OF_LOSS[spec.loss]!r}; "
            "change one of them, or leave the loss out"
        )
    return spec
