"""Models that ranks build by these functions, for what is to be measured."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import lepton_nb as lnb


def mlp_in_one_thread(width: int) -> Any:
    """The network of every contender, in a rank that computes with one thread."""
    import torch

    torch.set_num_threads(1)
    return lnb.models.mlp(hidden=(128, 64)).build(width)


def now_s() -> float:
    """Seconds by a clock that all processes of the machine share, and of which Linux tells when a process began."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def stamped(folder: Path, step_s: float) -> Any:
    """A linear model that needs `step_s` for a pass, and writes when it began each pass of training.

    A file for each process, PID, in `folder`: when the process began, then a line for each pass, in seconds of `now_s`.
    """
    import torch
    from torch import nn

    class Stamped(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(4, 1)
            self.path = Path(folder, str(os.getpid()))
            began = Path("/proc/self/stat").read_text().rpartition(")")[2].split()[19]
            self.path.write_text(f"{int(began) / os.sysconf('SC_CLK_TCK')}\n")

        def forward(self, rows: torch.Tensor) -> Any:
            if self.training and torch.is_grad_enabled():
                with self.path.open("a") as file:
                    file.write(f"{now_s()}\n")
                time.sleep(step_s)
            return self.layer(rows)

    return Stamped()


def stamps(folder: Path) -> dict[int, list[float]]:
    """What `stamped` wrote, by process: when it began, and each pass."""
    found = {}
    for path in folder.iterdir():
        whole = [line for line in path.read_text().splitlines(keepends=True) if line.endswith("\n")]
        found[int(path.name)] = [float(line) for line in whole]
    return found
