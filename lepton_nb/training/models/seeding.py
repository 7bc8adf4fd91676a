"""Random numbers of a seed for a while, and after it every generator as it was."""

from __future__ import annotations

import importlib.util
import random
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import numpy as np

from lepton_nb.training.models.frameworks import Framework


@contextmanager
def seeded(seed: int, framework: Framework | None) -> Iterator[None]:
    """Seed Python's and NumPy's global generators, and those of `framework`; None is either, as it comes."""
    old, old_numpy = random.getstate(), np.random.get_state()
    with ExitStack() as stack:
        stack.callback(random.setstate, old)
        stack.callback(np.random.set_state, old_numpy)
        random.seed(seed)
        np.random.seed(seed)
        if framework == "keras":
            from lepton_nb.training.models import keras_models

            stack.enter_context(keras_models.seeded(seed))
        elif framework == "torch" or importlib.util.find_spec("torch") is not None:
            import torch

            stack.enter_context(torch.random.fork_rng(devices=[]))
            torch.manual_seed(seed)
        yield
