"""The ranks of a PyTorch run as one group: sums over all of them, in place."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from lepton_nb.training import rendezvous
from lepton_nb.training.placement import Seat

JOIN_TIMEOUT_S = 60.0
# Long, as a rank may rightly wait for a slow one; the supervisors end a group whose member died.
STEP_TIMEOUT_S = 1800.0


class PeerLostError(Exception):
    """Another rank went away in the middle of a sum; that rank's own error is the cause."""


class Group:
    """This rank's place among the others: `rank` of `ranks`. A group of one talks to nobody."""

    def __init__(self, seat: Seat, device: torch.device) -> None:
        self.rank = seat.rank
        self.ranks = seat.ranks
        self.device = device
        self._bind_host = seat.bind_host

    def open(self, announce: Callable[..., None], receive: Callable[[str], dict[str, Any]]) -> None:
        """Meet the other ranks: rank 0 announces where it listens, the others receive it."""
        if self.ranks == 1:
            return
        if self.rank == 0:
            server = rendezvous.listen(self._bind_host)
            host, port = server.getsockname()[:2]
            store = rendezvous.serve(server, self.ranks, JOIN_TIMEOUT_S)
            announce("listening", host=host, port=port)
        else:
            where = receive("join")
            store = rendezvous.join(where["host"], where["port"], self.ranks, JOIN_TIMEOUT_S)
        dist.init_process_group(
            "nccl" if self.device.type == "cuda" else "gloo",
            store=store,
            rank=self.rank,
            world_size=self.ranks,
            timeout=timedelta(seconds=STEP_TIMEOUT_S),
        )

    def sum_(self, values: Tensor) -> Tensor:
        """Add up `values` over all ranks, in place; every rank gets the same bits."""
        if self.ranks > 1:
            self._meet(lambda: dist.all_reduce(values))
        return values

    def share_(self, values: Tensor) -> None:
        """Overwrite `values` by those of rank 0."""
        if self.ranks > 1:
            self._meet(lambda: dist.broadcast(values, 0))

    def close(self) -> None:
        """Leave the group, once every rank is done."""
        if self.ranks > 1:
            self._meet(dist.barrier)
            dist.destroy_process_group()

    def _meet(self, together: Callable[[], object]) -> None:
        try:
            together()
        except RuntimeError as error:
            raise PeerLostError(f"rank {self.rank} lost contact to another rank: {error}") from error
