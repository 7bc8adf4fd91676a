"""What ours is held against, each a program of its own: bare loops, Lightning, TensorFlow's strategy.

    python training_peers.py KIND FOLDER BATCH [OPTION ...]

FOLDER holds features.npy and target.npy. Each rank says where it is as lines of JSON on stdout: "pid" and "ready" when
it is about to take its first step that counts, upon which it stops itself (SIGSTOP); rank 0 then tells every block of
steps: how many, when the block began and ended (monotonic seconds). They go on until they are killed, and end with the
process that started them.

    apart COMMAND ...   replaces itself by a Python command in a network in which nothing but loopback exists, as
                        torchrun's and TensorFlow's servers listen on every address
"""

from __future__ import annotations

import ctypes
import json
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

BLOCK_S = 0.1
WARM_STEPS = 20
LEARNING_RATE = 1e-3
DIE_WITH_PARENT = 1


def say(**facts: Any) -> None:
    """One line for whoever started this."""
    sys.stdout.write(json.dumps(facts) + "\n")
    sys.stdout.flush()


class Beats:
    """Counts steps and tells them in blocks of about BLOCK_S."""

    def __init__(self, rank: int, **facts: Any) -> None:
        self._rank = rank
        self._facts = facts
        self._taken = 0
        self._block = 0
        self._began_s = 0.0

    def take(self) -> None:
        """A step is done."""
        self._taken += 1
        if self._taken < WARM_STEPS:
            return
        now_s = time.monotonic()
        if self._taken == WARM_STEPS:
            say(pid=os.getpid(), rank=self._rank, ready=True, **self._facts)
            os.kill(os.getpid(), signal.SIGSTOP)
            self._began_s = time.monotonic()
            return
        self._block += 1
        if now_s - self._began_s >= BLOCK_S:
            if self._rank == 0:
                say(steps=self._block, began_s=self._began_s, ended_s=now_s)
            self._block, self._began_s = 0, now_s


