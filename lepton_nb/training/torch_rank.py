"""One rank of a PyTorch run, a process of its own: `python -m lepton_nb.training.torch_rank FOLDER`.

FOLDER holds seat.json, and rank 0 leaves weights.pt there. The job and the rows lie in the folder that the command
"rows" names; everything else comes and goes by the channel.
"""

from __future__ import annotations

import json
import os
import pickle
import sys
import traceback
from pathlib import Path
from typing import Any

import numpy as np

from lepton_nb.errors import LeptonError
from lepton_nb.training.channel import Channel
from lepton_nb.training.placement import Seat


def main(folder: Path) -> int:
    """Run the rank; the exit status is 0 for work that was done, also when it was stopped."""
    channel = Channel.open()
    try:
        _train(folder, channel)
    except BaseException as error:
        kind = type(error).__name__
        kind_of = "peer" if kind == "PeerLostError" else "crash"
        message = str(error) if isinstance(error, LeptonError) else f"raised {kind}: {error}"
        facts = error.facts if isinstance(error, LeptonError) else {}
        channel.send(
            "failed",
            kind_of="data" if isinstance(error, LeptonError) else kind_of,
            message=message,
            facts={name: value for name, value in facts.items() if isinstance(value, str | int | float)},
            traceback="".join(traceback.format_exception(error)),
        )
        return 1
    return 0


def _train(folder: Path, channel: Channel) -> None:
    # The slow imports run while the rows still travel. Making an optimizer is what loads the compiler
    # of torch (1.3 s), so one is made and dropped.
    import torch

    torch.optim.SGD([torch.zeros(1, requires_grad=True)])
    from lepton_nb.training.torch_group import Group
    from lepton_nb.training.torch_loop import Loop

    facts = json.loads((folder / "seat.json").read_text())
    device = torch.device(facts.pop("device"))
    seat = Seat(**facts)
    group = Group(seat, device)
    group.open(channel.send, channel.receive)
    rows = Path(channel.receive("rows")["folder"])
    loop = Loop(_job(rows), rows, group, channel)
    loop.run()
    if seat.rank == 0:
        weights = {name: value.detach().cpu() for name, value in loop.model.state_dict().items()}
        torch.save(weights, folder / "weights.pt")
    group.close()
    if seat.rank == 0:
        channel.send("done", step=loop.step, stopped=loop.stopped, task=loop.task)


def _job(folder: Path) -> dict[str, Any]:
    # A notebook's own modules are found where the notebook finds them, if this machine has them too.
    for entry in json.loads(np.load(folder / "path.npy").tobytes()):
        if entry not in sys.path and os.path.isdir(entry):
            sys.path.append(entry)
    job: dict[str, Any] = pickle.loads(np.load(folder / "job.npy").tobytes())  # noqa: S301 - our own client's
    return job


if __name__ == "__main__":
    status = main(Path(sys.argv[1]))
    sys.stderr.flush()
    # Threads of a communication library may still wait for a peer that is gone; nothing is left to clean up.
    os._exit(status)
