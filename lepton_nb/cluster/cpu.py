"""The CPU backend: worker processes on this machine, by Dask's LocalCluster."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lepton_nb.cluster.choose import Choice
from lepton_nb.cluster.scratch import SCRATCH_VARIABLE
from lepton_nb.cluster.snapshot import WorkerLoss
from lepton_nb.cluster.spec import ClusterSpec

OnLoss = Callable[[WorkerLoss], object]

if TYPE_CHECKING:
    from distributed import Security
    from distributed.deploy.spec import SpecCluster


def options(
    spec: ClusterSpec, choice: Choice, scratch: Path, security: Security | None, on_loss: OnLoss
) -> dict[str, Any]:
    """The keywords of LocalCluster, and those that every local backend shares."""
    from lepton_nb.cluster.nanny import TidyNanny

    return {
        "worker_class": TidyNanny,
        "on_loss": on_loss,
        "n_workers": choice.workers,
        "threads_per_worker": spec.threads,
        "memory_limit": spec.memory_bytes,
        "host": spec.host,
        "scheduler_port": spec.port,
        # The dashboard has no access control of its own, so it stays on loopback wherever the cluster listens.
        "dashboard_address": f"127.0.0.1:{spec.dashboard_port}",
        "local_directory": str(scratch),
        # Otherwise the scheduler puts a folder of the shared /tmp first on this process's import path.
        "scheduler_kwargs": {"local_directory": str(scratch)},
        "env": environment(scratch),
        "config": calmer(),
        "preload": ["lepton_nb.cluster.worker_start"],
        "security": security,
    }


# By Dask's name: its default, and ours. Scheduler and each worker look at their own delay and at the code that runs so
# often, which is most of what an idle cluster does. A setting of the user's stays.
_CALMER = {
    "distributed.admin.tick.interval": ("20ms", "500ms"),
    "distributed.worker.profile.interval": ("10ms", "100ms"),
}


def calmer() -> dict[str, str]:
    """Dask settings that leave more of the processor to what the cluster is for."""
    import dask
    import distributed  # noqa: F401 - its defaults

    return {name: ours for name, (default, ours) in _CALMER.items() if dask.config.get(name) == default}


def environment(scratch: Path) -> dict[str, str]:
    """What each worker finds in its environment: temporary files belong to the cluster, and go with it."""
    return {"TMPDIR": str(scratch), SCRATCH_VARIABLE: str(scratch)}


def open_cluster(
    spec: ClusterSpec, choice: Choice, scratch: Path, security: Security | None, on_loss: OnLoss
) -> SpecCluster:
    """Start scheduler and workers, and return when all workers are there."""
    import dask
    from distributed import LocalCluster

    with dask.config.set(calmer()):
        return LocalCluster(processes=True, **options(spec, choice, scratch, security, on_loss))
