"""When a loop writes a checkpoint, and where."""

from __future__ import annotations

import time
from pathlib import Path

from lepton_nb.training.checkpoint import Store
from lepton_nb.training.spec import TrainingSpec

# How often a run writes checkpoints that are only for its own restarts.
OWN_EVERY_S = 2.0


class Keeper:
    """own: nobody but the run itself will read the checkpoints. step: up to which there is one already, -1 for none.

    state: the last one that was to be held.
    """

    def __init__(self, spec: TrainingSpec, rank: int, *, own: bool, step: int) -> None:
        self._every_steps = spec.checkpoint_every_steps
        self._files = spec.checkpoint is not None
        self._rank = rank
        self.own = own
        self.step = step
        self._at_s = time.monotonic()
        self.state: bytes | None = None
        self._store: Store | None = None
        if spec.checkpoint is not None and rank == 0:
            self._store = Store(Path(spec.checkpoint), spec.keep_checkpoints)

    @property
    def wishes(self) -> bool:
        """Whether this rank wants one of the run's own: by rank 0's clock alone, as all must write at the same step."""
        return self.own and self._rank == 0 and time.monotonic() - self._at_s >= OWN_EVERY_S

    def due(self, step: int, *, wished: bool, epoch_over: bool = False) -> bool:
        """Whether one is to be written after this step, and perhaps epoch; the same on every rank."""
        if self.own:
            return wished
        return epoch_over if self._every_steps is None else step % self._every_steps == 0

    def begin(self, step: int, *, keep: bool) -> bool:
        """Whether one of this step is wanted at all; it then counts as written."""
        if not (self._files or keep):
            return False
        self.step, self._at_s = step, time.monotonic()
        return True

    def put(self, packed: bytes, *, best: bool, keep: bool) -> None:
        """Write the one that was begun, on rank 0; keep: hold it in `state` too."""
        if self._store is not None:
            self._store.save(self.step, packed, best=best)
        if keep:
            self.state = packed
