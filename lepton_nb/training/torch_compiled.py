"""Compiled passes of a PyTorch model (torch.compile), where there is a compiler."""

from __future__ import annotations

import importlib.util
import os
import shutil
from collections.abc import Collection
from typing import Any

import torch
from torch import nn


def possible(model: nn.Module, device: torch.device) -> bool:
    """Whether there is a compiler for `device` here, and the model is none that torch.compile refuses."""
    if isinstance(model, torch.jit.ScriptModule):
        return False
    if device.type == "cuda":
        return importlib.util.find_spec("triton") is not None
    return any(map(shutil.which, filter(None, (os.environ.get("CXX"), "g++", "clang++", "c++"))))


class Switch:
    """A model that is compiled while it learns from batches of certain sizes, and as it was for everything else.

    So the last, smaller batch of an epoch, and validation, are compiled for nobody.
    """

    def __init__(self, model: nn.Module) -> None:
        self._model = model
        self._sizes: Collection[int] = ()
        self._plain = model.forward
        self._compiled: Any = None
        model.forward = self._forward

    def _forward(self, *rows: Any) -> Any:
        if self._model.training and len(rows[0]) in self._sizes:
            return self._compiled(*rows)
        return self._plain(*rows)

    def on(self, sizes: Collection[int]) -> None:
        """Compile for batches of `sizes` rows, each when it first comes."""
        import torch._inductor.config

        # No processes beside the rank to compile in: there is little to compile, and they stay.
        torch._inductor.config.compile_threads = 1
        # Noise (dropout) is then that of an uncompiled model.
        self._compiled = torch.compile(self._plain, options={"fallback_random": True})
        self._sizes = sizes

    def off(self) -> None:
        """Back to the model as it was."""
        self._sizes, self._compiled = (), None
