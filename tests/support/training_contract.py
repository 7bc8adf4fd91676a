"""One training job for both frameworks, from the same first weights, and what it must come to in one bare loop.

The contract tests hold `lnb.train` against these loops, which use nothing of lepton_nb but the order of the rows.
"""

from __future__ import annotations

import functools
import gc
import json
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import psutil

import lepton_nb as lnb
from lepton_nb.events import Progress
from lepton_nb.training.schedules import rate
from lepton_nb.training.sharding import epoch_order

Array = npt.NDArray[np.float64]

FRAMEWORKS = ("torch", "keras")
# Of seven steps an epoch the last has a single row: with two ranks, and with three, somebody has none.
ROWS, BATCH, FEATURES, HIDDEN, SEED = 1_003, 167, 6, 8, 3
STEPS_OF_EPOCH = 7
# Those of a job whose every number is compared.
OPTIONS: dict[str, Any] = {
    "batch_size": BATCH, "seed": SEED, "precision": "float64", "log_every_steps": 1, "optimizer": "sgd",
    "learning_rate": 0.1, "momentum": 0.9,
}  # fmt: skip
ADAM: dict[str, Any] = {"optimizer": "adam", "learning_rate": 0.01, "momentum": 0.0}
# Done in each training step, on each rank: act(rank, step, folder), step counting from 1, over restarts too.
Act = Callable[[int, int, Path], None]


def rows(count: int = ROWS, seed: int = 0) -> tuple[Array, Array]:
    """Features (count, FEATURES), and a target of 0 and 1 that depends on them."""
    random = np.random.default_rng(seed)
    features = random.normal(size=(count, FEATURES))
    signal = features[:, 0] - features[:, 1] * features[:, 2] + 0.3 * random.normal(size=count)
    return features, (signal > 0).astype(np.float64)


def first_weights() -> list[Array]:
    """Of two dense layers, each (in, out) and (out,)."""
    random = np.random.default_rng(11)
    shapes = ((FEATURES, HIDDEN), (HIDDEN,), (HIDDEN, 1), (1,))
    return [random.uniform(-0.4, 0.4, size=shape) for shape in shapes]


def builder(framework: str, folder: Path | None = None, act: Act | None = None, dropout: float = 0.0) -> Any:
    """A function that builds the model in a rank; with a `folder` each rank counts its training steps there."""
    note = None if folder is None else functools.partial(_note, folder, act)
    return functools.partial({"torch": _torch_model, "keras": _keras_model}[framework], note, dropout)


def steps_taken(folder: Path) -> dict[int, int]:
    """How many training steps each rank has begun, by rank."""
    return {int(path.name): path.stat().st_size for path in folder.glob("[0-9]")}


def _note(folder: Path, act: Act | None, rank: int) -> None:
    file = folder / str(rank)
    with file.open("a") as stream:
        stream.write("x")
    if act is not None:
        act(rank, file.stat().st_size, folder)


def _torch_model(note: Callable[[int], None] | None, dropout: float) -> Any:
    import torch
    from torch import nn

    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.hidden = nn.Linear(FEATURES, HIDDEN)
            self.noise = nn.Dropout(dropout)
            self.end = nn.Linear(HIDDEN, 1)

        def forward(self, values: Any) -> Any:
            if note is not None and self.training:
                note(rank_here())
            return self.end(self.noise(torch.tanh(self.hidden(values))))

    model = Model().double()
    with torch.no_grad():
        for parameter, value in zip(model.parameters(), first_weights(), strict=True):
            parameter.copy_(torch.from_numpy(value.T))
    return model


