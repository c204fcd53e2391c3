"""L1 and the median: what the best guess is, and where the encoder's gradient leads (section 3.1).

Of all predictions the one with the smallest L1 error is the median of what comes, and the error
that is left is the mean absolute deviation from it (MAD). So under the best predictor the encoder's
gradient is that of the MAD: it is rewarded for what narrows down the target, not for saying less.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from torch import Generator

COUNT = 4000
"""Outcomes that are drawn."""


class Guesses(NamedTuple):
    """The best guesses of one number that comes out of a distribution.

    Attributes:
        median: the best under L1.
        mad: the L1 error that it leaves: the mean absolute deviation from the median.
        mean: the best under a squared error.
        deviation: the standard deviation, whose square that leaves.
    """

    median: float
    mad: float
    mean: float
    deviation: float


def outcomes(
    share: float, apart: float, noise: float, generator: Generator, count: int = COUNT
) -> Float[np.ndarray, " n"]:
    """What may come: one of two things, each with some noise.

    Args:
        share: how often the second happens, 0..1.
        apart: where it lies; the first lies at 0.
        noise: standard deviation of each.
        generator: of the draws.
        count: how many.
    """
    second = torch.rand(count, generator=generator) < share
    return (apart * second + noise * torch.randn(count, generator=generator)).numpy()


def best_guesses(values: Float[np.ndarray, " n"]) -> Guesses:
    """The best guesses of what comes."""
    median = float(np.median(values))
    mad = float(np.abs(values - median).mean())
    return Guesses(median, mad, float(values.mean()), float(values.std()))


def errors(
    values: Float[np.ndarray, " n"], guesses: Float[np.ndarray, " g"]
) -> Float[np.ndarray, "2 g"]:
    """The mean absolute and the root mean squared error of every guess."""
    off = values[:, None] - guesses
    return np.stack([np.abs(off).mean(0), np.sqrt(np.square(off).mean(0))])


class Slopes(NamedTuple):
    """What an encoder is told that keeps one number of two, over the angle at which it looks.

    The context is two independent standard normal numbers a and b, the target a with some noise;
    the encoder keeps e = a cos(angle) + b sin(angle). At 0 it keeps all that matters, at 90 degrees
    all that does not.

    Attributes:
        mad: the target's mean absolute deviation from its median, given e.
        of_mad: its slope, by differences of two medians' errors.
        through: the gradient that reaches the encoder when the best predictor is held still, as in
            training.
        stale: the same through a predictor that ignores e.
    """

    mad: Float[np.ndarray, " angles"]
    of_mad: Float[np.ndarray, " angles"]
    through: Float[np.ndarray, " angles"]
    stale: Float[np.ndarray, " angles"]


def slopes(
    angles: Float[np.ndarray, " angles"], noise: float, generator: Generator, count: int = 100_000
) -> Slopes:
    """The paper's argument in numbers, on the same draws for every angle.

    Args:
        angles: at which the encoder looks, radians.
        noise: standard deviation of the target's own.
        generator: of the draws.
        count: how many.
    """
    a, b, own = torch.randn(3, count, generator=generator, dtype=torch.double).numpy()
    target, step = a + noise * own, 1e-2

    def loss(angle: float, slope: float) -> float:
        kept = a * np.cos(angle) + b * np.sin(angle)
        return float(np.abs(slope * kept - target).mean())

    def best(angle: float) -> float:
        return float(np.cos(angle))  # all is normal: the median of the target, given e, is this x e

    def slope(of: Callable[[float], float], angle: float) -> float:
        return (of(angle + step) - of(angle - step)) / (2 * step)

    def at(angle: float) -> tuple[float, ...]:
        held = best(angle)
        return (
            loss(angle, held),
            slope(lambda near: loss(near, best(near)), angle),
            slope(lambda near: loss(near, held), angle),
            slope(lambda near: loss(near, 0.0), angle),
        )

    return Slopes(*np.array([at(angle) for angle in angles]).T)
