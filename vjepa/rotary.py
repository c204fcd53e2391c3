"""Rotary positions of V-JEPA 2 and 2.1: queries and keys are turned by where their token lies."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from vjepa.config import ModelConfig

STRETCHED_SIDE = 16
"""V-JEPA 2.1 stretches rows and columns to those of a grid with this side (256 pixels)."""


def rotation_table(
    config: ModelConfig, head_dim: int, grid: tuple[int, int, int], *, stretched: bool
) -> Float[Tensor, "2 N hd"]:
    """Cosines and sines of every token's angles.

    A third of a head's numbers, rounded down to pairs, turns with each axis (t, h, w); what is
    left over stays. Pair k of an axis of d numbers turns by position * 10000^(-2 k / d).

    V-JEPA 2 lays the angles out as [all, all] although it turns neighbours, so that the two
    numbers of a pair turn by different angles: no rotation, but what its weights were trained
    with. V-JEPA 2.1 repeats each angle.

    Args:
        config: gives the family.
        head_dim: numbers in an attention head.
        grid: tokens along time, height and width.
        stretched: whether rows and columns are stretched to a 16 x 16 grid's.
    """
    size = head_dim // 3 // 2 * 2
    omega = 10000 ** -(torch.arange(size // 2, dtype=torch.float64) * 2 / size)
    axes = [
        _axis(grid[0], None),
        *(_axis(n, STRETCHED_SIDE if stretched else None) for n in grid[1:]),
    ]
    positions = torch.meshgrid(*axes, indexing="ij")
    angles = [p.flatten()[:, None] * omega for p in positions]  # 3 x (N, size / 2)
    if config.family == "vjepa2":
        angles = [torch.cat([a, a], dim=1) for a in angles]
    else:
        angles = [a.repeat_interleave(2, dim=1) for a in angles]
    still = torch.zeros(len(angles[0]), head_dim - 3 * size, dtype=torch.float64)
    table = torch.cat([*angles, still], dim=1)
    return torch.stack([table.cos(), table.sin()]).float()


def _axis(count: int, stretched_to: int | None) -> Float[Tensor, " count"]:
    positions = torch.arange(count, dtype=torch.float64)
    if stretched_to is None or count == 1:  # one row lies at 0, where the official code has 0 / 0
        return positions
    return positions * (stretched_to - 1) / (count - 1)


def rotate(
    x: Float[Tensor, "B H K hd"], rotation: Float[Tensor, "2 _ K hd"]
) -> Float[Tensor, "B H K hd"]:
    """Queries or keys, neighbouring numbers turned against each other."""
    cos, sin = rotation.unsqueeze(2)  # each (B, 1, K, hd)
    even, odd = x.unflatten(-1, (-1, 2)).unbind(-1)
    return x * cos + torch.stack([-odd, even], dim=-1).flatten(-2) * sin
