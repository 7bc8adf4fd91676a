"""The ranks of a PyTorch run as one group: sums over all of them, in place."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor

from lepton_nb.training import rendezvous
from lepton_nb.training.engine import PeerLostError
from lepton_nb.training.host_sum import MOST_RANKS, HostSum
from lepton_nb.training.placement import Seat

JOIN_TIMEOUT_S = 60.0
# Long, as a rank may rightly wait for a slow one; the supervisors end a group whose member died.
STEP_TIMEOUT_S = 1800.0
_SUMMED: dict[torch.dtype, np.dtype[Any]] = {
    torch.float32: np.dtype(np.float32),
    torch.float64: np.dtype(np.float64),
    torch.int64: np.dtype(np.int64),
    torch.int32: np.dtype(np.int32),
}
_DTYPES = (torch.float32, torch.float64, torch.int64, torch.int32, torch.bool)


class Group:
    """This rank's place among the others: `rank` of `ranks`. A group of one talks to nobody."""

    def __init__(self, seat: Seat, device: torch.device) -> None:
        self.rank = seat.rank
        self.ranks = seat.ranks
        self.device = device
        self._bind_host = seat.bind_host
        self._on_one_host = seat.local_ranks == seat.ranks
        self._host_sum: HostSum | None = None
        self._announce: Callable[..., None] | None = None

    def open(self, announce: Callable[..., None], receive: Callable[[str], dict[str, Any]]) -> None:
        """Meet the other ranks: rank 0 announces where it listens, the others receive it."""
        if self.ranks == 1:
            return
        self._announce = announce
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
        if self._on_one_host and self.device.type == "cpu" and self.ranks <= MOST_RANKS:
            self._join_host(store)

    def _join_host(self, store: Any) -> None:
        """Have a quicker way for sums, if all ranks have it."""

        def exchange(mine: bytes) -> list[bytes]:
            found: list[bytes] = []
            store.set(f"lepton-nb-sums-{self.rank}", mine)
            self._meet(lambda: found.extend(store.get(f"lepton-nb-sums-{rank}") for rank in range(self.ranks)))
            return found

        try:
            found = HostSum.join(exchange, self.rank, self.ranks)
        except OSError:  # the system allows no such sockets or memory
            found = None
        joined = torch.tensor(float(found is not None))
        self._meet(lambda: dist.all_reduce(joined))
        if int(joined) == self.ranks:
            self._host_sum = found
        elif found is not None:
            found.close()

    def arrive(self) -> None:
        """Say that this rank has its model, and waits for the others from here on."""
        if self._announce is not None:
            self._announce("arrived")

    def sum_(self, values: Tensor) -> Tensor:
        """Add up `values` over all ranks, in place; every rank gets the same bits."""
        if (
            self._host_sum is not None
            and values.dtype in _SUMMED
            and self._host_sum.fits(_SUMMED[values.dtype], values.numel())
        ):
            self._host_sum.sum_(values.detach().numpy())
        elif self.ranks > 1:
            self._meet(lambda: dist.all_reduce(values))
        return values

    def share_(self, values: Tensor) -> None:
        """Overwrite `values` by those of rank 0."""
        if self.ranks > 1:
            self._meet(lambda: dist.broadcast(values, 0))

    def gather(self, parts: Sequence[Tensor]) -> Tensor:
        """The rows of all ranks' `parts` (rows, ...), in the order of the ranks, on every rank.

        A rank without rows gives no parts; at least one rank has some.
        """
        mine = torch.cat(list(parts)) if parts else torch.zeros(0, device=self.device)
        if self.ranks == 1:
            return mine
        # Rows, then the other sizes (and how many there are), as a rank without rows does not know them.
        shapes = torch.zeros(self.ranks, 10, dtype=torch.int64)
        shapes[self.rank, 0] = len(mine)
        if parts:
            shapes[self.rank, 1] = mine.dim() - 1
            shapes[self.rank, 2 : 1 + mine.dim()] = torch.tensor(mine.shape[1:])
            shapes[self.rank, 9] = _DTYPES.index(mine.dtype)
        shapes = self.sum_(shapes.to(self.device)).cpu()
        known = shapes[int(shapes[:, 0].argmax())]
        row = known[2 : 2 + int(known[1])].tolist()
        most = int(shapes[:, 0].max())
        padded = torch.zeros(most, *row, dtype=_DTYPES[int(known[9])], device=self.device)
        padded[: len(mine)] = mine.reshape(len(mine), *row)
        found = [torch.empty_like(padded) for _ in range(self.ranks)]
        self._meet(lambda: dist.all_gather(found, padded))
        return torch.cat([rows[:count] for rows, count in zip(found, shapes[:, 0].tolist(), strict=True)])

    def close(self) -> None:
        """Leave the group, once every rank is done."""
        if self.ranks > 1:
            self._meet(dist.barrier)
            dist.destroy_process_group()
        if self._host_sum is not None:
            self._host_sum.close()

    def _meet(self, together: Callable[[], object]) -> None:
        try:
            together()
        except RuntimeError as error:
            raise PeerLostError(f"rank {self.rank} lost contact to another rank: {error}") from error
