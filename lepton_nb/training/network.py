"""A network of their own for the ranks of one machine, in which nothing but loopback exists (Linux).

TensorFlow's server listens on every address of the machine and asks nobody who they are (tensorflow 2.21): whoever
reaches its port can run what they like. In a network namespace of their own only the ranks reach it.
"""

from __future__ import annotations

import ctypes
import fcntl
import os
import socket
import struct
import warnings
from pathlib import Path

_NEW_USER, _NEW_NETWORK = 0x10000000, 0x40000000
_SET_FLAGS, _UP, _RUNNING = 0x8914, 0x1, 0x40


def reserve(host: str) -> socket.socket:
    """A socket that holds a free port of `host`."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    held = socket.socket(family, socket.SOCK_STREAM)
    held.bind((host, 0))
    return held


def go_apart() -> bool:
    """Move this process, which has one thread, into a new network with nothing but loopback.

    False, with a warning, where the system does not allow it.
    """
    user, group = os.getuid(), os.getgid()
    try:
        try:
            _call("unshare", _NEW_NETWORK)
        except OSError:
            # Whoever is not root may where they are root, which they are among users of their own.
            _call("unshare", _NEW_USER | _NEW_NETWORK)
            Path("/proc/self/setgroups").write_text("deny")
            Path("/proc/self/uid_map").write_text(f"{user} {user} 1")
            Path("/proc/self/gid_map").write_text(f"{group} {group} 1")
        with socket.socket() as any_socket:
            fcntl.ioctl(any_socket, _SET_FLAGS, struct.pack("16sh", b"lo", _UP | _RUNNING))
    except OSError as error:
        warnings.warn(
            f"TensorFlow's server will listen on every address of this machine, as the ranks cannot have a network of "
            f"their own here ({error.strerror}); train on a machine that nobody else reaches, or behind a firewall",
            RuntimeWarning,
            stacklevel=2,
        )
        return False
    return True


def join(process: int) -> None:
    """Move this process, which has one thread, into the network of `process`. Raises OSError where that is refused."""
    spaces = Path("/proc", str(process), "ns")
    if os.readlink(spaces / "user") != os.readlink("/proc/self/ns/user"):
        _enter(spaces / "user", _NEW_USER)
    _enter(spaces / "net", _NEW_NETWORK)


def _enter(space: Path, kind: int) -> None:
    file = os.open(space, os.O_RDONLY)
    try:
        _call("setns", file, kind)
    finally:
        os.close(file)


def _call(name: str, *arguments: int) -> None:
    if getattr(ctypes.CDLL(None, use_errno=True), name)(*arguments) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
