"""How much a worker sends and receives: measured in its process, reported with each of its heartbeats."""

from __future__ import annotations

import time
from typing import Any

METRIC = "lepton_nb_traffic"


class Rate:
    """How fast a total grows, from one look to the next."""

    def __init__(self) -> None:
        self._before: tuple[float, float] | None = None

    def of(self, total: float, now_s: float) -> float:
        """Per second since the look before; 0 at the first one."""
        before, self._before = self._before, (total, now_s)
        if before is None or now_s <= before[1]:
            return 0.0
        return (total - before[0]) / (now_s - before[1])


class Traffic:
    """A metric for a Dask worker: bytes a second of task results, in and out, between two heartbeats."""

    def __init__(self) -> None:
        self._received_bytes = 0
        self._last_seen: object = None
        self._received, self._sent = Rate(), Rate()

    def __call__(self, worker: Any) -> dict[str, float]:
        """Called by the worker when it reports to the scheduler."""
        # Dask keeps a total of what a worker sent; of what it received, only a log of the last transfers.
        for transfer in reversed(worker.transfer_incoming_log):
            if transfer is self._last_seen:
                break
            self._received_bytes += transfer["total"]
        self._last_seen = worker.transfer_incoming_log[-1] if worker.transfer_incoming_log else None
        now_s = time.monotonic()
        return {
            "received_bytes_s": self._received.of(self._received_bytes, now_s),
            "sent_bytes_s": self._sent.of(worker.transfer_outgoing_bytes_total, now_s),
        }
