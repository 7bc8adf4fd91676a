"""Dask futures that are let go of for certain."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from distributed import Client


def drop(client: Client, futures: Iterable[Any]) -> None:
    """Cancel and release all of `futures`, also those that are done: the client forgets them whoever holds them."""
    every = list(futures)
    if client.status == "running":
        client.cancel(every, force=True)
    # By hand, as the error of one holds all of them until Python collects its garbage.
    for future in every:
        future.release()
