"""Which rank runs on which worker: pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from lepton_nb.errors import TrainingError

LOOPBACK = "127.0.0.1"
# The array of this name asks the ranks to measure, and to train only if they are the right number.
CHOOSE = "choose"


@dataclass(frozen=True, slots=True)
class Seat:
    """Where one rank runs. `bind_host` is the address on which the ranks of this run can reach each other.

    beside: how many such runs share the machines.
    """

    rank: int
    ranks: int
    address: str
    host: str
    local_rank: int
    local_ranks: int
    bind_host: str
    beside: int = 1


def place(addresses: Sequence[str], ranks: int, beside: int = 1) -> tuple[Seat, ...]:
    """One seat a rank, on the first `ranks` of `addresses` (such as "tls://127.0.0.1:4001"), one a worker.

    Ranks on one machine talk over loopback; ranks on several use each worker's own address.
    Raises TrainingError where there are fewer workers than ranks.
    """
    if ranks > len(addresses):
        raise TrainingError(
            f"workers={ranks}, but the cluster has {len(addresses)}; "
            f"give workers={len(addresses)} or a cluster with {ranks} workers",
            want=ranks,
            got=len(addresses),
        )
    chosen = addresses[:ranks]
    hosts = [host_of(address) for address in chosen]
    total = Counter(hosts)
    seen: Counter[str] = Counter()
    seats = []
    for rank, (address, host) in enumerate(zip(chosen, hosts, strict=True)):
        bind_host = LOOPBACK if len(total) == 1 else host
        seats.append(Seat(rank, ranks, address, host, seen[host], total[host], bind_host, beside))
        seen[host] += 1
    return tuple(seats)


def host_of(address: str) -> str:
    """The host in a Dask address: "tls://10.0.0.1:4001" → "10.0.0.1", "tcp://[::1]:80" → "::1"."""
    return address.split("://")[-1].rpartition(":")[0].strip("[]")
