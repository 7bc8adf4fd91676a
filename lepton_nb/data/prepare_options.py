"""What `prepare` is asked for, checked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import get_args

import polars as pl

from lepton_nb.data.frames import column_names, present, schema
from lepton_nb.data.splitting import Part
from lepton_nb.data.tokens import check_options
from lepton_nb.data.transform import TEXT, Precision, check_target, check_text
from lepton_nb.errors import DataError


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """The options of `prepare`, which explains them."""

    target: str
    time: str | None
    features: Sequence[str] | None
    validation: Part
    test: Part
    seed: int
    min_rows: int | None
    clip_sigmas: float | None
    precision: Precision
    text: str | None
    tokens: int
    vocabulary: int

    def chosen(self, table: pl.DataFrame | pl.LazyFrame, *, labels: bool = False) -> list[str]:
        """The columns to learn from, once they and all options are known to fit `table`; DataError otherwise.

        labels: whether the target may be text.
        """
        columns = column_names(table)
        target, time, features = self.target, self.time, self.features
        if isinstance(features, str):
            raise DataError(f"features={features!r} is one name; give a list, such as [{features!r}]")
        present(columns, [target, *([time] if time else []), *(features or [])])
        if self.text is not None:
            check_options(self.text, self.tokens, self.vocabulary)
            if features is not None:
                raise DataError("a model of sequences takes the words of text=... alone; leave features out")
            features = present(columns, [self.text])
            check_text(table, self.text)
        chosen = list(features) if features is not None else [c for c in columns if c not in (target, time)]
        if target in chosen:
            raise DataError(f"the target {target!r} is among the features; leave it out, or the model learns nothing")
        if len(set(chosen)) < len(chosen):
            twice = next(name for name in chosen if chosen.count(name) > 1)
            raise DataError(f"the feature {twice!r} is given twice; give each once", column=twice)
        if self.precision not in get_args(Precision):
            raise DataError.unknown("precision", str(self.precision), get_args(Precision))
        if self.clip_sigmas is not None and not self.clip_sigmas > 0:
            raise DataError(
                f"clip_sigmas={self.clip_sigmas!r} cannot be; give a number above 0, or None to leave outliers"
            )
        if not chosen:
            raise DataError("there is no feature to learn from; give at least one column beside the target")
        if not (labels and isinstance(schema(table)[target], TEXT)):
            check_target(table, target)
        return chosen

    def least_rows(self, training_rows: int) -> int:
        """How many training rows a category must be in; of words, how often they must be there."""
        if self.min_rows is not None:
            return self.min_rows
        return 1 if self.text is not None else max(2, min(20, training_rows // 100))
