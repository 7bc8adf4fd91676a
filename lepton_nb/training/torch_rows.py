"""What a PyTorch rank trains on: rows mapped from files, and what each of them counts."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from lepton_nb.errors import TrainingError
from lepton_nb.training.spec import Task


class Table:
    """The rows of one part ("train" or "validation"), mapped from the files that the ranks of a host share."""

    def __init__(self, folder: Path, part: str, device: torch.device, dtype: torch.dtype) -> None:
        # Mode "c" maps privately: torch wants memory that it may write to, and nobody does.
        self.target_values = np.load(folder / f"{part}_target.npy", mmap_mode="c")
        self._features = torch.from_numpy(np.load(folder / f"{part}_features.npy", mmap_mode="c"))
        self._target = torch.from_numpy(self.target_values)
        self._device = device
        self._dtype = dtype

    def __len__(self) -> int:
        return len(self._target)

    def take(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Features and target of `rows` (indices), on the device."""
        return self._move(self._features.index_select(0, rows)), self._move(self._target.index_select(0, rows))

    def span(self, start: int, stop: int) -> tuple[Tensor, Tensor]:
        """Features and target of the rows from `start` to before `stop`."""
        return self._move(self._features[start:stop]), self._move(self._target[start:stop])

    def _move(self, values: Tensor) -> Tensor:
        return values.to(device=self._device, dtype=self._dtype)


class ClassWeights:
    """What a row of each class counts; the same on every rank, as all of them see all targets."""

    def __init__(
        self,
        wanted: Mapping[int, float] | Literal["balanced"],
        target: npt.NDArray[np.floating],
        task: Task,
        like: Tensor,
    ) -> None:
        """`target`: of all training rows. like: a tensor of the type and on the device of the loss.

        Raises TrainingError for a regression, and for a class without a weight.
        """
        if task == "regression":
            raise TrainingError("class_weights are for classes, and this is a regression; leave them out")
        self._target = target
        counts = np.bincount(target.astype(np.int64))
        if wanted == "balanced":
            found = len(target) / (np.count_nonzero(counts) * np.maximum(counts, 1))
        else:
            missing = [number for number in np.flatnonzero(counts).tolist() if number not in wanted]
            if missing:
                raise TrainingError(
                    f"class_weights has no weight for class {missing[0]}, which the training rows hold; add it",
                    missing=missing[0],
                )
            found = np.array([float(wanted.get(number, 1.0)) for number in range(len(counts))])
        self._weights = torch.tensor(found, dtype=like.dtype, device=like.device)

    def of(self, target: Tensor) -> Tensor:
        """The weight of each row with these targets."""
        return self._weights[target.long()]

    def sum(self, rows: Tensor) -> float:
        """What these rows (indices) count together."""
        classes = torch.from_numpy(self._target[rows.numpy()].astype(np.int64))
        return float(self._weights[classes.to(self._weights.device)].double().sum())
