"""The training loop of one rank, whatever the framework: epochs, steps, what is told, checkpoints, the end."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from typing import Any

import numpy as np

from lepton_nb.errors import TrainingError
from lepton_nb.training import identity, schedules
from lepton_nb.training.batches import Batch, Source
from lepton_nb.training.channel import Channel
from lepton_nb.training.cost import Meter
from lepton_nb.training.early import EarlyLook, compile_at_once
from lepton_nb.training.engine import Engine, Outcome, Wishes, class_weights
from lepton_nb.training.keeper import Keeper
from lepton_nb.training.pace import measure
from lepton_nb.training.sharding import steps_per_epoch
from lepton_nb.training.spec import Task, TrainingSpec
from lepton_nb.training.tasks import check_metrics, check_target, output_width, resolve_task
from lepton_nb.training.teller import Teller

MEASURE_EVERY_S = 1.0
VALIDATION_BATCH = 8192
# What a checkpoint holds of a loop, by name.
_KEPT = ("epoch", "batch", "loss_of_epoch", "rows_of_epoch", "best_loss", "epochs_since_best")


class Loop:
    """Trains an engine's model on this rank's share of every global batch, in step with the other ranks."""

    def __init__(
        self,
        spec: TrainingSpec,
        engine: Engine,
        train: Source,
        validation: Source | None,
        channel: Channel,
        resume: bytes | None = None,
        *,
        own_checkpoints: bool = False,
        meter: Meter | None = None,
    ) -> None:
        self._spec = spec
        self._meter = meter
        self._measured_s = time.monotonic()
        self.engine = engine
        self._early: EarlyLook | None = None
        self._channel = channel
        self._teller = Teller(channel, rank=engine.rank)
        self.step = 0
        self.stopped = False
        self._train = train
        self._validation = validation
        self.task = self._settle_task()
        engine.begin(self.task, class_weights(spec.class_weights, self.task, train.target), train.target.shape)
        self._steps = spec.total_steps(len(train))
        self._best_loss: float | None = None
        self._best_weights: Any = None
        self._epochs_since_best = 0
        # The epoch, the batch within it, and that epoch's loss and what it counts so far.
        self._epoch = self._batch = 0
        self._loss_of_epoch = self._rows_of_epoch = 0.0
        self._wanted = Wishes()
        self._pauses = 0
        self._elapsed_before_s = 0.0
        self._identity = identity.of(spec, train, engine)
        if resume is not None:
            self._restore(engine.unpack(resume))
        # Last, as it makes a folder.
        saved = -1 if resume is None else self.step
        self._keeper = Keeper(spec, engine.rank, own=own_checkpoints, step=saved)

    @property
    def state(self) -> bytes | None:
        """From which the run can go on, where it was stopped, on rank 0."""
        return self._keeper.state

    def best_workers(self) -> int:
        """How many ranks would be quickest, measured and told; every rank calls this, before `run`."""
        pace = measure(self.engine, self._train, self._spec.batch_size)
        self._teller.pace(pace)
        return pace.best

    def run(self) -> None:
        """All epochs, or up to the step at which the ranks agree to stop."""
        self._early = EarlyLook(self.engine, self._train, self._spec, self._channel)
        if self._spec.compile is True:
            compile_at_once(self.engine, self._train, self._spec.batch_size)
        self._channel.send("ready", task=self.task, rows=len(self._train), threads=self.engine.threads)
        self._began_s = time.monotonic() - self._elapsed_before_s
        self._teller.again()
        while not self.stopped and not self._finished:
            self._run_epoch()
        if self.step != self._keeper.step and (self.stopped or not self._keeper.own):
            self._save(keep=self.stopped)
        if self._best_weights is not None and not self.stopped:
            self.engine.put_weights(self._best_weights)
        self._teller.flush()

    def weights(self) -> bytes:
        """The trained weights, whole on rank 0; all ranks call this."""
        return self.engine.weights_file()

    def _settle_task(self) -> Task:
        """What the model's outputs for these rows mean. Raises TrainingError where the two do not fit."""
        features, _ = self._train.head(2)
        shape = self.engine.output_shape(features)
        task = resolve_task(self._spec.loss, shape, self._train.target)
        check_metrics(self._spec.metrics, task)
        if self._validation is not None:
            width = output_width(shape, self._validation.target.shape)
            check_target(task, self._validation.target, width, "the validation data's target")
        return task

    @property
    def _finished(self) -> bool:
        # A run that was stopped with the last step of an epoch has still to end that epoch.
        between = self._batch < steps_per_epoch(len(self._train), self._spec.batch_size)
        return between and (self.step >= self._steps or self._epochs_since_best == self._spec.patience)

    def _run_epoch(self) -> None:
        """From where it is to the end of the epoch, or of the run."""
        spec, engine = self._spec, self.engine
        began_s = time.monotonic()
        batches = steps_per_epoch(len(self._train), spec.batch_size)
        before = self._batch
        shares = self._train.batches(self._epoch, before, spec.batch_size, spec.seed, engine.rank, engine.ranks)
        with contextlib.closing(shares):  # type: ignore[type-var]
            while self._batch < batches:
                if self.step == self._steps:
                    self._require_finite()
                    return
                wishes = self._take_step(shares)
                began_s += self._look()
                if wishes.pause:
                    began_s += self._pause()
                self.stopped = wishes.stop
                if wishes.stop and self._batch < batches:
                    self._require_finite()
                    return
                self._wanted = wishes
                if self._batch < batches and self._due():
                    self._save()
        self._require_finite()
        taken = min((batches - before) * spec.batch_size, len(self._train))
        row = {
            "epoch": self._epoch + 1,
            "step": self.step,
            "loss": self._loss_of_epoch / self._rows_of_epoch,
            # Null where an epoch was gone on with after its last step.
            "rows_per_s": taken / (time.monotonic() - began_s) if taken else None,
        }
        if self.stopped:
            # Whoever stops a run does not want to wait; it is validated when it goes on.
            self._save(keep=True)
        else:
            row |= self._validate()
        better = not self.stopped and self._remember(row)
        self._teller.epoch({**row, "elapsed_s": time.monotonic() - self._began_s})
        self._epoch, self._batch = self._epoch + 1, 0
        self._loss_of_epoch = self._rows_of_epoch = 0.0
        if not self.stopped and (better or self._due(epoch_over=True)):
            self._save(best=better)

    def _take_step(self, shares: Iterator[Batch]) -> Wishes:
        """One step, noted; what the ranks want to happen after it."""
        spec, began_s = self._spec, time.monotonic()
        batch = next(shares)
        tell = (self.step + 1) % spec.log_every_steps == 0 or self.step + 1 == self._steps
        rate = schedules.rate(spec.learning_rate, spec.schedule, spec.warmup_steps, self.step, self._steps)
        outcome = self.engine.step(batch, rate, self._wishes(), spec.clip_norm, tell=tell)
        if not np.isfinite(outcome.loss):
            self._teller.rest(self.step, self._epoch, time.monotonic() - self._began_s)
            raise TrainingError(
                f"the loss is {outcome.loss} at step {self.step + 1} (epoch {self._epoch + 1}, batch "
                f"{self._batch + 1}); try a smaller learning_rate (now {spec.learning_rate}), and look for extreme "
                "values in the features",
                step=self.step + 1,
                epoch=self._epoch + 1,
                batch=self._batch + 1,
            )
        self._note_step(outcome, rate)
        self._measure(len(batch.target), time.monotonic() - began_s)
        if tell:
            self._teller.step(self.step, self._epoch, time.monotonic() - self._began_s)
        return outcome.wishes

    def _note_step(self, outcome: Outcome, rate: float) -> None:
        self._loss_of_epoch += outcome.loss * outcome.counted
        self._rows_of_epoch += outcome.counted
        self._teller.take(outcome, rate)
        self.step += 1
        self._batch += 1

    def _measure(self, rows: int, took_s: float) -> None:
        """Note a step over so many rows of this rank's; tell now and then what the rank costs and does."""
        if self._meter is None:
            return
        self._meter.note_step(rows, took_s)
        if time.monotonic() - self._measured_s >= MEASURE_EVERY_S:
            self._measured_s = time.monotonic()
            self._channel.send("cost", report=self._meter.read())

    def _wishes(self) -> Wishes:
        return Wishes(self._channel.stopping, self._channel.pauses > self._pauses, self._keeper.wishes)

    def _look(self) -> float:
        """Look, once, whether steps could be quicker; the seconds that it took."""
        assert self._early is not None
        began_s = time.monotonic()
        found = self._early.after_step(self._steps - self.step, self._teller.flush)
        if found is None:
            return 0.0
        if found.pace is not None:
            self._teller.pace(found.pace)
        if found.compiled is not None:
            self._teller.compiled(found.compiled)
        took_s = time.monotonic() - began_s
        self._began_s += took_s
        return took_s

    def _pause(self) -> float:
        """Wait until the run goes on or is stopped, on every rank after the same step; the seconds that it took."""
        began_s = time.monotonic()
        self._pauses += 1
        self._teller.flush()
        if self.engine.rank == 0:
            self._channel.send("paused", step=self.step, number=self._pauses)
        self._channel.wait_resumed(self._pauses)
        took_s = time.monotonic() - began_s
        self._began_s += took_s
        if self.engine.rank == 0:
            self._channel.send("resumed", step=self.step, number=self._pauses)
        return took_s

    def _remember(self, row: dict[str, Any]) -> bool:
        """Note whether this epoch has the lowest validation loss, and keep its weights where they may be wanted."""
        if self._validation is None:
            return False
        self._epochs_since_best += 1
        if self._best_loss is not None and not row["validation_loss"] < self._best_loss:
            return False
        self._best_loss, self._epochs_since_best = row["validation_loss"], 0
        if self._spec.patience is not None:
            self._best_weights = self.engine.copy_weights()
        return True

    def _due(self, *, epoch_over: bool = False) -> bool:
        return self._keeper.due(self.step, wished=self._wanted.save, epoch_over=epoch_over)

    def _save(self, *, best: bool = False, keep: bool = False) -> None:
        """Write a checkpoint, if any are wanted; all ranks do this at the same step. keep: hold it in `state` too."""
        if not self._keeper.begin(self.step, keep=keep):
            return
        engine = self.engine
        state = engine.state()
        if engine.rank != 0:
            return
        self._teller.flush()
        packed = engine.pack(
            {
                "identity": self._identity,
                "step": self.step,
                "position": {name: getattr(self, f"_{name}") for name in _KEPT} | self._teller.position(),
                "elapsed_s": time.monotonic() - self._began_s,
                # The run itself has heard it, and needs it from nobody when it starts again.
                "told": {"steps": [], "epochs": []} if self._keeper.own and not keep else self._teller.told,
                "best_weights": self._best_weights,
                "engine": state,
            }
        )
        self._keeper.put(packed, best=best, keep=keep)

    def _restore(self, state: dict[str, Any]) -> None:
        identity.check(state["identity"], self._identity)
        self._best_weights = state["best_weights"]
        self.step = state["step"]
        for name in _KEPT:
            setattr(self, f"_{name}", state["position"][name])
        self._elapsed_before_s = state["elapsed_s"]
        self._teller.restore(state["position"], state["told"])
        self.engine.restore(state["engine"], self.step)

    def _require_finite(self) -> None:
        # A loss is measured before its step, so it cannot show what the last step did to the weights.
        name = self.engine.not_finite()
        if name is not None:
            raise TrainingError(
                f"the weights {name} are not finite after step {self.step}; try a smaller learning_rate "
                f"(now {self._spec.learning_rate})",
                step=self.step,
            )

    def _validate(self) -> dict[str, float]:
        if self._validation is None:
            return {}
        engine = self.engine
        pieces = self._validation.pieces(engine.rank, engine.ranks, VALIDATION_BATCH)
        figures = engine.validate(pieces, len(self._validation))
        return {f"validation_{name}": value for name, value in figures.items()}
