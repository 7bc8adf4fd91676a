"""Ways to add up the gradients of all ranks in PyTorch: one sum of our own, DistributedDataParallel, FSDP2."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any, Protocol

import torch
import torch.distributed as dist
from torch import Tensor, nn

from lepton_nb.errors import TrainingError
from lepton_nb.training.spec import Parallel
from lepton_nb.training.torch_group import Group

# Up to this size DistributedDataParallel would put all gradients into one bucket (its default) and could send none of
# them while it still computes others; one sum then does the same with less around it.
ONE_BUCKET_BYTES = 25 * 2**20


class Gradients(Protocol):
    """A model whose gradients become those of the whole batch. Every rank calls all of it in the same order."""

    module: Any

    def begin(self) -> None:
        """Before the pieces of a step: no gradient is left over."""
        ...

    def piece(self, *, last: bool) -> contextlib.AbstractContextManager[None]:
        """Around the forward and backward pass of one piece of this rank's share."""
        ...

    def add_up(self, facts: Tensor) -> Tensor:
        """After the last piece: the sum of `facts` (a few numbers) over all ranks, gradients being summed as well."""
        ...

    def norm(self) -> float:
        """The norm of the gradient over all weights."""
        ...

    def scale(self, factor: float) -> None:
        """Multiply the gradient."""
        ...

    # An empty share must take part in the passes of these ways, with rows that count nothing.
    needs_a_pass: bool


def gradients(kind: Parallel, model: nn.Module, group: Group, facts: int) -> Gradients:
    """The way `kind`; "auto" takes the one sum where DistributedDataParallel would need one bucket alone."""
    size = sum(value.numel() * value.element_size() for value in learnt(model))
    if kind == "auto":
        kind = "sum" if group.ranks == 1 or size <= ONE_BUCKET_BYTES else "ddp"
    if group.ranks == 1:
        return Alone(model)
    if kind == "sum":
        return OneSum(model, group, facts)
    return Ddp(model, group) if kind == "ddp" else Fsdp(model, group)


def learnt(model: nn.Module) -> list[nn.Parameter]:
    """The weights that are trained. Raises TrainingError where there are none."""
    found = [value for value in model.parameters() if value.requires_grad]
    if not found:
        raise TrainingError("the model has no weights to train; unfreeze some (requires_grad=True)")
    return found


class Alone:
    """A single rank: gradients are where PyTorch leaves them, and nothing is copied or added to zeros."""

    needs_a_pass = False

    def __init__(self, model: nn.Module) -> None:
        self.module: Any = model
        self._values = learnt(model)

    def begin(self) -> None:
        """No gradient at all."""
        for value in self._values:
            value.grad = None

    def piece(self, *, last: bool) -> contextlib.AbstractContextManager[None]:
        """Nothing special."""
        return contextlib.nullcontext()

    def add_up(self, facts: Tensor) -> Tensor:
        """Nothing to add; a weight that took no part has a gradient of zero, as it has with several ranks."""
        for value in self._values:
            if value.grad is None:
                value.grad = torch.zeros_like(value)
        return facts

    def norm(self) -> float:
        """Over all gradients."""
        return float(nn.utils.get_total_norm([value.grad for value in self._values if value.grad is not None]))

    def scale(self, factor: float) -> None:
        """Each of them."""
        for value in self._values:
            if value.grad is not None:
                value.grad *= factor


class OneSum:
    """All gradients lie in one tensor, with the facts behind them: one sum over ranks a step."""

    needs_a_pass = False

    def __init__(self, model: nn.Module, group: Group, facts: int) -> None:
        self.module: Any = model
        self._group = group
        values = learnt(model)
        size = sum(value.numel() for value in values)
        self._shared = torch.zeros(size + facts, dtype=values[0].dtype, device=values[0].device)
        self._gradient, self._facts = self._shared[:size], self._shared[size:]
        start = 0
        for value in values:
            value.grad = self._shared[start : start + value.numel()].view_as(value)
            start += value.numel()

    def begin(self) -> None:
        """All zero."""
        self._shared.zero_()

    def piece(self, *, last: bool) -> contextlib.AbstractContextManager[None]:
        """Nothing special."""
        return contextlib.nullcontext()

    def add_up(self, facts: Tensor) -> Tensor:
        """One sum over all."""
        self._facts.copy_(facts)
        self._group.sum_(self._shared)
        return self._facts

    def norm(self) -> float:
        """Of the one tensor."""
        return float(torch.linalg.vector_norm(self._gradient))

    def scale(self, factor: float) -> None:
        """The one tensor."""
        self._gradient *= factor


