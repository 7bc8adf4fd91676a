"""`lepton-nb app`: check what is asked for, and serve a notebook until Ctrl-C or SIGTERM."""

from __future__ import annotations

import secrets
import socket
from ipaddress import ip_address
from pathlib import Path

from lepton_nb.cli.output import say
from lepton_nb.cli.serve import require
from lepton_nb.cluster.ports import check_free
from lepton_nb.errors import LeptonError

TOKEN_BYTES = 24


def app(notebook: Path, *, ip: str, port: int, browser: bool, preheat: int, keep_s: float) -> int:
    """Serve `notebook` with Voilà, then end its kernels."""
    require("voila", "app")
    if not notebook.is_file():
        raise LeptonError(f"there is no notebook {notebook}; check the path", path=str(notebook))
    _check_ip(ip)
    check_free(ip, port, "port")
    from tornado.ioloop import IOLoop

    from lepton_nb.cli.webapp.server import AppSpec, make

    server = make(
        AppSpec(
            notebook=notebook.absolute(),
            ip=ip,
            port=port,
            browser=browser,
            preheat=preheat,
            keep_s=keep_s,
            # On loopback whoever reaches us is on this machine, and may do as much without us.
            token="" if ip_address(ip).is_loopback else secrets.token_hex(TOKEN_BYTES),
        )
    )
    # The port is known once the server listens, and this runs after that.
    IOLoop.current().add_callback(lambda: say(f"{notebook.name} is at {server.address} ; Ctrl-C ends it"))
    server.start()
    return 0


def _check_ip(ip: str) -> None:
    """Raise LeptonError when this machine has no such address."""
    family = socket.AF_INET6 if ":" in ip else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        try:
            probe.bind((ip, 0))
        except OSError as error:
            raise LeptonError(
                f"this machine cannot listen on ip={ip} ({error.strerror}); give an address of its own, "
                "127.0.0.1 for this machine alone, or 0.0.0.0 for all its networks",
                ip=ip,
            ) from None
