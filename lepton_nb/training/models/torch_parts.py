"""The described models in PyTorch: no control flow that depends on data, so that they can be traced and exported."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from lepton_nb.training.models import shapes
from lepton_nb.training.models.descriptions import Convolutional, MultilayerPerceptron, Recurrent, Transformer
from lepton_nb.training.models.options import Activation
from lepton_nb.training.spec import Precision

_ACTIVATIONS: dict[Activation, type[nn.Module]] = {
    "relu": nn.ReLU,
    "gelu": nn.GELU,
    "silu": nn.SiLU,
    "tanh": nn.Tanh,
}


def multilayer_perceptron(told: MultilayerPerceptron, shape: shapes.Shape, dtype: Precision) -> nn.Module:
    """A torch.nn.Sequential."""
    layers: list[nn.Module] = [nn.Flatten()] if len(shape) > 1 else []
    width = math.prod(shape)
    for size in told.hidden:
        layers += [nn.Linear(width, size), _ACTIVATIONS[told.activation]()]
        if told.dropout:
            layers.append(nn.Dropout(told.dropout))
        width = size
    return nn.Sequential(*layers, nn.Linear(width, told.outputs)).to(getattr(torch, dtype))


def convolutional(told: Convolutional, shape: shapes.Shape, dtype: Precision) -> nn.Module:
    """A ConvolutionalNetwork."""
    return ConvolutionalNetwork(told, shape).to(getattr(torch, dtype))


def recurrent(told: Recurrent, shape: shapes.Shape, dtype: Precision) -> nn.Module:
    """A RecurrentNetwork."""
    return RecurrentNetwork(told, shape).to(getattr(torch, dtype))


def transformer(told: Transformer, shape: shapes.Shape, dtype: Precision) -> nn.Module:
    """A TransformerEncoder."""
    return TransformerEncoder(told, shape).to(getattr(torch, dtype))


class ConvolutionBlock(nn.Module):
    """Channels second: (rows, channels, ...) → (rows, size, half of each further dimension, rounded up)."""

    def __init__(self, told: Convolutional, dimensions: int, channels: int, size: int) -> None:
        super().__init__()
        two = dimensions == 2
        before = (told.kernel - 1) // 2
        # torch and Keras pad alike, an even kernel at the end first; said here, as torch warns of even kernels.
        self.padding = (before, told.kernel - 1 - before) * dimensions
        self.convolution: nn.Module = (nn.Conv2d if two else nn.Conv1d)(channels, size, told.kernel)
        self.norm = nn.GroupNorm(1, size)
        self.activation = _ACTIVATIONS[told.activation]()
        self.pool: nn.Module = (nn.MaxPool2d if two else nn.MaxPool1d)(2, ceil_mode=True)
        self.dropout = nn.Dropout(told.dropout)

    def forward(self, rows: Tensor) -> Tensor:
        hidden = self.convolution(functional.pad(rows, self.padding))
        found: Tensor = self.dropout(self.pool(self.activation(self.norm(hidden))))
        return found


class ConvolutionalNetwork(nn.Module):
    """Channels last: (rows, height, width, channels), (rows, steps, channels) or (rows, steps) → (rows, outputs)."""

    def __init__(self, told: Convolutional, shape: shapes.Shape) -> None:
        super().__init__()
        *space, channels = shapes.picture(shape)
        self.flat = len(shape) == 1
        self.blocks = nn.ModuleList()
        for size in told.channels:
            self.blocks.append(ConvolutionBlock(told, len(space), channels, size))
            channels = size
        self.head = nn.Linear(channels, told.outputs)

    def forward(self, rows: Tensor) -> Tensor:
        hidden = (rows.unsqueeze(-1) if self.flat else rows).movedim(-1, 1)
        for block in self.blocks:
            hidden = block(hidden)
        found: Tensor = self.head(hidden.flatten(2).mean(2))
        return found


class Recurrence(nn.Module):
    """One layer in one direction, or in both, whose outputs then lie side by side."""

    def __init__(self, told: Recurrent, width: int, size: int) -> None:
        super().__init__()
        self.onward = _cell(told, width, size)
        self.backward_: nn.Module | None = _cell(told, width, size) if told.bidirectional else None

    def forward(self, steps: Tensor, turned: Tensor | None) -> Tensor:
        """`turned` says at which step each step stands in the other direction; None turns whole rows."""
        found: Tensor = self.onward(steps)[0]
        if self.backward_ is None:
            return found
        back: Tensor = _turn(self.backward_(_turn(steps, turned))[0], turned)
        return torch.cat([found, back], -1)


class RecurrentNetwork(nn.Module):
    """(rows, steps, features), or (rows, steps) → (rows, outputs), (rows, steps) or (rows, steps, outputs)."""

    def __init__(self, told: Recurrent, shape: shapes.Shape) -> None:
        super().__init__()
        seen = shapes.sequence(shape, told.vocabulary)
        self.flat = len(shape) == 1
        self.each_step, self.single = told.each_step, told.outputs == 1
        self.bidirectional, self.size = told.bidirectional, told.hidden[-1]
        self.embedding = None if told.vocabulary is None else nn.Embedding(told.vocabulary, told.embedding)
        width = seen[-1] if told.vocabulary is None else told.embedding
        self.layers = nn.ModuleList()
        for size in told.hidden:
            self.layers.append(Recurrence(told, width, size))
            width = 2 * size if told.bidirectional else size
        self.dropout = nn.Dropout(told.dropout)
        self.head = nn.Linear(width, told.outputs)

    def forward(self, rows: Tensor) -> Tensor:
        if self.embedding is None:
            hidden = self._through(rows.unsqueeze(-1) if self.flat else rows, None)
            return self._answer(hidden if self.each_step else self._ends(hidden[:, -1:], hidden[:, :1]))
        # The steps that are no padding move to the front, so that the layers run over whole rows without a mask.
        tokens = rows.long()
        real = tokens != 0
        count = real.sum(1, keepdim=True)
        place = torch.where(real, real.long().cumsum(1), count + (~real).long().cumsum(1)) - 1
        index = torch.arange(tokens.shape[1], device=tokens.device).unsqueeze(0)
        turned = torch.where(index < count, count - 1 - index, index).unsqueeze(-1)
        hidden = self._through(self.embedding(tokens.gather(1, place.argsort(1))), turned)
        if self.each_step:
            there = _at(hidden, place.unsqueeze(-1))
            return self._answer(there * real.unsqueeze(-1).to(hidden.dtype))
        last = _at(hidden, (count - 1).clamp(min=0).unsqueeze(-1))
        return self._answer(self._ends(last, hidden[:, :1]) * (count > 0).to(hidden.dtype))

    def _through(self, hidden: Tensor, turned: Tensor | None) -> Tensor:
        for layer in self.layers:
            hidden = self.dropout(layer(hidden, turned))
        return hidden

    def _ends(self, last: Tensor, first: Tensor) -> Tensor:
        """The last state of each direction, from (rows, 1, width): that of the way back stands at the first step."""
        if not self.bidirectional:
            return last.squeeze(1)
        return torch.cat([last[:, 0, : self.size], first[:, 0, self.size :]], -1)

    def _answer(self, hidden: Tensor) -> Tensor:
        found: Tensor = self.head(hidden)
        return found.squeeze(-1) if self.each_step and self.single else found


class TransformerBlock(nn.Module):
    """(rows, steps, width) → the same."""

    def __init__(self, told: Transformer) -> None:
        super().__init__()
        width = told.width
        self.heads = told.heads
        self.attention_norm = nn.LayerNorm(width)
        self.query, self.key, self.value = (nn.Linear(width, width) for _ in range(3))
        self.joined = nn.Linear(width, width)
        self.dense_norm = nn.LayerNorm(width)
        self.wide = nn.Linear(width, 4 * width)
        self.activation = _ACTIVATIONS[told.activation]()
        self.narrow = nn.Linear(4 * width, width)
        self.dropout = nn.Dropout(told.dropout)

    def forward(self, steps: Tensor, seen: Tensor | None) -> Tensor:
        """`seen` (rows or 1, 1, steps, steps) is true where the step of the third sees that of the last dimension."""
        normed = self.attention_norm(steps)
        query, key, value = (
            part(normed).unflatten(-1, (self.heads, -1)).transpose(1, 2) for part in (self.query, self.key, self.value)
        )
        mixed = functional.scaled_dot_product_attention(query, key, value, attn_mask=seen)
        steps = steps + self.dropout(self.joined(mixed.transpose(1, 2).flatten(2)))
        added: Tensor = self.dropout(self.narrow(self.activation(self.wide(self.dense_norm(steps)))))
        return steps + added


class TransformerEncoder(nn.Module):
    """(rows, steps, features), or (rows, steps) → (rows, outputs), (rows, steps) or (rows, steps, outputs)."""

    def __init__(self, told: Transformer, shape: shapes.Shape) -> None:
        super().__init__()
        seen = shapes.sequence(shape, told.vocabulary)
        self.flat = len(shape) == 1
        self.each_step, self.single, self.causal = told.each_step, told.outputs == 1, told.causal
        self.embedding = None if told.vocabulary is None else nn.Embedding(told.vocabulary, told.width)
        self.inputs = nn.Linear(seen[-1], told.width) if told.vocabulary is None else None
        self.blocks = nn.ModuleList(TransformerBlock(told) for _ in range(told.layers))
        self.norm = nn.LayerNorm(told.width)
        self.head = nn.Linear(told.width, told.outputs)

    def forward(self, rows: Tensor) -> Tensor:
        real: Tensor | None = None
        if self.embedding is not None:
            tokens = rows.long()
            real = tokens != 0
            hidden = self.embedding(tokens)
        else:
            assert self.inputs is not None
            hidden = self.inputs(rows.unsqueeze(-1) if self.flat else rows)
        hidden = hidden + _positions(hidden)
        seen = _seen(hidden, real, self.causal)
        for block in self.blocks:
            hidden = block(hidden, seen)
        hidden = self.norm(hidden)
        if real is not None:
            hidden = hidden * real.unsqueeze(-1).to(hidden.dtype)
        if self.each_step:
            found: Tensor = self.head(hidden)
            return found.squeeze(-1) if self.single else found
        if real is None:
            pooled = hidden.mean(1)
        else:
            pooled = hidden.sum(1) / real.sum(1, keepdim=True).clamp(min=1).to(hidden.dtype)
        answer: Tensor = self.head(pooled)
        return answer


def _cell(told: Recurrent, width: int, size: int) -> nn.Module:
    if told.cell == "gru":
        return nn.GRU(width, size, batch_first=True)
    cell = nn.LSTM(width, size, batch_first=True)
    # PyTorch adds two biases that mean the same; Keras has one.
    second: nn.Parameter = cell.get_parameter("bias_hh_l0")
    nn.init.zeros_(second)
    second.requires_grad_(False)
    return cell


def _at(steps: Tensor, index: Tensor) -> Tensor:
    """The steps (rows, n, width) at `index` (rows, n, 1); take_along_dim would fix the number of rows in an export."""
    return steps.gather(1, index.expand(-1, -1, steps.shape[-1]))


def _turn(steps: Tensor, turned: Tensor | None) -> Tensor:
    return steps.flip(1) if turned is None else _at(steps, turned)


def _positions(hidden: Tensor) -> Tensor:
    """(steps, width): sines, then cosines, of wavelengths from 2 pi to 20,000 pi steps."""
    steps, width = hidden.shape[1:]
    like: dict[str, Any] = {"dtype": hidden.dtype, "device": hidden.device}
    rates = torch.exp(torch.arange(width // 2, **like) * (-2 * math.log(10_000) / width))
    angles = torch.arange(steps, **like).unsqueeze(1) * rates
    return torch.cat([angles.sin(), angles.cos()], -1)


def _seen(hidden: Tensor, real: Tensor | None, causal: bool) -> Tensor | None:
    if real is None and not causal:
        return None
    index = torch.arange(hidden.shape[1], device=hidden.device)
    here, there = index.unsqueeze(1), index.unsqueeze(0)
    seen = (here >= there if causal else here >= 0).unsqueeze(0)
    if real is not None:
        # A step sees itself always: over nothing the softmax would not be a number.
        seen = seen & (real.unsqueeze(1) | (here == there))
    return seen.unsqueeze(1)
