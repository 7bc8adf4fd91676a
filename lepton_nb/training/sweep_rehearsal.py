"""Mistakes in the options of a sweep, found before it starts: every value must do for one trial at least."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from typing import Any

from lepton_nb.errors import TrainingError
from lepton_nb.training.settle import check_warmup, settle
from lepton_nb.training.spec import TrainingSpec
from lepton_nb.training.sweep_space import Recipe, Space, corners

# Of each value beside others; more would take seconds, and what they miss is tried again value by value.
MOST_DRAWS = 1_000


def rehearse(recipe: Recipe, space: Space, given: Mapping[str, Any], rows: int | None = None) -> TrainingSpec:
    """The options of a trial that can be, once each choice and each end of a range is known to be in one.

    Draws may be refused where values do not go together, as momentum and an optimizer that takes none: that is a trial
    that fails. rows: how many there are to train on, once that is known. Raises TrainingError, as `lnb.train` would,
    for a value that is refused beside any other values.
    """
    draws = list(itertools.islice(corners(space), MOST_DRAWS))
    refusals = [_refusal(recipe, values, given, rows) for values in draws]
    fine = [values for values, refusal in zip(draws, refusals, strict=True) if refusal is None]
    if not fine:
        raise next(refusal for refusal in refusals if refusal is not None)
    for name, entry in space.items():
        for value in entry.corners():
            if any(values[name] is value for values in fine):
                continue
            refusal = _refusal(recipe, {**fine[0], name: value}, given, rows)
            if refusal is not None and all(
                _refusal(recipe, other, given, rows) for other in _beside(space, fine, name, value)
            ):
                raise refusal
    return TrainingSpec.of(**{**given, **recipe.options_of(fine[0])})


def _beside(space: Space, fine: list[dict[str, Any]], name: str, value: Any) -> Iterator[dict[str, Any]]:
    """Draws with `value`: beside the values of each fine one, and beside each value of each other name."""
    for values in fine:
        yield {**values, name: value}
    for other, entry in space.items():
        if other != name:
            yield from ({**fine[0], name: value, other: further} for further in entry.corners())


def _refusal(
    recipe: Recipe, values: Mapping[str, Any], given: Mapping[str, Any], rows: int | None
) -> TrainingError | None:
    """Why a trial with these values could not train; None where it can, as far as is known before it starts."""
    try:
        model = recipe.model if recipe.calls_the_users_code else recipe.model_of(values)
        spec = settle(model, **{**given, **recipe.options_of(values)})
        if rows is not None:
            check_warmup(spec, rows)
    except TrainingError as error:
        return error
    return None
