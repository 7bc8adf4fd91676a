"""What a user asks of a cluster, checked before anything starts."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from typing import Literal

from lepton_nb.cluster.probe import Hardware, gigabytes
from lepton_nb.errors import ClusterError

CPU_WORKERS = 2
# Of each worker: more than any machine has cores.
MOST_THREADS = 1024
LEAST_MEMORY_BYTES = 64_000_000


@dataclass(frozen=True, slots=True)
class ClusterSpec:
    """A validated wish. `memory_bytes` is the limit of each worker; port 0 means any free port."""

    workers: int | None
    threads: int
    memory_bytes: int
    gpus: int | Literal["auto"]
    secure: bool
    host: str
    port: int
    dashboard_port: int

    @classmethod
    def parse(
        cls,
        *,
        workers: int | None,
        threads: int,
        memory: str | int,
        gpus: int | Literal["auto"],
        secure: bool,
        host: str,
        port: int,
        dashboard_port: int,
    ) -> ClusterSpec:
        """Check each value by itself; raises ClusterError with the fix, and the name of the value as its `option`."""
        for name, value, least in (("threads", threads, 1), ("port", port, 0), ("dashboard_port", dashboard_port, 0)):
            _whole(name, value, least)
        if workers is not None:
            _whole("workers", workers, 1)
        if gpus != "auto":
            _whole("gpus", gpus, 0, others='"auto" or ')
        if threads > MOST_THREADS:
            raise ClusterError(f"threads={threads} is too many; give at most {MOST_THREADS}", option="threads")
        for name, value in (("port", port), ("dashboard_port", dashboard_port)):
            if value > 65535:
                raise ClusterError(f"{name}={value} is not a port; give 1 to 65535, or 0 for any free one", option=name)
        try:
            ipaddress.ip_address(host)
        except ValueError:
            raise ClusterError(
                f"host={host!r} is not an IP address; give one such as '127.0.0.1'", option="host"
            ) from None
        if not secure and not ipaddress.ip_address(host).is_loopback:
            raise ClusterError(
                f"secure=False on host={host!r} would open the cluster to the network without encryption; "
                "use secure=True, or host='127.0.0.1'",
                option="secure",
            )
        return cls(
            workers=workers,
            threads=threads,
            memory_bytes=parse_memory(memory),
            gpus=gpus,
            secure=secure,
            host=host,
            port=port,
            dashboard_port=dashboard_port,
        )

    def check_fits(self, workers: int, hardware: Hardware) -> None:
        """Raise ClusterError when `workers` of this memory need more than the machine has."""
        wanted = workers * self.memory_bytes
        if wanted > hardware.memory_bytes:
            most, each = hardware.memory_bytes // self.memory_bytes, hardware.memory_bytes // workers
            fixes = [f"at most {most} workers"] if most else []
            fixes += [f"memory='{each // 10**6}MB' or less"] if each >= LEAST_MEMORY_BYTES else []
            raise ClusterError(
                f"{workers} workers of {gigabytes(self.memory_bytes)} need {gigabytes(wanted)}, and this machine has "
                f"{gigabytes(hardware.memory_bytes)}; ask for {', or '.join(fixes) or 'fewer workers of less memory'}",
                option="memory",
                wanted_bytes=wanted,
                available_bytes=hardware.memory_bytes,
            )


def parse_memory(memory: str | int) -> int:
    """Bytes from "2GB", "512MiB" or a number of bytes; ClusterError for anything else and for less than 64 MB."""
    from dask.utils import parse_bytes

    if isinstance(memory, bool) or not isinstance(memory, str | int):
        raise ClusterError(f"memory={memory!r} is not an amount; give one such as '2GB'", option="memory")
    try:
        amount = int(parse_bytes(memory))
    except (ValueError, OverflowError):
        raise ClusterError(f"memory={memory!r} is not an amount; give one such as '2GB'", option="memory") from None
    if amount < LEAST_MEMORY_BYTES:
        raise ClusterError(
            f"memory={memory!r} is too little for a worker; give at least '64MB', better '1GB'", option="memory"
        )
    return amount


def _whole(name: str, value: object, least: int, others: str = "") -> None:
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise ClusterError(f"{name}={value!r} cannot be; give {others}a whole number of {least} or more", option=name)
