"""How the ranks of one run find each other, without a port that somebody else could take in between."""

from __future__ import annotations

import ipaddress
import socket
from datetime import timedelta
from typing import TYPE_CHECKING

from lepton_nb.errors import TrainingError

if TYPE_CHECKING:
    from torch.distributed import TCPStore  # type: ignore[attr-defined]


def listen(host: str) -> socket.socket:
    """A listening socket on `host` alone, on a port that the operating system chose."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    server = socket.socket(family, socket.SOCK_STREAM)
    server.bind((host, 0))
    server.listen(128)
    return server


def serve(server: socket.socket, ranks: int, timeout_s: float) -> TCPStore:
    """Rank 0's store, which takes `server` over: the port that was announced is the one that serves."""
    from torch.distributed import TCPStore  # type: ignore[attr-defined]

    host, port = server.getsockname()[:2]
    return TCPStore(
        host,
        port,
        ranks,
        is_master=True,
        timeout=timedelta(seconds=timeout_s),
        wait_for_workers=False,
        master_listen_fd=server.detach(),
    )


def join(host: str, port: int, ranks: int, timeout_s: float) -> TCPStore:
    """The store of every other rank."""
    from torch.distributed import TCPStore  # type: ignore[attr-defined]

    return TCPStore(host, port, ranks, is_master=False, timeout=timedelta(seconds=timeout_s), wait_for_workers=False)


def interface_of(host: str) -> str:
    """The name of this machine's network interface that has the address `host`, such as "lo".

    Raises TrainingError if there is none.
    """
    import psutil

    wanted = ipaddress.ip_address(socket.gethostbyname(host) if ":" not in host else host)
    known = psutil.net_if_addrs()
    for name, addresses in known.items():
        for address in addresses:
            if address.family in (socket.AF_INET, socket.AF_INET6):
                found = ipaddress.ip_address(address.address.split("%")[0])
                if found == wanted or (found.is_loopback and wanted.is_loopback):
                    return name
    raise TrainingError(f"no network interface of this machine has the address {host}; known: {', '.join(known)}")
