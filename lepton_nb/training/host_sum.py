"""Sums over the ranks of one machine: their parts lie in shared memory, and a byte tells each other that one is there.

What goes over loopback otherwise takes several hand-overs between threads for each sum, a good part of a small step.
"""

from __future__ import annotations

import contextlib
import mmap
import os
import secrets
import socket
import struct
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from lepton_nb.training.engine import PeerLostError

# Every rank tells, and reads the parts of, every other one.
MOST_RANKS = 8
# Longer sums are for others: there the way counts for less, and dividing the work for more.
SLOT_BYTES = 8 * 2**20
DTYPES = tuple(map(np.dtype, (np.float32, np.float64, np.int64, np.int32)))
JOIN_TIMEOUT_S = 10.0
_THERE = b"."
_CREDENTIALS = struct.Struct("3i")  # of SO_PEERCRED: process, user, group
_RANK = struct.Struct("B")

Numbers = npt.NDArray[Any]
# Gives what each rank hands in, in the order of the ranks; all hand in as many bytes.
Exchange = Callable[[bytes], list[bytes]]


class HostSum:
    """This rank's place among `ranks` on one machine. All of them call `sum_` with as many numbers of the same type.

    Parts are added in the order of the ranks, so that each has the same bits. There are two places for each part, used
    in turn: whoever has heard of a sum from all others knows that they have read the one before.
    """

    def __init__(self, rank: int, memory: mmap.mmap, peers: list[socket.socket]) -> None:
        self._rank = rank
        self._ranks = len(peers) + 1
        self._memory = memory
        self._peers = peers
        self._turn = 0
        self._places: dict[tuple[np.dtype[Any], int], list[list[Numbers]]] = {}

    @classmethod
    def join(cls, exchange: Exchange, rank: int, ranks: int) -> HostSum:
        """Meet the others; all of them call this. Raises OSError where the system does not allow it.

        Nobody else can take part: the sockets have names that only the ranks know, and ask who is at the other end.
        """
        with contextlib.ExitStack() as undo:
            server = undo.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM))
            name = f"\0lepton-nb-{secrets.token_hex(16)}".encode()
            server.bind(name)
            server.listen(ranks)
            server.settimeout(JOIN_TIMEOUT_S)
            names = exchange(name)
            peers: dict[int, socket.socket] = {}
            for other in range(rank):
                peer = undo.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM))
                peer.settimeout(JOIN_TIMEOUT_S)
                peer.connect(names[other])
                _require_same_user(peer)
                peer.sendall(_RANK.pack(rank))
                peers[other] = peer
            while len(peers) < ranks - 1:
                peer = undo.enter_context(server.accept()[0])
                peer.settimeout(JOIN_TIMEOUT_S)
                _require_same_user(peer)
                said = peer.recv(_RANK.size)
                if not said:
                    raise ConnectionResetError("another rank has given up")
                peers[_RANK.unpack(said)[0]] = peer
            length = 2 * ranks * SLOT_BYTES
            file = _share(peers, length) if rank == 0 else _shared(peers[0])
            try:
                memory = mmap.mmap(file, length)
            finally:
                os.close(file)
            for peer in peers.values():
                peer.settimeout(None)
            undo.pop_all()
            server.close()
        return cls(rank, memory, [peers[other] for other in sorted(peers)])

    @staticmethod
    def fits(dtype: np.dtype[Any], count: int) -> bool:
        """Whether so many numbers can be added up in this way; the same on every rank."""
        return dtype in DTYPES and 0 < count * dtype.itemsize <= SLOT_BYTES

    def sum_(self, values: Numbers) -> None:
        """Make `values` (any shape) the sum of those of all ranks. Raises PeerLostError where one of them is gone."""
        parts = self._parts(values.dtype, values.size)[self._turn]
        self._turn ^= 1
        parts[self._rank][...] = values.reshape(-1)
        self._meet()
        if self._ranks == 2 and values.flags.c_contiguous:
            np.add(parts[0], parts[1], out=values.reshape(-1))
            return
        whole = parts[0].copy()
        for part in parts[1:]:
            whole += part
        values[...] = whole.reshape(values.shape)

    def close(self) -> None:
        """Give all up."""
        for peer in self._peers:
            peer.close()

    def _meet(self) -> None:
        try:
            for peer in self._peers:
                peer.send(_THERE)
            for peer in self._peers:
                if not peer.recv(1):
                    raise ConnectionResetError
        except ConnectionError as error:
            raise PeerLostError(f"rank {self._rank} lost contact to another rank") from error

    def _parts(self, dtype: np.dtype[Any], count: int) -> list[list[Numbers]]:
        """Where the parts of all ranks lie, for either turn."""
        if (dtype, count) not in self._places:
            offsets = [[(turn * self._ranks + rank) * SLOT_BYTES for rank in range(self._ranks)] for turn in range(2)]
            self._places[dtype, count] = [
                [np.frombuffer(self._memory, dtype, count, offset) for offset in turn] for turn in offsets
            ]
        return self._places[dtype, count]


def _share(peers: dict[int, socket.socket], length: int) -> int:
    """Memory that has no name, for all ranks."""
    file = os.memfd_create("lepton-nb-sums")
    os.ftruncate(file, length)
    for peer in peers.values():
        socket.send_fds(peer, [_THERE], [file])
    return file


def _shared(first: socket.socket) -> int:
    """What rank 0 shares."""
    _, files, _, _ = socket.recv_fds(first, 1, 1)
    if not files:
        raise ConnectionResetError("rank 0 shares no memory")
    return files[0]


def _require_same_user(peer: socket.socket) -> None:
    _, user, _ = _CREDENTIALS.unpack(peer.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size))
    if user != os.geteuid():
        raise PermissionError(f"user {user} wants to take part in the sums of user {os.geteuid()}")
