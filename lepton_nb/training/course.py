"""The attempts of a run, one after the other, until one of them comes to its end."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lepton_nb.background import Control
from lepton_nb.errors import TrainingError
from lepton_nb.training.attempts import Restarts, Team, from_checkpoint
from lepton_nb.training.conductor import Plan, conduct
from lepton_nb.training.heard import Heard, Tell
from lepton_nb.training.result import RankResult
from lepton_nb.training.steering import Steering

if TYPE_CHECKING:
    from lepton_nb.cluster.session import Cluster


@dataclass(frozen=True, slots=True, eq=False)
class Course:
    """checkpoint: the folder from which an attempt after another goes on, None for from the beginning."""

    team: Team
    restarts: Restarts
    heard: Heard
    steering: Steering
    checkpoint: str | os.PathLike[str] | None

    def follow(self, cluster: Cluster, plan: Plan, control: Control, tell: Tell) -> RankResult | None:
        """What rank 0 of the last attempt gave; None where the run was stopped before that.

        Raises TrainingError for what a run does not survive, or not as often.
        """
        while True:
            try:
                result = conduct(cluster, plan, control, lambda message: self.heard.take(message, tell), self.steering)
            except TrainingError as error:
                self.heard.paused = False
                self.restarts.take(error, stopping=control.stopping)
                self.heard.begin_again()
                plan = from_checkpoint(self.team.settle(plan), self.checkpoint)
                tell(self.heard.steps_done, "restarting")
                continue
            if result is None or result.weights is not None or control.stopping:
                return result
            # They were not as many as is quickest.
            self.heard.begin_again()
            plan = self.team.settle(plan)
