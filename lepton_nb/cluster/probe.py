"""What hardware this machine has: cores, memory, GPUs. Looking changes nothing."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Gpu:
    """One NVIDIA GPU, as NVML names it. `index` is NVML's, `uuid` survives a reordering."""

    index: int
    uuid: str
    name: str
    memory_bytes: int


@dataclass(frozen=True, slots=True)
class Hardware:
    """The machine as this process may use it: limits of its control group and CPU affinity count.

    `gpu_note` says in words how many GPUs there are, or why none was found.
    """

    cores: int
    memory_bytes: int
    gpus: tuple[Gpu, ...]
    gpu_note: str

    def describe(self) -> list[str]:
        """Lines of plain text for a person."""
        lines = [f"{self.cores} cores, {gigabytes(self.memory_bytes)} of memory", self.gpu_note]
        lines += [f"GPU {gpu.index}: {gpu.name}, {gigabytes(gpu.memory_bytes)}" for gpu in self.gpus]
        return lines


def gigabytes(amount_bytes: int) -> str:
    """Such as "23.5 GB" (10^9 bytes)."""
    return f"{amount_bytes / 1e9:.1f} GB"


def hardware() -> Hardware:
    """Probe this machine. Never raises for a missing or broken GPU driver: `gpu_note` says what it found."""
    from dask.system import CPU_COUNT
    from distributed.system import MEMORY_LIMIT

    gpus, note = probe_gpus()
    return Hardware(cores=CPU_COUNT, memory_bytes=MEMORY_LIMIT, gpus=gpus, gpu_note=note)


def probe_gpus() -> tuple[tuple[Gpu, ...], str]:
    """The GPUs that NVML lists and CUDA_VISIBLE_DEVICES allows, and a sentence on what was found."""
    try:
        import pynvml
    except ModuleNotFoundError:
        return (), "no GPU support installed (run: pip install 'lepton-nb[cuda]')"
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError_LibraryNotFound:
        return (), "no GPU found: there is no NVIDIA driver on this machine"
    except pynvml.NVMLError as error:
        return (), f"no GPU can be used: the NVIDIA driver does not answer ({error})"
    try:
        found = tuple(_gpu(pynvml, index) for index in range(pynvml.nvmlDeviceGetCount()))
    except pynvml.NVMLError as error:
        return (), f"no GPU can be used: the NVIDIA driver does not answer ({error})"
    finally:
        pynvml.nvmlShutdown()
    if not found:
        return (), "no GPU found: the NVIDIA driver lists none"
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is None:
        return found, f"{_gpus(len(found))} found"
    allowed = visible_gpus(found, visible)
    return allowed, f"{_gpus(len(found))} found, {len(allowed)} allowed by CUDA_VISIBLE_DEVICES={visible!r}"


def visible_gpus(found: tuple[Gpu, ...], visible: str) -> tuple[Gpu, ...]:
    """The GPUs that the value of CUDA_VISIBLE_DEVICES allows, in its order.

    As the CUDA programming guide defines it: indices or unique beginnings of UUIDs, separated by commas; what
    follows the first entry that names no GPU is ignored.
    """
    chosen: list[Gpu] = []
    for raw in visible.split(","):
        entry = raw.strip()
        match = [
            g for g in found if (entry.isdigit() and g.index == int(entry)) or (entry and g.uuid.startswith(entry))
        ]
        if len(match) != 1 or match[0] in chosen:
            break
        chosen += match
    return tuple(chosen)


def _gpu(nvml: Any, index: int) -> Gpu:
    handle = nvml.nvmlDeviceGetHandleByIndex(index)
    return Gpu(
        index=index,
        uuid=_text(nvml.nvmlDeviceGetUUID(handle)),
        name=_text(nvml.nvmlDeviceGetName(handle)),
        memory_bytes=int(nvml.nvmlDeviceGetMemoryInfo(handle).total),
    )


def _text(value: str | bytes) -> str:
    return value.decode() if isinstance(value, bytes) else value


def _gpus(count: int) -> str:
    return "1 GPU" if count == 1 else f"{count} GPUs"
