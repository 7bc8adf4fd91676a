"""Token numbers that a model knows: checked where rows are in memory, and told where a framework finds one itself."""

from __future__ import annotations

import re
from types import FrameType
from typing import Any

import numpy as np

from lepton_nb.errors import TrainingError
from lepton_nb.training.array_rows import Array

LOOKED_AT_BYTES = 32 * 2**20
# As TensorFlow says it on a CPU. On a GPU it takes zeros and says nothing.
_TENSORFLOW = re.compile(r"indices\[[\d,]*\] = (-?\d+) is not in \[0, (\d+)\)")


def check_tokens(features: Array, vocabulary: int, what: str, first: int = 0) -> None:
    """Raise TrainingError unless `features` (rows, steps) are whole numbers from 0 to vocabulary - 1.

    what, first: how errors name the rows, and the number of the first of them.
    """
    rows = max(1, LOOKED_AT_BYTES // max(1, features[:1].nbytes))
    for start in range(0, len(features), rows):
        part = features[start : start + rows]
        if part.min() >= 0 and part.max() < vocabulary and (part.dtype.kind != "f" or (part == np.floor(part)).all()):
            continue
        bad = (part < 0) | (part >= vocabulary) | (part != np.floor(part))
        row, step = (int(number) for number in np.argwhere(bad)[0])
        where = f" in row {first + start + row:,} (from 0)"
        raise _outside(part[row, step].item(), vocabulary, f"{what} holds", where, most=features.max())


def told(error: BaseException) -> TrainingError | None:
    """What a framework's own error means where it is about a token number; None where it is about something else."""
    found = _TENSORFLOW.search(str(error))
    if found is not None:
        value, vocabulary = (int(number) for number in found.groups())
        return _outside(value, vocabulary, "the rows hold")
    if not isinstance(error, IndexError):
        return None
    # PyTorch's names neither, but they are at hand where it was raised.
    trace, frame = error.__traceback__, None
    while trace is not None:
        frame, trace = trace.tb_frame, trace.tb_next
    values = None if frame is None else _looked_up(frame)
    if values is None:
        return None
    tokens, vocabulary = values
    strange = tokens[(tokens < 0) | (tokens >= vocabulary)]
    return _outside(int(strange[0]), vocabulary, "the rows hold") if len(strange) else None


def _looked_up(frame: FrameType) -> tuple[Any, int] | None:
    """The tokens and the vocabulary of torch.nn.functional.embedding, if that is where `frame` is."""
    if frame.f_code.co_name != "embedding" or frame.f_globals.get("__name__") != "torch.nn.functional":
        return None
    return frame.f_locals["input"].reshape(-1), len(frame.f_locals["weight"])


def _outside(value: float, vocabulary: int, holds: str, where: str = "", most: float = 0) -> TrainingError:
    needed = int(max(value, most)) + 1
    more = f"train one with vocabulary={needed} or more, or " if value >= vocabulary else ""
    return TrainingError(
        f"{holds} the token number {value:g}{where}, and the model knows the whole numbers from 0 to {vocabulary - 1} "
        f"(vocabulary={vocabulary}); {more}number the tokens as the model does, with one number for all that it does "
        "not know",
        value=value,
        vocabulary=vocabulary,
    )