class Ddp:
    """Torch's DistributedDataParallel, which sends gradients while others are still computed."""

    needs_a_pass = True

    def __init__(self, model: nn.Module, group: Group) -> None:
        self._group = group
        self._values = learnt(model)
        self.module: Any = nn.parallel.DistributedDataParallel(
            model,
            device_ids=[group.device.index] if group.device.type == "cuda" and group.device.index is not None else None,
            gradient_as_bucket_view=True,
            forward_sync_buffers=False,
            find_unused_parameters=_some_are_unused(model),
        )
        # Summed and not averaged: each rank has divided by the rows of all of them already.
        # A lambda, as torch refuses annotations that are strings.
        self.module.register_comm_hook(None, lambda _, bucket: _sum_bucket(bucket))

    def begin(self) -> None:
        """All zero."""
        for value in self._values:
            if value.grad is not None:
                value.grad.zero_()

    @contextlib.contextmanager
    def piece(self, *, last: bool) -> Iterator[None]:
        """Sent with the last piece."""
        with contextlib.nullcontext() if last else self.module.no_sync():
            yield

    def add_up(self, facts: Tensor) -> Tensor:
        """A small sum of its own."""
        return self._group.sum_(facts.clone())

    def norm(self) -> float:
        """Over all gradients."""
        return float(nn.utils.get_total_norm([v.grad for v in self._values if v.grad is not None]))

    def scale(self, factor: float) -> None:
        """Each of them."""
        for value in self._values:
            if value.grad is not None:
                value.grad *= factor


class Fsdp:
    """FSDP2: each rank keeps a part of every weight, gradient and optimizer state, and gathers what a pass needs."""

    needs_a_pass = True

    def __init__(self, model: nn.Module, group: Group) -> None:
        from torch.distributed.fsdp import fully_shard

        self._group = group
        for part in model.children():
            if any(value.requires_grad for value in part.parameters()):
                fully_shard(part)
        self.module: Any = fully_shard(model)
        parts: Any = model.modules()
        for part in parts:
            if hasattr(part, "set_gradient_divide_factor"):
                part.set_gradient_divide_factor(1.0)
                part.set_force_sum_reduction_for_comms(True)
        self._values = learnt(model)

    def begin(self) -> None:
        """No gradient at all, which FSDP takes as zero."""
        for value in self._values:
            value.grad = None

    @contextlib.contextmanager
    def piece(self, *, last: bool) -> Iterator[None]:
        """Sent with the last piece."""
        self.module.set_requires_gradient_sync(last)
        yield

    def add_up(self, facts: Tensor) -> Tensor:
        """A small sum of its own."""
        return self._group.sum_(facts.clone())

    def norm(self) -> float:
        """Over the parts of all ranks."""
        total: Any = nn.utils.get_total_norm([v.grad for v in self._values if v.grad is not None])
        return float(total.full_tensor() if hasattr(total, "full_tensor") else total)

    def scale(self, factor: float) -> None:
        """Each part."""
        for value in self._values:
            if value.grad is not None:
                value.grad *= factor


def _sum_bucket(bucket: Any) -> Any:
    work = dist.all_reduce(bucket.buffer(), async_op=True)
    return work.get_future().then(lambda done: done.value()[0])


def _some_are_unused(model: nn.Module) -> bool:
    """Whether the model says that a pass may leave some weights out."""
    return bool(getattr(model, "find_unused_parameters", False))
