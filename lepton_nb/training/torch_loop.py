"""The training loop of one PyTorch rank."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from lepton_nb.errors import TrainingError
from lepton_nb.training import schedules, torch_setup, torch_state
from lepton_nb.training.channel import Channel
from lepton_nb.training.checkpoint import Store
from lepton_nb.training.sharding import epoch_order, shard, steps_per_epoch
from lepton_nb.training.spec import Task, TrainingSpec
from lepton_nb.training.torch_group import Group
from lepton_nb.training.torch_loss import figure_sum, fitting, loss_sum
from lepton_nb.training.torch_rows import ClassWeights, Table

SEND_EVERY_S = 0.2
VALIDATION_BATCH = 8192
# What a checkpoint holds of a loop, by name.
_KEPT = (
    "epoch", "batch", "loss_of_epoch", "rows_of_epoch", "loss_since", "rows_since", "best_loss", "epochs_since_best",
)  # fmt: skip


class Loop:
    """Trains `model` on this rank's share of every global batch, in step with the other ranks."""

    def __init__(self, job: dict[str, Any], folder: Path, group: Group, channel: Channel) -> None:
        self._spec: TrainingSpec = job["spec"]
        self._group = group
        self._channel = channel
        self.step = 0
        self.stopped = False
        self._dtype = getattr(torch, self._spec.precision)
        self._train = Table(folder, "train", group.device, self._dtype)
        has_validation = (folder / "validation_features.npy").exists()
        self._validation = Table(folder, "validation", group.device, self._dtype) if has_validation else None
        self.model = torch_setup.build(job["model"], job["features"], self._spec, group)
        self.task: Task = torch_setup.settle_task(self.model, self._spec, self._train, self._validation)
        # Each rank draws its own noise (dropout), whatever the model's builder did with the generator.
        torch.manual_seed(self._spec.seed * 100_003 + group.rank)
        # Every gradient, then the loss and the wish to stop.
        self._gradients = torch_setup.shared_gradients(self.model, 2)
        self._optimizer = torch_setup.make_optimizer(self.model, self._spec)
        wanted = self._spec.class_weights
        self._weights: ClassWeights | None = None
        if wanted is not None:
            self._weights = ClassWeights(wanted, self._train.target_values, self.task, self._gradients)
        self._steps = self._spec.total_steps(len(self._train))
        self._best_loss: float | None = None
        self._best_weights: dict[str, Tensor] | None = None
        self._epochs_since_best = 0
        self._gradient_norm = 0.0
        # Loss and rows (or what they count) since the last row of `run.steps`, which need not end with an epoch.
        self._loss_since = 0.0
        self._rows_since = 0.0
        self._unsent: list[dict[str, Any]] = []
        self._sent_s = time.monotonic()
        # The epoch, the batch within it, and that epoch's loss and what it counts so far.
        self._epoch = self._batch = 0
        self._loss_of_epoch = self._rows_of_epoch = 0.0
        # What was told so far, as a checkpoint holds it; and up to which step one was written.
        self._told: dict[str, list[dict[str, Any]]] = {"steps": [], "epochs": []}
        self._saved_step = -1
        self._elapsed_before_s = 0.0
        self._identity = torch_state.identity(self._spec, self.model, job["features"], self._train.target_values)
        if (folder / "resume.npy").exists():
            self._restore(torch_state.unpacked(np.load(folder / "resume.npy").tobytes()))
        self._store: Store | None = None
        if self._spec.checkpoint is not None and group.rank == 0:
            self._store = Store(Path(self._spec.checkpoint), self._spec.keep_checkpoints)

    def run(self) -> None:
        """All epochs, or up to the step at which the ranks agree to stop."""
        self._channel.send("ready", task=self.task, rows=len(self._train), threads=torch.get_num_threads())
        self._began_s = time.monotonic() - self._elapsed_before_s
        self._tell_again()
        while not self.stopped and not self._finished:
            self._run_epoch()
        if self.step != self._saved_step:
            self._save()
        if self._best_weights is not None and not self.stopped:
            self.model.load_state_dict(self._best_weights)
        self._flush()

    @property
    def _finished(self) -> bool:
        # A run that was stopped with the last step of an epoch has still to end that epoch.
        between = self._batch < steps_per_epoch(len(self._train), self._spec.batch_size)
        return between and (self.step >= self._steps or self._epochs_since_best == self._spec.patience)

    def _run_epoch(self) -> None:
        """From where it is to the end of the epoch, or of the run."""
        self.model.train()
        began_s = time.monotonic()
        order = torch.from_numpy(epoch_order(len(self._train), self._spec.seed, self._epoch))
        batches = steps_per_epoch(len(self._train), self._spec.batch_size)
        before = self._batch
        while self._batch < batches:
            if self.step == self._steps:
                self._require_finite()
                return
            rows = order[self._batch * self._spec.batch_size : (self._batch + 1) * self._spec.batch_size]
            counted = float(len(rows)) if self._weights is None else self._weights.sum(rows)
            loss, stop = self._take_step(rows, counted)
            self._loss_of_epoch += loss * counted
            self._rows_of_epoch += counted
            self._loss_since += loss * counted
            self._rows_since += counted
            self.step += 1
            self._batch += 1
            if self.step % self._spec.log_every_steps == 0:
                self._note(self._epoch)
            self.stopped = stop
            if stop and self._batch < batches:
                self._require_finite()
                return
            if self._batch < batches and self._due():
                self._save()
        self._require_finite()
        taken = min((batches - before) * self._spec.batch_size, len(self._train))
        row = {
            "epoch": self._epoch + 1,
            "step": self.step,
            "loss": self._loss_of_epoch / self._rows_of_epoch,
            # Null where an epoch was gone on with after its last step.
            "rows_per_s": taken / (time.monotonic() - began_s) if taken else None,
        }
        if self.stopped:
            # Whoever stops a run does not want to wait; it is validated when it goes on.
            self._save()
        else:
            row |= self._validate()
        better = not self.stopped and self._remember(row)
        self._flush()
        self._tell_epoch({**row, "elapsed_s": time.monotonic() - self._began_s})
        self._epoch, self._batch = self._epoch + 1, 0
        self._loss_of_epoch = self._rows_of_epoch = 0.0
        if not self.stopped and (better or self._spec.checkpoint_every_steps is None or self._due()):
            self._save(best=better)

    def _tell_epoch(self, row: dict[str, Any]) -> None:
        if self._group.rank == 0:
            self._told["epochs"].append(row)
            self._channel.send("epoch", row=row)

    def _remember(self, row: dict[str, Any]) -> bool:
        """Note whether this epoch has the lowest validation loss, and keep its weights where they may be wanted."""
        if self._validation is None:
            return False
        self._epochs_since_best += 1
        if self._best_loss is not None and not row["validation_loss"] < self._best_loss:
            return False
        self._best_loss, self._epochs_since_best = row["validation_loss"], 0
        if self._spec.patience is not None:
            self._best_weights = {name: value.detach().clone() for name, value in self.model.state_dict().items()}
        return True

    def _due(self) -> bool:
        every = self._spec.checkpoint_every_steps
        return every is not None and self.step % every == 0

    def _save(self, *, best: bool = False) -> None:
        """Write a checkpoint, if any are wanted; all ranks do this at the same step."""
        if self._spec.checkpoint is None:
            return
        random = torch_state.random_states(self._group)
        self._saved_step = self.step
        if self._store is None:
            return
        self._flush()
        state = {
            "identity": self._identity,
            "step": self.step,
            "position": {name: getattr(self, f"_{name}") for name in _KEPT},
            "elapsed_s": time.monotonic() - self._began_s,
            "random": random,
            "told": self._told,
            "best_weights": self._best_weights,
            "model": self.model.state_dict(),
            "optimizer": self._optimizer.state_dict(),
        }
        self._store.save(self.step, torch_state.packed(state), best=best)

    def _restore(self, state: dict[str, Any]) -> None:
        torch_state.check(state["identity"], self._identity)
        self.model.load_state_dict(state["model"])
        settings = [{**group, "params": None} for group in self._optimizer.param_groups]
        self._optimizer.load_state_dict(state["optimizer"])
        # Its settings may have changed on the way; its memory goes on.
        for group, setting in zip(self._optimizer.param_groups, settings, strict=True):
            group |= {name: value for name, value in setting.items() if name != "params"}
        self._best_weights = state["best_weights"]
        self.step = self._saved_step = state["step"]
        for name in _KEPT:
            setattr(self, f"_{name}", state["position"][name])
        self._elapsed_before_s = state["elapsed_s"]
        self._told = state["told"]
        torch_state.set_random_state(state["random"], self._group, self._spec.seed, self.step)

    def _tell_again(self) -> None:
        """What the run told before it was gone on with."""
        if self._group.rank == 0:
            if self._told["steps"]:
                self._channel.send("steps", rows=self._told["steps"])
            for row in self._told["epochs"]:
                self._channel.send("epoch", row=row)

    def _take_step(self, rows: Tensor, counted: float) -> tuple[float, bool]:
        """One step on the global batch `rows`: its mean loss before the step, and whether the ranks stop now."""
        shared = self._gradients
        shared.zero_()
        mine = rows[shard(len(rows), self._group.rank, self._group.ranks)]
        for piece in mine.tensor_split(self._spec.accumulation):
            if not len(piece):
                continue
            features, target = self._train.take(piece)
            # Each rank divides by the rows of all of them, so that the sum over ranks is the mean's gradient.
            output, wanted = fitting(self.model(features), target, self.task)
            weights = None if self._weights is None else self._weights.of(target)
            loss = loss_sum(output, wanted, self.task, weights) / counted
            loss.backward()  # type: ignore[no-untyped-call]
            shared[-2] += loss.detach()
        if self._channel.stopping:
            shared[-1] = 1
        mean, stops = self._group.sum_(shared)[-2:].tolist()
        if not np.isfinite(mean):
            raise TrainingError(
                f"the loss is {mean} at step {self.step + 1}; try a smaller learning_rate "
                f"(now {self._spec.learning_rate}), and look for extreme values in the features",
                step=self.step + 1,
            )
        self._clip(shared[:-2])
        rate = schedules.rate(
            self._spec.learning_rate, self._spec.schedule, self._spec.warmup_steps, self.step, self._steps
        )
        for part in self._optimizer.param_groups:
            part["lr"] = rate
        self._optimizer.step()
        return mean, stops > 0

    def _clip(self, gradient: Tensor) -> None:
        """Shorten the gradient to `clip_norm`; its norm before is told with the step."""
        limit = self._spec.clip_norm
        told = (self.step + 1) % self._spec.log_every_steps == 0
        if limit is None and not told:
            return
        self._gradient_norm = float(torch.linalg.vector_norm(gradient))
        if limit is not None and self._gradient_norm > limit:
            gradient *= limit / self._gradient_norm

    def _require_finite(self) -> None:
        # A loss is measured before its step, so it cannot show what the last step did to the weights.
        for name, value in self.model.named_parameters():
            if not torch.isfinite(value).all():
                raise TrainingError(
                    f"the weights {name} are not finite after step {self.step}; try a smaller learning_rate "
                    f"(now {self._spec.learning_rate})",
                    step=self.step,
                )

    def _validate(self) -> dict[str, float]:
        if self._validation is None:
            return {}
        self.model.eval()
        part = shard(len(self._validation), self._group.rank, self._group.ranks)
        sums = torch.zeros(2, dtype=torch.float64, device=self._group.device)
        with torch.no_grad():
            for start in range(part.start, part.stop, VALIDATION_BATCH):
                features, target = self._validation.span(start, min(start + VALIDATION_BATCH, part.stop))
                output, wanted = fitting(self.model(features), target, self.task)
                sums[0] += loss_sum(output, wanted, self.task)
                sums[1] += figure_sum(output, wanted, self.task)
        loss, figure = (self._group.sum_(sums) / len(self._validation)).tolist()
        name = "validation_mae" if self.task == "regression" else "validation_accuracy"
        return {"validation_loss": loss, name: figure}

    def _note(self, epoch: int) -> None:
        now_s = time.monotonic()
        loss = self._loss_since / self._rows_since
        self._loss_since, self._rows_since = 0.0, 0.0
        self._unsent.append(
            {
                "step": self.step,
                "epoch": epoch + 1,
                "loss": loss,
                "gradient_norm": self._gradient_norm,
                "learning_rate": self._optimizer.param_groups[0]["lr"],
                "elapsed_s": now_s - self._began_s,
            }
        )
        if now_s - self._sent_s >= SEND_EVERY_S:
            self._flush()

    def _flush(self) -> None:
        if self._unsent and self._group.rank == 0:
            self._channel.send("steps", rows=self._unsent)
            if self._spec.checkpoint is not None:
                self._told["steps"] += self._unsent
        self._unsent = []
        self._sent_s = time.monotonic()