def _keras_model(note: Callable[[int], None] | None, dropout: float) -> Any:
    import keras
    import tensorflow as tf

    def noted() -> np.int64:
        assert note is not None
        note(rank_here())
        return np.int64(0)

    class Noting(keras.layers.Layer):
        def call(self, values: Any, training: bool = False) -> Any:
            if not training or note is None:
                return values
            with tf.control_dependencies([tf.numpy_function(noted, [], tf.int64)]):
                return tf.identity(values)

    model = keras.Sequential(
        [
            keras.Input((FEATURES,)), Noting(), keras.layers.Dense(HIDDEN, "tanh"), keras.layers.Dropout(dropout),
            keras.layers.Dense(1),
        ]
    )  # fmt: skip
    model.set_weights(first_weights())
    return model


def start(cluster: Any, framework: str, *, model: Any = None, data: Any = None, **options: Any) -> Any:
    """The job on `cluster`, with further or other options."""
    whole = {"workers": 2, **OPTIONS, **options}
    return lnb.train(model or builder(framework), data or rows(), framework=framework, cluster=cluster, **whole)


def weights_of(run: Any) -> list[Array]:
    """The trained weights, in the shapes of `first_weights`."""
    if run.spec.framework == "keras":
        return [np.asarray(value, dtype=np.float64) for value in run.model.get_weights()]
    return [value.detach().numpy().T for value in run.model.parameters()]


@dataclass(frozen=True)
class Curve:
    """What a job comes to: loss and norm of the gradient of every step, the last weights, and all outputs."""

    losses: list[float]
    norms: list[float]
    weights: list[Array]


def assert_equal(run: Any, curve: Curve, tolerance: float = 1e-12) -> None:
    """Every loss, every gradient norm and all weights of a finished run."""
    assert run.steps["step"].to_list() == list(range(1, len(curve.losses) + 1))
    np.testing.assert_allclose(run.steps["loss"], curve.losses, rtol=0, atol=tolerance)
    np.testing.assert_allclose(run.steps["gradient_norm"], curve.norms, rtol=0, atol=tolerance)
    for found, expected in zip(weights_of(run), curve.weights, strict=True):
        np.testing.assert_allclose(found, expected, rtol=0, atol=tolerance)


def bare(framework: str, steps: int, count: int = ROWS, **options: Any) -> Curve:
    """The loop that anyone would write for one process, over the batches of the job."""
    whole = {**OPTIONS, **options}
    return _bare(framework, steps, count, tuple(sorted(whole.items())))


@functools.lru_cache
def _bare(framework: str, steps: int, count: int, told: tuple[tuple[str, Any], ...]) -> Curve:
    options = dict(told)
    loop = {"torch": _bare_torch, "keras": _bare_keras}[framework]
    return loop(_batches(rows(count), options, steps), options)


