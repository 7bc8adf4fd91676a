"""The training loop of one PyTorch rank."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from lepton_nb.errors import TrainingError
from lepton_nb.training import models
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
        self._gradients = self._share_memory()
        self._optimizer = self._make_optimizer()
        # Loss and rows since the last row of `run.steps`, which need not end with an epoch.
        self._loss_since = 0.0
        self._rows_since = 0
        self._unsent: list[dict[str, Any]] = []
        self._sent_s = time.monotonic()

    def run(self) -> None:
        """All epochs, or up to the step at which the ranks agree to stop."""
        self._channel.send("ready", task=self.task, rows=len(self._train), threads=torch.get_num_threads())
        self._began_s = time.monotonic()
        for epoch in range(self._spec.epochs):
            self._run_epoch(epoch)
            if self.stopped:
                break
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
        optimizer: torch.optim.Optimizer = kind(
            learnt, lr=spec.learning_rate, weight_decay=spec.weight_decay, fused=True
        )
        return optimizer

    def _run_epoch(self, epoch: int) -> None:
        self.model.train()
        began_s = time.monotonic()
        order = torch.from_numpy(epoch_order(len(self._train), self._spec.seed, epoch))
        total = 0.0
        for batch in range(steps_per_epoch(len(self._train), self._spec.batch_size)):
            rows = order[batch * self._spec.batch_size : (batch + 1) * self._spec.batch_size]
            loss, stop = self._take_step(rows)
            total += loss * len(rows)
            self._loss_since += loss * len(rows)
            self._rows_since += len(rows)
            self.step += 1
            if self.step % self._spec.log_every_steps == 0:
                self._note(epoch)
            if stop:
                self._require_finite()
                self.stopped = True
                return
        self._require_finite()
        spent_s = time.monotonic() - began_s
        row = {
            "epoch": epoch + 1,
            "step": self.step,
            "loss": total / len(self._train),
            "rows_per_s": len(self._train) / spent_s,
            **self._validate(),
        }
        self._flush()
        if self._group.rank == 0:
            self._channel.send("epoch", row={**row, "elapsed_s": time.monotonic() - self._began_s})

    def _take_step(self, rows: Tensor) -> tuple[float, bool]:
        """One step on the global batch `rows`: its mean loss before the step, and whether the ranks stop now."""
        shared = self._gradients
        shared.zero_()
        mine = rows[shard(len(rows), self._group.rank, self._group.ranks)]
        if len(mine):
            features, target = self._train.take(mine)
            # Each rank divides by the rows of all of them, so that the sum over ranks is the mean's gradient.
            output, wanted = fitting(self.model(features), target, self.task)
            loss = loss_sum(output, wanted, self.task) / len(rows)
            loss.backward()  # type: ignore[no-untyped-call]
            shared[-2] = loss.detach()
        if self._channel.stopping:
            shared[-1] = 1
        mean, stops = self._group.sum_(shared)[-2:].tolist()
        if not np.isfinite(mean):
            raise TrainingError(
                f"the loss is {mean} at step {self.step + 1}; try a smaller learning_rate "
                f"(now {self._spec.learning_rate}), and look for extreme values in the features",
                step=self.step + 1,
            )
        self._optimizer.step()
        return mean, stops > 0

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
        self._loss_since, self._rows_since = 0.0, 0
        self._unsent.append({"step": self.step, "epoch": epoch + 1, "loss": loss, "elapsed_s": now_s - self._began_s})
        if now_s - self._sent_s >= SEND_EVERY_S:
            self._flush()

    def _flush(self) -> None:
        if self._unsent and self._group.rank == 0:
            self._channel.send("steps", rows=self._unsent)
        self._unsent = []
        self._sent_s = time.monotonic()
