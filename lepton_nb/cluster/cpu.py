"""The CPU backend: worker processes on this machine, by Dask's LocalCluster."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from lepton_nb.cluster.choose import Choice
from lepton_nb.cluster.scratch import SCRATCH_VARIABLE
from lepton_nb.cluster.spec import ClusterSpec

if TYPE_CHECKING:
    from distributed import Security
    from distributed.deploy.spec import SpecCluster


def options(spec: ClusterSpec, choice: Choice, scratch: Path, security: Security | None) -> dict[str, Any]:
    """The keywords of LocalCluster, and those that every local backend shares."""
    from lepton_nb.cluster.nanny import TidyNanny

    return {
        "worker_class": TidyNanny,
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
        "preload": ["lepton_nb.cluster.worker_start"],
        "security": security,
    }


def environment(scratch: Path) -> dict[str, str]:
    """What each worker finds in its environment: temporary files belong to the cluster, and go with it."""
    return {"TMPDIR": str(scratch), SCRATCH_VARIABLE: str(scratch)}


def open_cluster(spec: ClusterSpec, choice: Choice, scratch: Path, security: Security | None) -> SpecCluster:
    """Start scheduler and workers, and return when all workers are there."""
    from distributed import LocalCluster

    return LocalCluster(processes=True, **options(spec, choice, scratch, security))
