"""What the ranks of a run have said so far: its history, where it stands, and what it has cost."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from lepton_nb.training.attempts import FewerWorkersWarning, Team, compiled_note
from lepton_nb.training.cost import Cost, combine
from lepton_nb.training.history import History
from lepton_nb.training.spec import Task
from lepton_nb.training.tracking import Tracking

# Called with the steps that are done, the phase, and further values.
Tell = Callable[..., None]


class Heard:
    """Takes the messages of ranks, each of which may come twice: as an event, and with the result.

    warn: called with a sentence and a kind of warning. goes_on: the run goes on with what another one did.
    """

    def __init__(
        self, team: Team, tracking: Tracking, warn: Callable[[str, type[Warning]], None], *, goes_on: bool = False
    ) -> None:
        self._team = team
        self._tracking = tracking
        self._warn = warn
        self._goes_on = goes_on
        self.history = History()
        self.task: Task | None = None
        self.steps_done = 0
        self.paused = self.waiting = False
        self.compiled: str | None = None
        self.outputs: dict[int, str] = {}
        # What each attempt's ranks said that they cost, by rank.
        self.costs: list[dict[int, dict[str, Any]]] = [{}]

    @property
    def cost(self) -> Cost:
        """Of all ranks of all attempts."""
        return sum((combine(attempt.values()) for attempt in self.costs[1:]), combine(self.costs[0].values()))

    def begin_again(self) -> None:
        """Other ranks speak from now on."""
        self.costs.append({})

    def take(self, message: Mapping[str, Any], tell: Tell) -> None:
        """Note a message, and tell of what is news."""
        kind = message["kind"]
        if kind == "ready" and self.task is None:
            self.task = message["task"]
            # The steps before a run was gone on with are told at once, and say nothing of its pace.
            tell(0, "starting" if self._goes_on else "training")
        elif kind == "waiting":
            if not self.waiting:
                self.waiting = True
                tell(self.steps_done, "waiting")
        elif kind == "started":
            self.waiting = False
        elif kind == "steps":
            self.history.add_steps(message["rows"])
            self._tracking.steps(message["rows"])
            self._advance(message["rows"][-1], tell)
        elif kind == "epoch":
            self.history.add_epoch(message["row"])
            self._tracking.epoch(message["row"])
            self._advance(message["row"], tell)
        elif kind in ("paused", "resumed"):
            self.paused = kind == "paused"
            self.steps_done = max(self.steps_done, message["step"])
            tell(self.steps_done, "paused" if self.paused else "training")
        elif kind == "pace":
            warning = self._team.take(message)
            if warning is not None:
                self._warn(warning, FewerWorkersWarning)
        elif kind == "compiled":
            self.compiled = compiled_note(message)
        elif kind == "cost":
            self.costs[-1][message["rank"]] = message["report"]
        elif kind == "output":
            self.outputs[message["rank"]] = message["text"]
        elif kind == "done":
            self.steps_done = message["step"]

    def _advance(self, row: Mapping[str, Any], tell: Tell) -> None:
        if row["step"] > self.steps_done:
            self.steps_done = row["step"]
            tell(self.steps_done, "training", epoch=row["epoch"], loss=row["loss"])
