"""Whether a port can be listened on: a fault is better told before anything starts than worked around."""

from __future__ import annotations

import socket

from lepton_nb.errors import ClusterError


def check_free(host: str, port: int, name: str) -> None:
    """Raise ClusterError, with `name` for the port, if something listens on it already. Port 0 is always free."""
    if port == 0:
        return
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise ClusterError(
                f"{name}={port} cannot be used on {host} ({error.strerror}); choose another, or 0 for any free one",
                port=port,
            ) from None
