"""What of a run must be the same for it to go on from a checkpoint."""

from __future__ import annotations

from typing import Any

from lepton_nb.errors import TrainingError
from lepton_nb.training.batches import Source
from lepton_nb.training.engine import Engine
from lepton_nb.training.spec import TrainingSpec

# Options that say which numbers come next; others, such as epochs or learning_rate, may be changed on the way.
SAME = ("seed", "batch_size", "precision", "optimizer")


def of(spec: TrainingSpec, train: Source, engine: Engine) -> dict[str, Any]:
    """As plain values, by what people call them."""
    return {
        **{name: getattr(spec, name) for name in SAME},
        "training rows": len(train),
        "features": list(train.shape),
        "target values (checksum)": train.checksum,
        **engine.identity(),
    }


def check(found: dict[str, Any], now: dict[str, Any]) -> None:
    """Raise TrainingError that names the first thing that is not as it was when the checkpoint was made."""
    for name, value in now.items():
        if found.get(name) != value:
            was, new = (_shown(name, *pair) for pair in ((found.get(name), value), (value, found.get(name))))
            raise TrainingError(
                f"the checkpoint was made with {was}, and this run has {new}; give the same model, rows and options, "
                "or start anew without resume",
                name=name,
            )


def _shown(name: str, value: Any, other: Any) -> str:
    """A fact, and of the weights the first ones that `other` has not."""
    if name != "weights" or not isinstance(value, dict) or not isinstance(other, dict):
        return f"{name} {value}"
    alone = [f"{weight} of the shape {tuple(shape)}" for weight, shape in value.items() if other.get(weight) != shape]
    return f"the weights {', '.join(alone[:2])}{' and more' if alone[2:] else ''}" if alone else "no further weights"
