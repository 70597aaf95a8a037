"""Learning rate as a pure function of the step, so that a resumed run needs no scheduler state."""

from __future__ import annotations

import math
from collections.abc import Callable

# The one-cycle policy starts at a 25th of the peak and ends at a 10,000th of that
# (Smith and Topin 2018, "Super-Convergence", with the constants of today's libraries).
START_DIVISOR = 25.0
END_DIVISOR = 1e4


def step_decay(step: int, steps_per_epoch: int, peak: float, every: int, factor: float) -> float:
    """The peak rate, multiplied by `factor` after every `every` epochs."""
    return peak * factor ** (step // steps_per_epoch // every)


def one_cycle(step: int, total_steps: int, peak: float, warmup: float) -> float:
    """Cosine up to the peak in the first `warmup` (share of all steps), then cosine down to about 0."""
    start, end = peak / START_DIVISOR, peak / START_DIVISOR / END_DIVISOR
    rising = warmup * total_steps
    if step < rising:
        return _cosine(start, peak, step / rising)
    return _cosine(peak, end, min((step - rising) / max(total_steps - 1 - rising, 1), 1.0))


def learning_rate(
    schedule: str,
    peak: float,
    steps_per_epoch: int,
    n_epochs: int,
    *,
    step_epochs: int = 2,
    step_factor: float = 0.2,
    warmup: float = 0.1,
) -> Callable[[int], float]:
    """`rate(step)` for the schedule "step" or "onecycle"; steps count from 0 over the whole run."""
    if schedule == "step":
        return lambda step: step_decay(step, steps_per_epoch, peak, step_epochs, step_factor)
    if schedule == "onecycle":
        return lambda step: one_cycle(step, steps_per_epoch * n_epochs, peak, warmup)
    raise ValueError(f"schedule {schedule!r} is neither 'step' nor 'onecycle'")


def _cosine(start: float, end: float, share: float) -> float:
    return end + (start - end) * (1 + math.cos(math.pi * share)) / 2