def batches(features: Any, target: Any, batch: int, rank: int, ranks: int) -> Iterator[tuple[Any, Any]]:
    """A rank's rows of each batch, for ever, sliced as ours are: take, of a permutation of the epoch."""
    epoch = 0
    while True:
        order = np.random.default_rng([0, epoch]).permutation(len(target))
        for start in range(0, len(order), batch):
            rows = order[start : start + batch]
            mine = rows[len(rows) * rank // ranks : len(rows) * (rank + 1) // ranks]
            yield features.take(mine, axis=0), target.take(mine, axis=0)
        epoch += 1


def rows_of(folder: Path) -> tuple[Any, Any]:
    """Features and target, mapped as ours are."""
    features, target = (np.load(folder / f"{name}.npy", mmap_mode="c") for name in ("features", "target"))
    return np.asarray(features), np.asarray(target)


def torch_model(width: int) -> Any:
    """The network of every contender."""
    import torch

    import lepton_nb as lnb

    torch.manual_seed(0)
    return lnb.models.mlp(hidden=(128, 64)).build(width)


def ranks_of_torchrun() -> tuple[int, int]:
    """This rank, and how many there are."""
    import torch.distributed as dist

    ranks = int(os.environ.get("WORLD_SIZE", "1"))
    if ranks > 1:
        dist.init_process_group("gloo")
    return int(os.environ.get("RANK", "0")), ranks


def sliced(folder: Path, batch: int, *options: str) -> None:
    """A bare loop over slices; under torchrun with DistributedDataParallel. Options: "compiled"."""
    import torch
    from torch import nn

    rank, ranks = ranks_of_torchrun()
    features, target = rows_of(folder)
    model: Any = torch_model(features.shape[1])
    optimizer = torch.optim.Adam(model.parameters(), lr=LEARNING_RATE, fused=True)
    if ranks > 1:
        model = nn.parallel.DistributedDataParallel(model)

    def losses(x: Any, y: Any) -> Any:
        return nn.functional.binary_cross_entropy_with_logits(model(x).reshape(-1), y)

    facts = {}
    source = batches(features, target, batch, rank, ranks)
    if "compiled" in options:
        eager, losses = losses, torch.compile(losses)
        x, y = (torch.from_numpy(part) for part in next(source))
        began_s = time.monotonic()
        losses(x, y).backward()
        first_s = time.monotonic() - began_s
        # Not counted as compiling: what a first pass costs anyway.
        began_s = time.monotonic()
        eager(x, y).backward()
        facts["compile_s"] = first_s - (time.monotonic() - began_s)
    beats = Beats(rank, **facts)
    for x, y in source:
        optimizer.zero_grad()
        losses(torch.from_numpy(x), torch.from_numpy(y)).backward()
        optimizer.step()
        beats.take()


def loader(folder: Path, batch: int) -> None:
    """A plain loop over a DataLoader, as most examples have it; under torchrun with a DistributedSampler."""
    import torch
    from torch import nn
    from torch.utils.data import DataLoader, DistributedSampler, TensorDataset

    rank, ranks = ranks_of_torchrun()
    features, target = (torch.from_numpy(part) for part in rows_of(folder))
    dataset = TensorDataset(features, target)
    sampler: Any = DistributedSampler(dataset) if ranks > 1 else None
    model: Any = torch_model(features.shape[1])
    optimizer = torch.optim.Adam(model.parameters(), lr=LEARNING_RATE, fused=True)
    if ranks > 1:
        model = nn.parallel.DistributedDataParallel(model)
    rows = DataLoader(dataset, batch_size=batch // ranks, shuffle=sampler is None, sampler=sampler)
    beats = Beats(rank)
    while True:
        for x, y in rows:
            optimizer.zero_grad()
            nn.functional.binary_cross_entropy_with_logits(model(x).reshape(-1), y).backward()
            optimizer.step()
            beats.take()


def lightning(folder: Path, batch: int) -> None:
    """Lightning's Trainer over a DataLoader, with everything off that can be; under torchrun with strategy ddp."""
    import logging
    import warnings

    warnings.simplefilter("ignore")
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    import torch
    from lightning.pytorch import Callback, LightningModule, Trainer
    from torch import nn
    from torch.utils.data import DataLoader, TensorDataset

    ranks = int(os.environ.get("WORLD_SIZE", "1"))
    features, target = (torch.from_numpy(part) for part in rows_of(folder))

    class Module(LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.model = torch_model(features.shape[1])

        def training_step(self, rows: Any) -> Any:
            x, y = rows
            return nn.functional.binary_cross_entropy_with_logits(self.model(x).reshape(-1), y)

        def configure_optimizers(self) -> Any:
            return torch.optim.Adam(self.model.parameters(), lr=LEARNING_RATE, fused=True)

    beats = Beats(int(os.environ.get("RANK", "0")))

    class Count(Callback):
        def on_train_batch_end(self, *_: Any) -> None:
            beats.take()

    trainer = Trainer(
        max_epochs=-1, accelerator="cpu", devices=ranks, strategy="ddp" if ranks > 1 else "auto", logger=False,
        enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False, callbacks=[Count()],
    )  # fmt: skip
    # With several ranks Lightning puts a DistributedSampler in.
    rows: Any = DataLoader(TensorDataset(features, target), batch_size=batch // ranks, shuffle=True)
    trainer.fit(Module(), rows)


def keras_ranks(folder: Path, batch: int) -> None:
    """Starts the two ranks of `keras` with their ports, and waits for them."""
    import socket
    import subprocess

    held = [socket.socket() for _ in range(2)]
    for each in held:
        each.bind(("127.0.0.1", 0))
    addresses = [f"127.0.0.1:{each.getsockname()[1]}" for each in held]
    for each in held:
        each.close()
    started = []
    for rank in range(2):
        told = {"cluster": {"worker": addresses}, "task": {"type": "worker", "index": rank}}
        environment = {**os.environ, "TF_CONFIG": json.dumps(told), "TF_CPP_MIN_LOG_LEVEL": "2", "RANK": str(rank)}
        command = [sys.executable, __file__, "keras", str(folder), str(batch)]
        started.append(subprocess.Popen(command, env=environment))
    for process in started:
        process.wait()


def keras(folder: Path, batch: int) -> None:
    """One rank of a bare script with MultiWorkerMirroredStrategy and a Keras model and optimizer, one thread."""
    import lepton_nb as lnb

    description = lnb.models.mlp(hidden=(128, 64), framework="keras")
    from lepton_nb.training import models

    models.load_keras()
    import keras as library
    import tensorflow as tf

    rank, ranks = int(os.environ["RANK"]), 2
    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    strategy = tf.distribute.MultiWorkerMirroredStrategy()
    features, target = rows_of(folder)
    with strategy.scope():
        model = description.build(features.shape[1])
        optimizer = library.optimizers.Adam(LEARNING_RATE)
        optimizer.build(model.trainable_variables)

    def step(x: Any, y: Any, rows: Any) -> Any:
        with tf.GradientTape() as tape:
            output = tf.reshape(model(x, training=True), [-1])
            loss = tf.reduce_sum(tf.nn.sigmoid_cross_entropy_with_logits(labels=y, logits=output)) / rows
        found = tape.gradient(loss, model.trainable_variables)
        # Adds up over the ranks, as Keras does under this strategy.
        optimizer.apply(found, model.trainable_variables)
        return loss

    whole: Callable[..., Any] = tf.function(
        lambda x, y, rows: strategy.run(step, (x, y, rows)),
        input_signature=[
            tf.TensorSpec([None, features.shape[1]], tf.float32),
            tf.TensorSpec([None], tf.float32),
            tf.TensorSpec([], tf.float32),
        ],
        autograph=False,
    )
    beats = Beats(rank)
    for x, y in batches(features, target, batch, rank, ranks):
        whole(tf.constant(x), tf.constant(y), tf.constant(float(batch)))
        beats.take()


def first_sum(*_: Any) -> None:
    """What torchrun needs to start for: to meet, add up once, and leave."""
    import torch
    import torch.distributed as dist

    dist.init_process_group("gloo")
    dist.all_reduce(torch.ones(1))
    dist.destroy_process_group()


def first_step(*_: Any) -> None:
    """As `first_sum`, with a model and one step of it, which is what our job does."""
    import torch
    import torch.distributed as dist
    from torch import nn

    dist.init_process_group("gloo")
    model = nn.parallel.DistributedDataParallel(nn.Linear(4, 1))
    optimizer = torch.optim.Adam(model.parameters())
    model(torch.ones(8, 4)).sum().backward()
    optimizer.step()
    dist.destroy_process_group()


def apart(command: list[str]) -> None:
    """Become `command`, where only loopback is."""
    from lepton_nb.training import network

    if not network.go_apart():
        raise SystemExit("this machine allows no network of its own, and torchrun would listen on every address")
    os.environ["GLOO_SOCKET_IFNAME"] = "lo"
    # The start of torchrun counts from here.
    say(began_s=time.monotonic())
    python = command.pop(0).removeprefix("--python=") if command[0].startswith("--python=") else sys.executable
    os.execv(python, [python, *command])


KINDS: dict[str, Callable[..., None]] = {
    "sliced": sliced, "loader": loader, "lightning": lightning, "keras": keras, "keras_ranks": keras_ranks,
    "first_sum": first_sum, "first_step": first_step,
}  # fmt: skip


def main() -> None:
    """See above."""
    ctypes.CDLL(None).prctl(DIE_WITH_PARENT, signal.SIGKILL)
    kind, *rest = sys.argv[1:]
    if kind == "apart":
        apart(rest)
    elif kind in ("first_sum", "first_step"):
        KINDS[kind]()
    else:
        folder, batch, *options = rest
        KINDS[kind](Path(folder), int(batch), *options)


if __name__ == "__main__":
    main()
