"""One rank of a PyTorch run, a process of its own: `python -m lepton_nb.training.torch_rank FOLDER`."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from lepton_nb.training import rank
from lepton_nb.training.channel import Channel
from lepton_nb.training.engine import Engine
from lepton_nb.training.placement import Seat


def _start(seat: Seat, device: str, channel: Channel) -> Iterator[Any]:
    # The slow imports run while the rows still travel. Making an optimizer is what loads the compiler
    # of torch (1.3 s), so one is made and dropped.
    import torch

    torch.optim.SGD([torch.zeros(1, requires_grad=True)])
    from lepton_nb.training.torch_engine import TorchEngine
    from lepton_nb.training.torch_group import Group

    group = Group(seat, torch.device(device))
    group.open(channel.send, channel.receive)

    def make(job: dict[str, Any], shape: tuple[int, ...]) -> Engine:
        return TorchEngine(job["model"], shape, job["spec"], group)

    yield make
    group.close()


if __name__ == "__main__":
    rank.end(rank.main(Path(sys.argv[1]), _start))
