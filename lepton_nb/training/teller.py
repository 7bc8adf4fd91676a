"""What a rank tells of its steps and epochs: gathered, sent by rank 0 a few times a second, and kept with a state."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from lepton_nb.training.channel import Channel
from lepton_nb.training.engine import Outcome
from lepton_nb.training.pace import Pace

SEND_EVERY_S = 0.1


class Teller:
    """The rows of `run.steps` and `run.history`. Every rank gathers, as any may be rank 0 when a run goes on."""

    def __init__(self, channel: Channel, *, rank: int) -> None:
        self._channel = channel
        self._tells = rank == 0
        self._gradient_norm: float | None = None
        self._rate = 0.0
        # Loss and rows (or what they count) since the last row of `run.steps`, which need not end with an epoch.
        self._loss_since = 0.0
        self._rows_since = 0.0
        self._unsent: list[dict[str, Any]] = []
        self._sent_s = time.monotonic()
        # What was told so far, as a checkpoint holds it.
        self.told: dict[str, list[dict[str, Any]]] = {"steps": [], "epochs": []}

    def take(self, outcome: Outcome, rate: float) -> None:
        """Note a step, taken at the learning rate `rate`."""
        self._loss_since += outcome.loss * outcome.counted
        self._rows_since += outcome.counted
        self._rate = rate
        if outcome.gradient_norm is not None:
            self._gradient_norm = outcome.gradient_norm

    def step(self, step: int, epoch: int, elapsed_s: float) -> None:
        """Add a row of `run.steps`; epochs count from 0 here."""
        loss = self._loss_since / self._rows_since
        self._loss_since, self._rows_since = 0.0, 0.0
        self._unsent.append(
            {
                "step": step,
                "epoch": epoch + 1,
                "loss": loss,
                "gradient_norm": self._gradient_norm,
                "learning_rate": self._rate,
                "elapsed_s": elapsed_s,
            }
        )
        if time.monotonic() - self._sent_s >= SEND_EVERY_S:
            self.flush()

    def rest(self, step: int, epoch: int, elapsed_s: float) -> None:
        """Add a row for the steps since the last one, if there are any, and send all."""
        if self._rows_since:
            # The norm is that of a step that was told.
            self._gradient_norm = None
            self.step(step, epoch, elapsed_s)
        self.flush()

    def epoch(self, row: dict[str, Any]) -> None:
        """Tell a row of `run.history`, and the steps before it."""
        self.flush()
        if self._tells:
            self.told["epochs"].append(row)
            self._channel.send("epoch", row=row)

    def flush(self) -> None:
        """Send all that is not sent yet."""
        if self._unsent and self._tells:
            self._channel.send("steps", rows=self._unsent)
            self.told["steps"] += self._unsent
        self._unsent = []
        self._sent_s = time.monotonic()

    def pace(self, pace: Pace) -> None:
        """Tell how many ranks would be quickest."""
        if self._tells:
            self._channel.send("pace", **pace.told())

    def compiled(self, facts: Mapping[str, Any]) -> None:
        """Tell what came of compiling."""
        if self._tells:
            self._channel.send("compiled", **facts)

    def again(self) -> None:
        """Tell what was told before the run was gone on with."""
        if self._tells:
            if self.told["steps"]:
                self._channel.send("steps", rows=self.told["steps"])
            for row in self.told["epochs"]:
                self._channel.send("epoch", row=row)

    def position(self) -> dict[str, float]:
        """What the next row begins with, for a checkpoint."""
        return {"loss_since": self._loss_since, "rows_since": self._rows_since}

    def restore(self, position: Mapping[str, float], told: dict[str, list[dict[str, Any]]]) -> None:
        """Go on from what a checkpoint holds."""
        self._loss_since, self._rows_since = position["loss_since"], position["rows_since"]
        self.told = told
