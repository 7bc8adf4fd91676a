"""Some workers of a cluster as if they were a cluster of their own, for trainings that go on at the same time."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from distributed import Client

    from lepton_nb.cluster.session import Cluster


class ClusterPart:
    """The workers of these names, also when one of them dies and is replaced under its name.

    beside: how many such parts train at once, which share the cores of each machine. turn: where trainings on this part
    queue; whoever makes parts sees to it that nobody trains on the whole cluster meanwhile.
    """

    def __init__(self, cluster: Cluster, names: Collection[str], beside: int, turn: str) -> None:
        self._cluster = cluster
        self.names = frozenset(names)
        self.beside = beside
        self.turn = turn

    @property
    def client(self) -> Client:
        """The cluster's own."""
        return self._cluster.client

    @property
    def backend(self) -> Any:
        """The cluster's own."""
        return self._cluster.backend

    @property
    def workers(self) -> tuple[str, ...]:
        """The addresses of those that are there now, in the order of their names."""
        return tuple(each.address for each in self._cluster.snapshot().workers if each.name in self.names)


def free_part(cluster: Cluster, used: Collection[str], count: int, beside: int, turn: str) -> ClusterPart | None:
    """A part of `count` workers whose names are not in `used`; None while there are fewer."""
    free = [each.name for each in cluster.snapshot().workers if each.name not in used]
    return ClusterPart(cluster, free[:count], beside, turn) if len(free) >= count else None
