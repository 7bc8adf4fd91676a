"""PyTorch modules as ONNX, torch.export and TorchScript files, with a free number of rows."""

from __future__ import annotations

import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from lepton_nb.errors import TrainingError
from lepton_nb.training import onnx_run
from lepton_nb.training.export import INPUT, Wanted
from lepton_nb.training.quiet import quiet

Numbers = npt.NDArray[Any]

# Of 0 or 1 rows, torch.export would take the number for a constant.
EXAMPLE_ROWS = 3
# Its functions have no types.
jit: Any = torch.jit
saved: Any = torch.export
OTHERS = {"onnx": "torch_export", "torch_export": "torchscript", "torchscript": "torch_export"}


def outputs(model: nn.Module, rows: Numbers) -> Numbers:
    """What the model itself gives for rows, raw."""
    with torch.inference_mode():
        return np.asarray(model(torch.tensor(rows)).numpy())


def size_bytes(model: nn.Module) -> int:
    """Bytes of the weights."""
    return sum(value.numel() * value.element_size() for value in model.state_dict().values())


def write(model: nn.Module, wanted: Wanted, path: Path) -> None:
    """Write `model`. Raises TrainingError where it cannot be brought into the format."""
    whole = predicting(model, wanted).eval()
    example = torch.zeros((EXAMPLE_ROWS, *wanted.row_shape), dtype=getattr(torch, wanted.dtype))
    writers = {"onnx": _write_onnx, "torch_export": _write_exported, "torchscript": _write_script}
    try:
        with quiet("torch.onnx"):
            writers[wanted.format](whole, example, wanted, path)
    except OSError:
        raise
    except Exception as error:  # whatever the parts of the model raise
        lines = str(error).strip().splitlines() or [type(error).__name__]
        raise TrainingError(
            f"the model cannot be written as {wanted.format!r}: {lines[0]}; try format={OTHERS[wanted.format]!r}",
            format=wanted.format,
        ) from error


def load(wanted: Wanted, path: Path) -> Callable[[Numbers], Numbers]:
    """What `write` just wrote, as a function of rows. Raises TrainingError where its runtime cannot run it."""
    if wanted.format == "onnx":
        return onnx_run.load(path, "torch_export", wanted.dtype)
    with quiet("torch.onnx"):
        loaded: Any = saved.load(path).module() if wanted.format == "torch_export" else jit.load(str(path))
    return lambda rows: outputs(loaded, rows)


def predicting(model: nn.Module, wanted: Wanted) -> nn.Module:
    """`model` followed by what makes predictions of its outputs; itself where logits are wanted."""
    if wanted.task is None:
        return model
    ends: list[nn.Module] = [nn.Softmax(dim=-1)] if wanted.task == "multiclass" else []
    if wanted.last_is_one:
        ends.append(nn.Flatten(-2))
    if wanted.task == "binary":
        ends.append(nn.Sigmoid())
    return nn.Sequential(model, *ends)


def _write_exported(model: nn.Module, example: torch.Tensor, wanted: Wanted, path: Path) -> None:
    saved.save(_exported(model, example), path)


def _write_onnx(model: nn.Module, example: torch.Tensor, wanted: Wanted, path: Path) -> None:
    program: Any = torch.onnx.export(
        model,
        (example,),
        dynamo=True,
        dynamic_shapes=({0: torch.export.Dim("rows")},),
        input_names=[INPUT],
        output_names=[wanted.output],
        verbose=False,
    )
    # Where the code of the model lay on this machine is nobody's business.
    for graph in (program.model.graph, *(function.graph for function in program.model.functions.values())):
        for node in graph.all_nodes():
            node.metadata_props.clear()
    program.save(path)


def _write_script(model: nn.Module, example: torch.Tensor, wanted: Wanted, path: Path) -> None:
    raw = path.with_name(f"{path.name}.raw")
    _script(model, example).save(str(raw))
    # The files of the debugger's tables tell where the code lay on this machine.
    with zipfile.ZipFile(raw) as source, zipfile.ZipFile(path, "w") as made:
        for entry in source.infolist():
            if not entry.filename.endswith(".debug_pkl"):
                made.writestr(entry.filename, source.read(entry))
    raw.unlink()


def _exported(model: nn.Module, example: torch.Tensor) -> Any:
    program = torch.export.export(model, (example,), dynamic_shapes=({0: torch.export.Dim("rows")},))
    for node in program.graph.nodes:
        node.meta.pop("stack_trace", None)
    return program


def _script(model: nn.Module, example: torch.Tensor) -> Any:
    """By compiling, which keeps decisions of the model; what cannot be compiled is traced, if it takes none."""
    try:
        return jit.script(model)
    except Exception as refused:  # whatever the compiler meets
        with warnings.catch_warnings():
            warnings.simplefilter("error", jit.TracerWarning)
            try:
                return jit.trace(model, (example,))
            except Exception as error:
                error.add_note(f"Nor can it be compiled: {refused}")
                raise
