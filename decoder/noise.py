"""The noise that samples start from, the same kind in training and in sampling."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from jaxtyping import Float, Int64
from torch import Generator, Tensor

from vjepa.grid import take

SHARED = 0.8
"""Share of the variance that all time steps have in common.

A video changes little from one tubelet to the next; noise that does not either lets a sample keep
its made-up details through time instead of flickering (Ge et al. 2023, "Preserve Your Own
Correlation"). Each token's noise on its own stays standard normal.
"""


def draw_noise(
    grid: Sequence[int], dim: int, idx: Int64[Tensor, "B M"], generator: Generator
) -> Float[Tensor, "B M P"]:
    """Noise of the given tokens.

    Args:
        grid: tokens along time, height and width.
        dim: numbers in a tubelet.
        idx: which tokens.
        generator: source of the noise.
    """
    _, h, w = grid
    shared = torch.randn(len(idx), h * w, dim, generator=generator)
    own = torch.randn(*idx.shape, dim, generator=generator)
    return math.sqrt(SHARED) * take(shared, idx % (h * w)) + math.sqrt(1 - SHARED) * own


def draw_stable_noise(
    grid: Sequence[int], dim: int, idx: Int64[Tensor, " M"], generator: Generator
) -> Float[Tensor, "M P"]:
    """The same, but drawn for the whole grid and then taken.

    A token's noise depends on the seed alone: it stays what it is while a mask grows.
    """
    every = torch.arange(math.prod(grid)).unsqueeze(0)
    return draw_noise(grid, dim, every, generator)[0, idx]
