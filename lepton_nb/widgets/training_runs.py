"""A training run of a panel, what is known of it besides, and the rows that its model can be evaluated on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import polars as pl

from lepton_nb.data.transform import Prepared
from lepton_nb.errors import LeptonError
from lepton_nb.training.array_rows import is_pair
from lepton_nb.training.choices import Parts, look
from lepton_nb.training.evaluation import Evaluation
from lepton_nb.training.run import TrainingRun
from lepton_nb.widgets.training_form import Wish

# The parts of the rows that a panel trained on, by what they are called.
TEST, VALIDATION, TRAINING = "its test rows", "its validation rows", "its training rows"
# A smaller share of rows that were learnt from is not worth a word.
LEAST_SHARE = 0.005


class Rows(NamedTuple):
    """Rows to evaluate on. learnt: whether the model has learnt from some of them, as far as that is known."""

    name: str
    learnt: bool

    @property
    def label(self) -> str:
        """As it is offered."""
        return f"{self.name} (learnt from)" if self.learnt else self.name


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
    # Of each data that was looked at, whether the model learnt from it, and whether it fits.
    _looked: dict[tuple[str, int], tuple[bool, bool]] = field(default_factory=dict)

    @property
    def can_go_on(self) -> bool:
        """True where the panel has all that it takes to go on with a run that was stopped."""
        return self.wish is not None and self.run.state is not None

    @property
    def parts(self) -> dict[str, Any]:
        """The rows that the panel trained, validated and kept to test on, by name; test rows first."""
        if self.rows is None:
            return {}
        found = {TEST: self.rows.test, VALIDATION: self.rows.validation, TRAINING: self.rows.train}
        return {name: rows for name, rows in found.items() if rows is not None}

    @property
    def test_note(self) -> str | None:
        """Which rows test the model, in words; None where the panel does not know."""
        if self.rows is None:
            return None
        test = self.rows.test
        if test is None:
            return "to test: no rows"
        count = _count(test)
        return f"to test, when the run is over: {'' if count is None else f'{count:,} '}other rows"

    def offered(self, data: Mapping[str, Any]) -> list[Rows]:
        """The parts of its own rows, and all of `data`: first what the model has not learnt from."""
        parts = [Rows(name, name == TRAINING) for name in self.parts]
        looked = {name: self._look(name, rows) for name, rows in data.items()}
        others = [Rows(name, learnt) for name, (learnt, _) in looked.items()]
        fits = {name: fits for name, (_, fits) in looked.items()}
        # In the order that they have otherwise.
        return sorted([*parts, *others], key=lambda rows: (not fits.get(rows.name, True), rows.learnt))

    def warning(self, rows: Rows | None) -> str:
        """What to know before an evaluation on these rows; empty where there is nothing."""
        if rows is None or not rows.learnt:
            return ""
        return f"{self.run.name} learnt from rows of these, which do not tell how well it does on new ones."

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

    @property
    def caution(self) -> str:
        """What to know of the evaluation: whether the model had seen its rows; empty where it had not."""
        share = None if self.evaluation is None else self.evaluation.learnt
        name = self.run.name
        if share is None or share < LEAST_SHARE:
            return ""
        if share > 1 - LEAST_SHARE:
            return f"{name} learnt from these rows: this is how well it knows them, not how well it does on new ones."
        return f"About {share:.0%} of these rows equal rows that {name} learnt from; on new ones it may do worse."

    def judge(self, data: Any, name: str) -> None:
        """Evaluate the model on `data`, whose test part is taken where it has parts."""
        rows = data.test if look(data).kind == "parts" else data
        self.evaluation = self.run.trained.evaluation(rows)
        self.evaluated_on = name

    def _look(self, name: str, data: Any) -> tuple[bool, bool]:
        """Whether the model has learnt from rows of `data`, and whether it can be evaluated on them."""
        # What the panel prepared holds the rows that it trained on; of parts the test part is taken.
        known = self.wish is not None and self.wish.data == name and look(data).kind != "parts", True
        if not self.run.status.over or self.run.error is not None or not self.run.step:
            return known
        key = name, id(data)
        if key not in self._looked:
            self._looked[key] = known
            if isinstance(data, pl.DataFrame | Prepared) or is_pair(data):
                try:
                    share = self.run.trained.learnt_share(data)
                except LeptonError:
                    self._looked[key] = False, False
                else:
                    self._looked[key] = (known[0] or (share or 0.0) >= LEAST_SHARE), True
        return self._looked[key]


def _count(rows: Any) -> int | None:
    """How many rows, where that is known without reading them."""
    if is_pair(rows):
        rows = rows[0]
    try:
        return len(rows)
    except TypeError:
        return None
