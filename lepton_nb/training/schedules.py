"""How the learning rate changes with the steps: pure, the same for every framework."""

from __future__ import annotations

import math

from lepton_nb.training.spec import Schedule


def rate(learning_rate: float, schedule: Schedule, warmup_steps: int, step: int, steps: int) -> float:
    """The learning rate of step `step` (from 0) of `steps`.

    It rises in equal parts over the first `warmup_steps` steps and has reached `learning_rate` in the last of these.
    From the step after them on, "linear" falls in a straight line and "cosine" in half a wave (Loshchilov and Hutter,
    SGDR: stochastic gradient descent with warm restarts, 2017, without restarts); both would be zero in the step
    after the last.
    """
    if step < warmup_steps:
        return learning_rate * (step + 1) / warmup_steps
    if schedule == "constant":
        return learning_rate
    done = (step - warmup_steps) / max(steps - warmup_steps, 1)
    return learning_rate * (1 - done if schedule == "linear" else 0.5 * (1 + math.cos(math.pi * done)))
