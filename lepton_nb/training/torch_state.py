"""All that a PyTorch loop needs to go on to the very numbers of a run that was never interrupted."""

from __future__ import annotations

import io
import pickle
import zlib
from typing import Any

import numpy.typing as npt
import torch
from torch import Tensor, nn

from lepton_nb.errors import TrainingError
from lepton_nb.training.spec import TrainingSpec
from lepton_nb.training.torch_group import Group

# Options that say which numbers come next; others, such as epochs or learning_rate, may be changed on the way.
SAME = ("seed", "batch_size", "precision", "optimizer")


def packed(state: dict[str, Any]) -> bytes:
    """Tensors, numbers, text, lists and dictionaries, as bytes."""
    buffer = io.BytesIO()
    torch.save(state, buffer)
    return buffer.getvalue()


def unpacked(content: bytes) -> dict[str, Any]:
    """What `packed` made; no code is executed. Raises TrainingError for anything else."""
    try:
        state = torch.load(io.BytesIO(content), weights_only=True, map_location="cpu")
    except (RuntimeError, pickle.UnpicklingError, EOFError, ValueError, KeyError) as error:
        raise TrainingError(f"the checkpoint cannot be read: {error}") from error
    if not isinstance(state, dict) or "identity" not in state:
        raise TrainingError("the checkpoint is not one of a PyTorch run; give the folder of this run's checkpoints")
    return state


def identity(spec: TrainingSpec, model: nn.Module, features: int, target: npt.NDArray[Any]) -> dict[str, Any]:
    """What must be the same when a run goes on."""
    return {
        **{name: getattr(spec, name) for name in SAME},
        "training rows": len(target),
        "features": features,
        "target values (checksum)": zlib.crc32(target.tobytes()),
        "weights": {name: list(value.shape) for name, value in model.state_dict().items()},
    }


def check(found: dict[str, Any], now: dict[str, Any]) -> None:
    """Raise TrainingError that names the first thing that is not as it was."""
    for name, value in now.items():
        if found.get(name) != value:
            was, new = (f"{name} {it}" if name != "weights" else "other weights" for it in (found.get(name), value))
            raise TrainingError(
                f"the checkpoint was made with {was}, and this run has {new}; give the same model, rows and options, "
                "or start anew without resume",
                name=name,
            )


def random_states(group: Group) -> list[Tensor]:
    """The state of every rank's random numbers, on every rank."""
    mine = torch.get_rng_state()
    if group.device.type == "cuda":
        mine = torch.cat([mine, torch.cuda.get_rng_state(group.device)])
    states = torch.zeros(group.ranks, len(mine), dtype=torch.int32)
    states[group.rank] = mine
    return list(group.sum_(states.to(group.device)).cpu().to(torch.uint8))


def set_random_state(states: list[Tensor], group: Group, seed: int, step: int) -> None:
    """Go on with this rank's random numbers; with new ones where there were other ranks."""
    size = len(torch.get_rng_state())
    with_cuda = group.device.type == "cuda"
    if len(states) != group.ranks or (len(states[0]) > size) != with_cuda:
        torch.manual_seed((seed * 100_003 + group.rank) * 1_000_003 + step)
        return
    # Clones, as torch 2.13 ends the process where a state does not begin its own memory.
    torch.set_rng_state(states[group.rank][:size].clone())
    if with_cuda:
        torch.cuda.set_rng_state(states[group.rank][size:].clone(), group.device)
