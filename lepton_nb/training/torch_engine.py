"""The training loop's engine for PyTorch: one rank's module, optimizer and place in the group."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor

from lepton_nb.errors import TrainingError
from lepton_nb.training import tokens, torch_compiled, torch_setup, torch_state
from lepton_nb.training.batches import Array, Batch
from lepton_nb.training.engine import FIGURE, Outcome, Wishes, other_rows
from lepton_nb.training.spec import Task, TrainingSpec
from lepton_nb.training.torch_group import Group
from lepton_nb.training.torch_loss import figure_sum, fitting, loss_sum
from lepton_nb.training.torch_metrics import Metrics
from lepton_nb.training.torch_parallel import gradients, learnt

# The loss, what the batch counts, and the wishes.
_FACTS = 2 + len(Wishes._fields)


class TorchEngine:
    """See `Engine`. The module's weights are those of rank 0 on every rank."""

    def __init__(self, model: Any, shape: tuple[int, ...], spec: TrainingSpec, group: Group) -> None:
        self._spec = spec
        self._group = group
        self.rank, self.ranks = group.rank, group.ranks
        self._dtype = torch_setup.dtype_of(spec.precision)
        self.model = torch_setup.build(model, shape, spec, group)
        # After the model's own code, which may have chosen.
        self.threads = torch.get_num_threads()
        # FSDP2 must gather the weights for every pass.
        self.can_rehearse = spec.parallel != "fsdp"
        self.can_compile = spec.parallel != "fsdp" and torch_compiled.possible(self.model, group.device)
        self._switch: torch_compiled.Switch | None = None

    @property
    def gradients(self) -> int:
        """Of all weights that are trained."""
        return sum(value.numel() for value in learnt(self.model))

    def output_shape(self, features: Array) -> tuple[int, ...]:
        """The shape of the model's output."""
        self.model.eval()
        rows = self._move(features)
        try:
            with torch.no_grad():
                output = self.model(rows)
        except Exception as error:
            outside = tokens.told(error)
            if outside is not None:
                raise outside from error
            takes = torch_setup.width(self.model, rows)
            if takes is not None:
                raise other_rows((takes,), (rows[0].numel(),)) from error
            raise TrainingError(
                f"the model cannot take a batch of the shape {tuple(rows.shape)} (rows, features): {error}"
            ) from error
        if not isinstance(output, Tensor):
            raise TrainingError(f"the model returns a {type(output).__name__}; return one tensor (rows, outputs)")
        return tuple(output.shape)

    def begin(self, task: Task, weights: Array | None, target: tuple[int, ...]) -> None:
        """Optimizer, gradients, and this rank's own noise (dropout), whatever the builder did with the generator."""
        self._task = task
        self._weights = None if weights is None else torch.tensor(weights, dtype=self._dtype, device=self._device)
        torch.manual_seed(self._spec.seed * 100_003 + self.rank)
        self._gradients = gradients(self._spec.parallel, self.model, self._group, _FACTS)
        self._optimizer = torch_setup.make_optimizer(self.model, self._spec)

    def step(self, batch: Batch, rate: float, wishes: Wishes, clip_norm: float | None, *, tell: bool) -> Outcome:
        """Forward, backward, one sum over all ranks, and the optimizer's step."""
        if not self.model.training:
            self.model.train()
        self._gradients.begin()
        facts = torch.tensor([0.0, 0.0, *wishes], dtype=self._dtype, device=self._device)
        self._pass(batch, facts, together=True)
        mean, counts, *together = self._gradients.add_up(facts).tolist()
        if self._weights is None:
            counts = 1.0
        else:
            mean /= counts
            self._gradients.scale(1 / counts)
        norm = None
        if tell or clip_norm is not None:
            norm = self._gradients.norm()
            if clip_norm is not None and norm > clip_norm:
                self._gradients.scale(clip_norm / norm)
        if np.isfinite(mean):
            for part in self._optimizer.param_groups:
                part["lr"] = rate
            self._optimizer.step()
        return Outcome(mean, counts * batch.rows, Wishes(*(value > 0 for value in together)), norm)

    def _pass(self, batch: Batch, facts: Tensor, *, together: bool) -> None:
        """Forward and backward over this rank's share; its loss and what it counts are added to `facts`."""
        pieces = self._pieces(batch)
        for number, (features, target) in enumerate(pieces):
            with self._gradients.piece(last=together and number == len(pieces) - 1):
                with self._mixed():
                    output = self._gradients.module(features)
                output, wanted = fitting(output.to(self._dtype), target, self._task)
                weights = None if self._weights is None else self._weights[wanted.long()]
                # Each rank divides by the rows of all of them, so that the sum over ranks is the mean's gradient.
                share = len(wanted) / max(len(target), 1) * batch.rows
                mine = loss_sum(output, wanted, self._task, weights) / share
                if not len(batch.target):
                    mine = mine * 0
                mine.backward()  # type: ignore[no-untyped-call]
                facts[0] += mine.detach()
                if weights is not None and len(batch.target):
                    facts[1] += weights.sum() / share

    @contextlib.contextmanager
    def rehearsed(self, batch: Batch, threads: int) -> Iterator[Callable[[], None]]:
        """A pass without the sum; noise and buffers are put back, and every step begins with its gradient at zero."""
        noise = torch_state.noise(self._device)
        buffers = [(value, value.clone()) for value in self.model.buffers()]
        before = self.model.training
        self.model.train()
        torch.set_num_threads(threads)
        facts = torch.zeros(_FACTS, dtype=self._dtype, device=self._device)

        def act() -> None:
            self._gradients.begin()
            self._pass(batch, facts, together=False)
            facts.tolist()  # waits for the device

        try:
            yield act
        finally:
            torch.set_num_threads(self.threads)
            self.model.train(before)
            torch_state.put_noise(noise, self._device)
            for value, kept in buffers:
                value.copy_(kept)
            self._gradients.begin()

    def compile(self, batch: Batch | None) -> None:
        """By torch.compile; the sizes of the pieces of `batch`."""
        if self._switch is None:
            self._switch = torch_compiled.Switch(self.model)
        if batch is None:
            self._switch.off()
        else:
            self._switch.on({len(features) for features, _ in self._pieces(batch)})

    def rehearsed_sum(self, numbers: int) -> Callable[[], None]:
        """Of the type of the weights."""
        values = torch.zeros(numbers, dtype=self._dtype, device=self._device)

        def act() -> None:
            self._group.sum_(values)[0].item()  # waits for the device

        return act

    def add_up(self, values: Array) -> Array:
        """Over the group, in 64 bits."""
        found: Array = self._group.sum_(torch.tensor(values, dtype=torch.float64, device=self._device)).cpu().numpy()
        return found

    def validate(self, pieces: Iterator[tuple[Array, Array]], rows: int) -> dict[str, float]:
        """Sums over all rows of all ranks, divided."""
        self.model.eval()
        metrics = Metrics(self._spec.metrics, self._task, self._device)
        sums = torch.zeros(2, dtype=torch.float64, device=self._device)
        with torch.no_grad():
            for features, target in pieces:
                moved = self._move(target)
                with self._mixed():
                    output = self._gradients.module(self._move(features))
                output, wanted = fitting(output.to(self._dtype), moved, self._task)
                values = len(wanted) // max(len(moved), 1)
                sums[0] += loss_sum(output, wanted, self._task) / values
                sums[1] += figure_sum(output, wanted, self._task) / values
                metrics.take(output, wanted)
        loss, figure = (self._group.sum_(sums) / rows).tolist()
        return {"loss": loss, FIGURE[self._task]: figure, **metrics.together(self._group)}

    def not_finite(self) -> str | None:
        """The first such weight."""
        for name, value in self.model.named_parameters():
            if not torch.isfinite(torch_state.local(value)).all():
                return name
        return None

    def copy_weights(self) -> dict[str, Tensor]:
        """Whole on rank 0, and on every rank but with FSDP2."""
        return {name: value.detach().clone() for name, value in torch_state.weights(self.model).items()}

    def put_weights(self, weights: dict[str, Tensor]) -> None:
        """What rank 0 has counts where FSDP2 has dealt the weights out."""
        torch_state.put_weights(self.model, weights)

    def identity(self) -> dict[str, Any]:
        """The shapes of all weights."""
        shapes = {name: list(value.shape) for name, value in self.model.state_dict().items()}
        return {"framework": "torch", "weights": shapes}

    def state(self) -> dict[str, Any]:
        """Weights, optimizer and the random states of all ranks."""
        return {
            "random": torch_state.random_states(self._group),
            "model": torch_state.weights(self.model),
            "optimizer": torch_state.optimizer(self.model, self._optimizer),
        }

    def restore(self, state: dict[str, Any], step: int) -> None:
        """Weights, the optimizer's memory with today's settings, and random states."""
        torch_state.put_weights(self.model, state["model"])
        torch_state.put_optimizer(self.model, self._optimizer, state["optimizer"])
        torch_state.set_random_state(state["random"], self._group, self._spec.seed, step)

    def pack(self, values: dict[str, Any]) -> bytes:
        """In the form of torch.save."""
        return torch_state.packed(values)

    def unpack(self, content: bytes) -> dict[str, Any]:
        """With weights_only."""
        return torch_state.unpacked(content)

    def weights_file(self) -> bytes:
        """The state dict, on the CPU."""
        found = {name: value.detach().cpu() for name, value in torch_state.weights(self.model).items()}
        buffer = io.BytesIO()
        torch.save(found, buffer)
        return buffer.getvalue()

    @property
    def _device(self) -> torch.device:
        return self._group.device

    def _move(self, values: Array) -> Tensor:
        return torch.from_numpy(values).to(device=self._device, dtype=self._dtype)

    def _pieces(self, batch: Batch) -> list[tuple[Tensor, Tensor]]:
        """This rank's share in `accumulation` parts; where it is empty, what a pass needs nevertheless."""
        features, target = self._move(batch.features), self._move(batch.target)
        if not len(target):
            if not self._gradients.needs_a_pass:
                return []
            # One row of zeros, which counts nothing.
            return [(features.new_zeros(1, *features.shape[1:]), target.new_zeros(1, *target.shape[1:]))]
        parts = self._spec.accumulation
        if parts == 1:
            return [(features, target)]
        both = zip(features.tensor_split(parts), target.tensor_split(parts), strict=True)
        return [(part, wanted) for part, wanted in both if len(wanted)]

    def _mixed(self) -> contextlib.AbstractContextManager[Any]:
        if self._spec.precision != "mixed_bfloat16":
            return contextlib.nullcontext()
        return torch.autocast(self._device.type, torch.bfloat16)