def _batches(data: tuple[Array, Array], options: dict[str, Any], steps: int) -> Iterator[tuple[Array, Array, float]]:
    """Features, target and the learning rate of every step."""
    features, target = data
    size = options["batch_size"]
    of_epoch = -(-len(target) // size)
    for step in range(steps):
        epoch, number = divmod(step, of_epoch)
        picked = epoch_order(len(target), options["seed"], epoch)[number * size : (number + 1) * size]
        schedule = options.get("schedule", "constant")
        yield (
            features[picked], target[picked],
            rate(options["learning_rate"], schedule, options.get("warmup_steps", 0), step, steps),
        )  # fmt: skip


def _bare_torch(batches: Iterator[tuple[Array, Array, float]], options: dict[str, Any]) -> Curve:
    import torch

    model = _torch_model(None, 0.0)
    if options["optimizer"] == "sgd":
        optimizer: Any = torch.optim.SGD(model.parameters(), lr=1.0, momentum=options["momentum"])
    else:
        optimizer = torch.optim.Adam(model.parameters(), lr=1.0)
    losses, norms = [], []
    for features, target, learning_rate in batches:
        output = model(torch.from_numpy(features)).squeeze(1)
        loss = torch.nn.functional.binary_cross_entropy_with_logits(output, torch.from_numpy(target))
        optimizer.zero_grad()
        loss.backward()
        losses.append(loss.item())
        norms.append(float(torch.nn.utils.get_total_norm([value.grad for value in model.parameters()])))
        optimizer.param_groups[0]["lr"] = learning_rate
        optimizer.step()
    return Curve(losses, norms, [value.detach().numpy().T for value in model.parameters()])


@contextmanager
def keras_in_double() -> Iterator[None]:
    """Keras with 64 bits by default, as a rank has it."""
    from lepton_nb.training.models import load_keras

    keras = load_keras()
    floats, policy = keras.config.floatx(), keras.config.dtype_policy()
    keras.config.set_floatx("float64")
    # Settled by the first layer that this process has made, whatever floatx says now.
    keras.config.set_dtype_policy("float64")
    try:
        yield
    finally:
        keras.config.set_floatx(floats)
        keras.config.set_dtype_policy(policy)


def _bare_keras(batches: Iterator[tuple[Array, Array, float]], options: dict[str, Any]) -> Curve:
    with keras_in_double():
        import keras
        import tensorflow as tf

        model = _keras_model(None, 0.0)
        # Python's own numbers would become float32 on their way.
        if options["optimizer"] == "sgd":
            optimizer = keras.optimizers.SGD(1.0, momentum=np.float64(options["momentum"]))
        else:
            betas = {"beta_1": np.float64(0.9), "beta_2": np.float64(0.999), "epsilon": np.float64(1e-8)}
            optimizer = keras.optimizers.Adam(1.0, **betas)
        optimizer.build(model.trainable_variables)

        @tf.function(
            input_signature=[tf.TensorSpec([None, FEATURES], tf.float64), tf.TensorSpec([None], tf.float64)],
            autograph=False,
        )
        def step(features: Any, target: Any) -> Any:
            with tf.GradientTape() as tape:
                output = model(features, training=True)[:, 0]
                loss = tf.reduce_mean(tf.nn.sigmoid_cross_entropy_with_logits(labels=target, logits=output))
            gradient = tape.gradient(loss, model.trainable_variables)
            optimizer.apply(gradient, model.trainable_variables)
            return loss, tf.linalg.global_norm(gradient)

        losses, norms = [], []
        for features, target, learning_rate in batches:
            optimizer.learning_rate.assign(learning_rate)
            loss, norm = step(features, target)
            losses.append(float(loss))
            norms.append(float(norm))
        return Curve(losses, norms, model.get_weights())


def rank_processes() -> list[psutil.Process]:
    """The rank processes that this process has started, by its clusters' workers."""
    found = []
    for child in psutil.Process().children(recursive=True):
        try:
            if child.name().startswith("lnb-rank-"):
                found.append(child)
        except psutil.Error:  # ended while we look
            continue
    return found


def wait_for_step(run: Any, step: int, timeout_s: float = 120.0) -> None:
    """Until the run has told of so many steps."""
    there = threading.Event()
    leave = run.watch(lambda event: there.set() if isinstance(event, Progress) and (event.done or 0) >= step else None)
    try:
        assert there.wait(timeout_s), (run.status, run.error)
    finally:
        leave()


def wait_for(true: Callable[[], bool], run: Any = None, timeout_s: float = 120.0) -> None:
    """Until something is so, and only as long as the run goes on."""
    deadline_s = time.monotonic() + timeout_s
    while not true():
        assert run is None or not run.status.over, (run.status, run.error)
        assert time.monotonic() < deadline_s
        time.sleep(0.02)


def held(client: Any) -> set[Any]:
    """Keys of the futures that somebody holds, without those that are garbage: errors of other tests keep theirs."""
    gc.collect()
    return set(client.futures)


def rank_here() -> int:
    """The number of the rank that this process is; 0 where it is alone."""
    if "TF_CONFIG" in os.environ:
        rank: int = json.loads(os.environ["TF_CONFIG"])["task"]["index"]
        return rank
    torch = sys.modules.get("torch")
    return torch.distributed.get_rank() if torch is not None and torch.distributed.is_initialized() else 0
