"""All that a PyTorch engine needs to go on to the very numbers of a run that was never interrupted."""

from __future__ import annotations

import io
import pickle
from typing import Any

import torch
from torch import Tensor, nn

from lepton_nb.errors import TrainingError
from lepton_nb.training.torch_group import Group


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
        raise TrainingError(f"the checkpoint cannot be read as one of a PyTorch run: {error}") from error
    if not isinstance(state, dict) or "identity" not in state:
        raise TrainingError("the checkpoint is not one of a PyTorch run; give the folder of this run's checkpoints")
    return state


def local(value: Tensor) -> Tensor:
    """This rank's part of a weight that FSDP has dealt out; the weight itself otherwise."""
    dealt: Any = value
    part: Tensor = dealt.to_local() if _is_dealt(value) else value
    return part


def weights(model: nn.Module) -> dict[str, Tensor]:
    """The state dict with whole values; where FSDP has dealt them out all ranks take part, and rank 0 gets them."""
    if not _has_dealt(model):
        return model.state_dict()
    from torch.distributed.checkpoint.state_dict import get_model_state_dict

    return get_model_state_dict(model, options=_whole())  # type: ignore[return-value]


def put_weights(model: nn.Module, values: dict[str, Tensor]) -> None:
    """The opposite of `weights`."""
    if not _has_dealt(model):
        model.load_state_dict(values)
        return
    from torch.distributed.checkpoint.state_dict import set_model_state_dict

    set_model_state_dict(model, values, options=_from_first())  # type: ignore[arg-type]


def optimizer(model: nn.Module, made: torch.optim.Optimizer) -> dict[str, Any]:
    """The optimizer's state dict with whole values."""
    if not _has_dealt(model):
        found: dict[str, Any] = made.state_dict()
        return found
    from torch.distributed.checkpoint.state_dict import get_optimizer_state_dict

    return get_optimizer_state_dict(model, made, options=_whole())


def put_optimizer(model: nn.Module, made: torch.optim.Optimizer, state: dict[str, Any]) -> None:
    """The opposite of `optimizer`; settings such as the learning rate may have changed on the way and stay."""
    settings = [{name: value for name, value in group.items() if name != "params"} for group in made.param_groups]
    if _has_dealt(model):
        from torch.distributed.checkpoint.state_dict import set_optimizer_state_dict

        set_optimizer_state_dict(model, made, state, options=_from_first())
    else:
        made.load_state_dict(state)
    for group, setting in zip(made.param_groups, settings, strict=True):
        group |= setting


def noise(device: torch.device) -> Tensor:
    """The state of this rank's random numbers."""
    mine = torch.get_rng_state()
    return torch.cat([mine, torch.cuda.get_rng_state(device)]) if device.type == "cuda" else mine


def put_noise(state: Tensor, device: torch.device) -> None:
    """The opposite of `noise`."""
    size = len(torch.get_rng_state())
    # Clones, as torch 2.13 ends the process where a state does not begin its own memory.
    torch.set_rng_state(state[:size].clone())
    if device.type == "cuda":
        torch.cuda.set_rng_state(state[size:].clone(), device)


def random_states(group: Group) -> list[Tensor]:
    """The state of every rank's random numbers, on every rank."""
    mine = noise(group.device)
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
    put_noise(states[group.rank], group.device)


def _whole() -> Any:
    from torch.distributed.checkpoint.state_dict import StateDictOptions

    return StateDictOptions(full_state_dict=True, cpu_offload=True)


def _from_first() -> Any:
    """Only rank 0 has them whole."""
    from torch.distributed.checkpoint.state_dict import StateDictOptions

    return StateDictOptions(full_state_dict=True, broadcast_from_rank0=True)


def _is_dealt(value: Any) -> bool:
    return hasattr(value, "to_local")


def _has_dealt(model: nn.Module) -> bool:
    return any(_is_dealt(value) for value in model.parameters())
