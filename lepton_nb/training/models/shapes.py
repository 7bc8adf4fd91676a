"""The shape of one row's features, and what a kind of model makes of it."""

from __future__ import annotations

from typing import Any

from lepton_nb.errors import TrainingError

Shape = tuple[int, ...]


def dimensions(shape: Any) -> Shape:
    """The shape of one row as a tuple, an int n being (n,). Raises TrainingError for what is no shape."""
    given = shape if isinstance(shape, tuple | list) else (shape,)
    for size in given:
        if isinstance(size, bool) or not isinstance(size, int) or size < 1:
            raise TrainingError(
                f"the shape of a row is {shape!r}; give the number of features, or a tuple such as (28, 28, 1)",
                shape=shape,
            )
    if not given:
        raise TrainingError("the shape of a row is empty; give rows with at least one feature", shape=shape)
    return tuple(given)


def plain(shape: Shape) -> int | Shape:
    """The form that people write: an int for one dimension."""
    return shape[0] if len(shape) == 1 else shape


def picture(shape: Shape) -> Shape:
    """What a convolution sees: (steps, channels) or (height, width, channels); a flat row is steps of one number."""
    if len(shape) == 1:
        return (*shape, 1)
    if len(shape) > 3:
        raise TrainingError(
            f"a cnn takes rows of (steps, channels) or (height, width, channels); these have the shape {shape}",
            shape=shape,
        )
    return shape


def sequence(shape: Shape, vocabulary: int | None) -> Shape:
    """What a model of sequences sees: (steps,) of token numbers, or (steps, features); a flat row has one a step."""
    if vocabulary is not None:
        if len(shape) != 1:
            raise TrainingError(
                f"with vocabulary={vocabulary} a row is (steps,) of token numbers; these have the shape {shape}. "
                "Leave vocabulary out for rows of (steps, features)",
                shape=shape,
            )
        return shape
    if len(shape) == 1:
        return (*shape, 1)
    if len(shape) != 2:
        raise TrainingError(
            f"a model of sequences takes rows of (steps, features); these have the shape {shape}", shape=shape
        )
    return shape
