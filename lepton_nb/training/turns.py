"""Whose turn it is to train on a cluster: one training after the other."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from lepton_nb.background import Control

if TYPE_CHECKING:
    from distributed import Client

LOCK = "lepton-nb-training"
# How often a run that waits looks whether it is stopped.
TICK_S = 0.5


@contextlib.contextmanager
def turn(
    client: Client, control: Control, name: str = LOCK, waits: Callable[[], None] = lambda: None
) -> Iterator[bool]:
    """Wait for the turn to train on the cluster, or where trainings queue under `name`; False if stopped before.

    waits: called each time when it has waited for a while.

    The scheduler takes the turn back from a client that is gone (distributed.scheduler.locks.lease-timeout, 30 s).
    """
    from distributed import Lock

    lock = Lock(name, scheduler_rpc=client.scheduler, loop=client.loop)
    try:
        while not lock.acquire(timeout=TICK_S):
            if control.stopping:
                yield False
                return
            waits()
        try:
            yield True
        finally:
            if client.status == "running":  # a closed cluster holds no locks
                lock.release()
    finally:
        lock.refresh_callback.stop()
