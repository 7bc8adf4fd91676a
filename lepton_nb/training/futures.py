"""Dask futures that are let go of for certain."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from distributed import Client


def drop(client: Client, futures: Iterable[Any]) -> None:
    """Cancel what still runs of `futures` and release all of them; nothing where the cluster is closed."""
    every = list(futures)
    if client.status == "running":
        client.cancel([future for future in every if not future.done()], force=True)
    # By hand, as the error of one holds all of them until Python collects its garbage.
    for future in every:
        future.release()
