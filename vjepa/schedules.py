"""Schedules as pure functions of the step."""

from __future__ import annotations

import math


def linear(step: int, steps: int, start: float, end: float) -> float:
    """A straight line from `start` to `end`."""
    return start + (end - start) * min(step / max(steps, 1), 1.0)


def cosine(step: int, steps: int, start: float, end: float) -> float:
    """Half a cosine from `start` to `end`."""
    return end + (start - end) * (1 + math.cos(math.pi * min(step / max(steps, 1), 1.0))) / 2


def warmup_cosine(
    step: int, steps: int, *, warmup: int, start: float, peak: float, end: float
) -> float:
    """A line from `start` to `peak` over the warm-up, then half a cosine to `end`."""
    if step < warmup:
        return linear(step, warmup, start, peak)
    return cosine(step - warmup, steps - warmup, peak, end)
