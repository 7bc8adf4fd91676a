"""Which backend, and why: a pure decision from a wish and the hardware."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from lepton_nb.cluster.probe import Gpu, Hardware
from lepton_nb.cluster.spec import CPU_WORKERS, ClusterSpec
from lepton_nb.errors import ClusterError

Backend = Literal["cpu", "cuda"]


@dataclass(frozen=True, slots=True)
class Choice:
    """`gpus` are those that the CUDA backend uses, one a worker; `reason` is a sentence for the user."""

    backend: Backend
    workers: int
    gpus: tuple[Gpu, ...]
    reason: str


def choose(spec: ClusterSpec, hardware: Hardware, cuda_missing: str | None) -> Choice:
    """Decide on a backend. `cuda_missing` says why dask-cuda cannot be used, or is None if it can.

    "auto" takes the GPUs where there is one for each worker and degrades to the CPU with the reason
    otherwise; a number of GPUs that is not there, or cannot be used, raises ClusterError.
    """
    cpu_workers = spec.workers or CPU_WORKERS
    if spec.gpus == 0:
        return Choice("cpu", cpu_workers, (), "CPU backend: gpus=0 was asked for")
    found = len(hardware.gpus)
    if spec.gpus == "auto":
        if found == 0:
            return Choice("cpu", cpu_workers, (), f"CPU backend: {hardware.gpu_note}")
        if cuda_missing is not None:
            return Choice("cpu", cpu_workers, (), f"CPU backend: {hardware.gpu_note}, but {cuda_missing}")
        if (spec.workers or 1) > found:
            return Choice(
                "cpu",
                cpu_workers,
                (),
                f"CPU backend: {hardware.gpu_note}, fewer than the {spec.workers} workers asked for, and a GPU serves "
                f"one worker; ask for workers={found} to use them",
            )
        workers = spec.workers or found
        return Choice("cuda", workers, hardware.gpus[:workers], f"CUDA backend: {hardware.gpu_note}, one a worker")
    if spec.gpus > found:
        raise ClusterError(
            f"gpus={spec.gpus} was asked for, but {hardware.gpu_note}; ask for gpus='auto' to use what there is",
            option="gpus",
            asked=spec.gpus,
            found=found,
        )
    if cuda_missing is not None:
        raise ClusterError(
            f"gpus={spec.gpus} was asked for, but {cuda_missing}", option="gpus", asked=spec.gpus, found=found
        )
    if spec.workers is not None and spec.workers != spec.gpus:
        raise ClusterError(
            f"workers={spec.workers} and gpus={spec.gpus} do not agree: a GPU serves one worker; leave workers out",
            option="gpus",
            workers=spec.workers,
            gpus=spec.gpus,
        )
    return Choice("cuda", spec.gpus, hardware.gpus[: spec.gpus], f"CUDA backend: gpus={spec.gpus} was asked for")


def cuda_missing() -> str | None:
    """Why dask-cuda cannot be used here, or None if it can be imported."""
    try:
        import dask_cuda  # noqa: F401
    except Exception as error:  # it imports CUDA bindings, whose failures are of many kinds
        return f"dask-cuda cannot be used ({error}); run: pip install 'lepton-nb[cuda]'"
    return None
