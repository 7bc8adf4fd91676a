"""A training run of a panel, and what is known of it besides."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from lepton_nb.training.choices import Parts, look
from lepton_nb.training.evaluation import Evaluation
from lepton_nb.training.run import TrainingRun
from lepton_nb.widgets.training_form import Wish

OWN_ROWS = "the rows kept for it"


@dataclass(eq=False)
class KeptRun:
    """own: whether the panel started it; those are stopped when it closes.

    wish, rows: what it was started with, where the panel did. evaluation: on `evaluated_on`, None while there is none.
    """

    run: TrainingRun
    own: bool
    wish: Wish | None = None
    rows: Parts | None = None
    evaluation: Evaluation | None = None
    evaluated_on: str = ""

    @property
    def can_go_on(self) -> bool:
        """True where the panel has all that it takes to go on with a run that was stopped."""
        return self.wish is not None and self.run.state is not None

    @property
    def test(self) -> Any:
        """The rows that were kept to evaluate the model on; None where there are none."""
        return None if self.rows is None else self.rows.test

    @property
    def words(self) -> str:
        """What the model was evaluated on, or why it was not."""
        if self.evaluation is not None:
            return self.evaluated_on
        if not self.run.status.over:
            return "The model is evaluated when the run is over."
        if self.run.error is not None:
            return "The run failed, so there is no model."
        return "The model was not evaluated: choose test data."

    def judge(self, data: Any, name: str) -> None:
        """Evaluate the model on `data`, whose test part is taken where it has parts."""
        rows = data.test if look(data).kind == "parts" else data
        self.evaluation = self.run.trained.evaluation(rows)
        self.evaluated_on = name
