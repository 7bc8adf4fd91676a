"""The CUDA backend: one worker a GPU on this machine, by dask-cuda's LocalCUDACluster."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from lepton_nb.cluster import cpu
from lepton_nb.cluster.choose import Choice
from lepton_nb.cluster.cpu import OnLoss
from lepton_nb.cluster.spec import ClusterSpec

if TYPE_CHECKING:
    from distributed import Security
    from distributed.deploy.spec import SpecCluster


def options(
    spec: ClusterSpec, choice: Choice, scratch: Path, security: Security | None, on_loss: OnLoss
) -> dict[str, Any]:
    """The keywords of LocalCUDACluster. GPUs go by UUID, which CUDA and NVML order alike."""
    shared = cpu.options(spec, choice, scratch, security, on_loss)
    # LocalCUDACluster puts an environment of its own in the place of this one; see add_environment.
    del shared["env"]
    return shared | {"CUDA_VISIBLE_DEVICES": [gpu.uuid for gpu in choice.gpus]}


def add_environment(workers: dict[Any, dict[str, Any]], environment: dict[str, str]) -> dict[Any, dict[str, Any]]:
    """The worker specifications `workers`, each with `environment` beside the variables that it has."""
    for worker in workers.values():
        worker["options"]["env"] = environment | worker["options"].get("env", {})
    return workers


def open_cluster(
    spec: ClusterSpec, choice: Choice, scratch: Path, security: Security | None, on_loss: OnLoss
) -> SpecCluster:
    """Start scheduler and workers, and return when all workers are there."""
    import dask
    from dask_cuda import LocalCUDACluster

    environment = cpu.environment(scratch)

    class ScratchCUDACluster(LocalCUDACluster):  # type: ignore[misc]
        def new_worker_spec(self) -> dict[Any, dict[str, Any]]:
            return add_environment(super().new_worker_spec(), environment)

    with dask.config.set(cpu.calmer()):
        return ScratchCUDACluster(**options(spec, choice, scratch, security, on_loss))
