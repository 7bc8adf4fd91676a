"""The training loop of one PyTorch rank."""

from __future__ import annotations

import itertools
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from lepton_nb.errors import TrainingError
from lepton_nb.training import models, schedules
from lepton_nb.training.channel import Channel
from lepton_nb.training.sharding import epoch_order, shard, steps_per_epoch
from lepton_nb.training.spec import Task, TrainingSpec
from lepton_nb.training.tasks import check_target, output_width, resolve_task
from lepton_nb.training.torch_group import Group
from lepton_nb.training.torch_loss import figure_sum, fitting, loss_sum

SEND_EVERY_S = 0.2
VALIDATION_BATCH = 8192


class Table:
    """The rows of one part ("train" or "validation"), mapped from the files that the ranks of a host share."""

    def __init__(self, folder: Path, part: str, device: torch.device, dtype: torch.dtype) -> None:
        # Mode "c" maps privately: torch wants memory that it may write to, and nobody does.
        self.target_values = np.load(folder / f"{part}_target.npy", mmap_mode="c")
        self._features = torch.from_numpy(np.load(folder / f"{part}_features.npy", mmap_mode="c"))
        self._target = torch.from_numpy(self.target_values)
        self._device = device
        self._dtype = dtype

    def __len__(self) -> int:
        return len(self._target)

    def take(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Features and target of `rows` (indices), on the device."""
        return self._move(self._features.index_select(0, rows)), self._move(self._target.index_select(0, rows))

    def span(self, start: int, stop: int) -> tuple[Tensor, Tensor]:
        """Features and target of the rows from `start` to before `stop`."""
        return self._move(self._features[start:stop]), self._move(self._target[start:stop])

    def _move(self, values: Tensor) -> Tensor:
        return values.to(device=self._device, dtype=self._dtype)


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
        self.model = self._build(job["model"], job["features"])
        self.task: Task = self._settle_task()
        # Each rank draws its own noise (dropout), whatever the model's builder did with the generator.
        torch.manual_seed(self._spec.seed * 100_003 + group.rank)
        self._weights = self._class_weights()
        self._gradients = self._share_memory()
        self._optimizer = self._make_optimizer()
        self._steps = self._spec.total_steps(len(self._train))
        self._best: tuple[float, dict[str, Tensor]] | None = None
        self._epochs_since_best = 0
        self._gradient_norm = 0.0
        # Loss and rows (or what they count) since the last row of `run.steps`, which need not end with an epoch.
        self._loss_since = 0.0
        self._rows_since = 0.0
        self._unsent: list[dict[str, Any]] = []
        self._sent_s = time.monotonic()

    def run(self) -> None:
        """All epochs, or up to the step at which the ranks agree to stop."""
        self._channel.send("ready", task=self.task, rows=len(self._train), threads=torch.get_num_threads())
        self._began_s = time.monotonic()
        for epoch in itertools.count():
            self._run_epoch(epoch)
            if self.stopped or self.step == self._steps or self._epochs_since_best == self._spec.patience:
                break
        if self._best is not None and not self.stopped:
            self.model.load_state_dict(self._best[1])
        self._flush()

    def _build(self, model: Any, features: int) -> nn.Module:
        built = models.build(model, features, self._spec.seed).to(self._group.device, self._dtype)
        if self._group.ranks > 1:
            for name, part in built.named_modules():
                if isinstance(part, nn.modules.batchnorm._BatchNorm):
                    raise TrainingError(
                        f"the layer {name} ({type(part).__name__}) would see each worker's rows alone, so the result "
                        "would depend on their number; use LayerNorm or GroupNorm instead, or workers=1",
                        layer=name,
                    )
        with torch.no_grad():
            for value in (*built.parameters(), *built.buffers()):
                self._group.share_(value.detach())
        return built

    def _settle_task(self) -> Task:
        features, _ = self._train.span(0, min(2, len(self._train)))
        self.model.eval()
        try:
            with torch.no_grad():
                output = self.model(features)
        except Exception as error:
            raise TrainingError(
                f"the model cannot take a batch of the shape {tuple(features.shape)} (rows, features): {error}"
            ) from error
        if not isinstance(output, Tensor):
            raise TrainingError(f"the model returns a {type(output).__name__}; return one tensor (rows, outputs)")
        task = resolve_task(self._spec.loss, tuple(output.shape), self._train.target_values)
        if self._validation is not None:
            width = output_width(tuple(output.shape))
            check_target(task, self._validation.target_values, width, "the validation data's target")
        return task

    def _share_memory(self) -> Tensor:
        """One tensor that holds every gradient, then the loss and the wish to stop: one sum over ranks a step."""
        learnt = [value for value in self.model.parameters() if value.requires_grad]
        if not learnt:
            raise TrainingError("the model has no weights to train; unfreeze some (requires_grad=True)")
        size = sum(value.numel() for value in learnt)
        shared = torch.zeros(size + 2, dtype=self._dtype, device=self._group.device)
        start = 0
        for value in learnt:
            value.grad = shared[start : start + value.numel()].view_as(value)
            start += value.numel()
        return shared

    def _make_optimizer(self) -> torch.optim.Optimizer:
        spec = self._spec
        learnt = [value for value in self.model.parameters() if value.requires_grad]
        kind = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW, "sgd": torch.optim.SGD}[spec.optimizer]
        momentum = {"momentum": spec.momentum} if spec.optimizer == "sgd" else {}
        optimizer: torch.optim.Optimizer = kind(
            learnt, lr=spec.learning_rate, weight_decay=spec.weight_decay, fused=True, **momentum
        )
        return optimizer

    def _class_weights(self) -> Tensor | None:
        """What a row of each class counts; the same on every rank, as all of them see all targets."""
        wanted = self._spec.class_weights
        if wanted is None:
            return None
        if self.task == "regression":
            raise TrainingError("class_weights are for classes, and this is a regression; leave them out")
        counts = np.bincount(self._train.target_values.astype(np.int64))
        if wanted == "balanced":
            found = len(self._train) / (np.count_nonzero(counts) * np.maximum(counts, 1))
        else:
            missing = [number for number in np.flatnonzero(counts).tolist() if number not in wanted]
            if missing:
                raise TrainingError(
                    f"class_weights has no weight for class {missing[0]}, which the training rows hold; add it",
                    missing=missing[0],
                )
            found = np.array([float(wanted.get(number, 1.0)) for number in range(len(counts))])
        return torch.tensor(found, dtype=self._dtype, device=self._group.device)

    def _counted(self, rows: Tensor) -> float:
        """What a batch's rows count together: as many as they are, without class weights."""
        if self._weights is None:
            return float(len(rows))
        classes = torch.from_numpy(self._train.target_values[rows.numpy()].astype(np.int64))
        return float(self._weights[classes.to(self._weights.device)].double().sum())

    def _run_epoch(self, epoch: int) -> None:
        self.model.train()
        began_s = time.monotonic()
        order = torch.from_numpy(epoch_order(len(self._train), self._spec.seed, epoch))
        total = whole = 0.0
        batches = steps_per_epoch(len(self._train), self._spec.batch_size)
        for batch in range(batches):
            if self.step == self._steps:
                self._require_finite()
                return
            rows = order[batch * self._spec.batch_size : (batch + 1) * self._spec.batch_size]
            counted = self._counted(rows)
            loss, stop = self._take_step(rows, counted)
            total += loss * counted
            whole += counted
            self._loss_since += loss * counted
            self._rows_since += counted
            self.step += 1
            if self.step % self._spec.log_every_steps == 0:
                self._note(epoch)
            self.stopped = stop
            if stop and batch + 1 < batches:
                self._require_finite()
                return
        self._require_finite()
        spent_s = time.monotonic() - began_s
        row = {
            "epoch": epoch + 1,
            "step": self.step,
            "loss": total / whole,
            "rows_per_s": len(self._train) / spent_s,
            # Whoever stops a run does not want to wait.
            **({} if self.stopped else self._validate()),
        }
        if not self.stopped:
            self._remember(row)
        self._flush()
        if self._group.rank == 0:
            self._channel.send("epoch", row={**row, "elapsed_s": time.monotonic() - self._began_s})

    def _remember(self, row: dict[str, Any]) -> None:
        """Keep the weights of the epoch with the lowest validation loss, where they may be wanted."""
        if self._spec.patience is None:
            return
        loss = row["validation_loss"]
        self._epochs_since_best += 1
        if self._best is None or loss < self._best[0]:
            self._best = loss, {name: value.detach().clone() for name, value in self.model.state_dict().items()}
            self._epochs_since_best = 0

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
            weights = None if self._weights is None else self._weights[target.long()]
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
        self._unsent = []
        self._sent_s = time.monotonic()
