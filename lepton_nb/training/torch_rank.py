"""One rank of a PyTorch run, in a process of its own."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from lepton_nb.training import rank
from lepton_nb.training.channel import Channel
from lepton_nb.training.engine import Engine
from lepton_nb.training.placement import Seat


def load() -> None:
    """Import all that a rank needs of the framework, which takes seconds."""
    import torch

    # Making an optimizer is what loads the compiler of torch (1.3 s), so one is made and dropped.
    torch.optim.SGD([torch.zeros(1, requires_grad=True)])
    from lepton_nb.training import torch_engine, torch_group  # noqa: F401


def main(folder: Path) -> int:
    """Run the rank whose files lie in `folder`; the exit status."""
    return rank.main(folder, _start)


def _start(seat: Seat, device: str, channel: Channel) -> Iterator[Any]:
    load()  # while the rows still travel
    import torch

    from lepton_nb.training.torch_engine import TorchEngine
    from lepton_nb.training.torch_group import Group

    # The variable is read when torch is loaded, which may have been for another rank.
    torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
    group = Group(seat, torch.device(device))
    group.open(channel.send, channel.receive)

    def make(job: dict[str, Any], shape: tuple[int, ...]) -> Engine:
        return TorchEngine(job["model"], shape, job["spec"], group)

    yield make
    group.close()
