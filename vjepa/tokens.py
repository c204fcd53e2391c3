"""The token grid: clips cut into tubelets and put together, tokens taken by index, their places.

Tokens are numbered in the order (t, h, w), w fastest, as in the official code.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from einops import rearrange
from jaxtyping import Bool, Float, Int64
from torch import Tensor, nn

from vjepa.config import ModelConfig
from vjepa.errors import InputError


def patchify(clips: Float[Tensor, "B C T H W"], config: ModelConfig) -> Float[Tensor, "B N P"]:
    """Cuts clips into tubelets, one row a token.

    Args:
        clips: frames whose sides are multiples of the patch and the tubelet.
        config: gives the tubelet's size.

    Returns:
        (B, N, P) with P = colours * frames * rows * columns, in that order (that of a Conv3d
        kernel, so that a linear layer can take the kernel's place).

    Raises:
        InputError: a side is no multiple of the tubelet's.
    """
    _, _, frames, height, width = clips.shape
    if frames % config.tubelet_size or height % config.patch_size or width % config.patch_size:
        raise InputError(
            f"A clip of {frames} frames of {height} x {width} pixels cannot be cut into tubelets "
            f"of {config.tubelet_size} x {config.patch_size} x {config.patch_size}: "
            "resize it to a multiple."
        )
    return rearrange(clips, "b c (t f) (h p) (w q) -> b (t h w) (c f p q)", **_sides(config))


def unpatchify(
    tubelets: Float[Tensor, "B N P"], config: ModelConfig, grid: tuple[int, int, int] | None = None
) -> Float[Tensor, "B C T H W"]:
    """Puts tubelets together again: the inverse of `patchify`."""
    sizes = dict(zip("thw", grid or config.grid, strict=True)) | _sides(config)
    return rearrange(tubelets, "b (t h w) (c f p q) -> b c (t f) (h p) (w q)", **sizes)


def _sides(config: ModelConfig) -> dict[str, int]:
    """A tubelet's frames, rows and columns, as the patterns above call them."""
    return {"f": config.tubelet_size, "p": config.patch_size, "q": config.patch_size}


def take(tokens: Float[Tensor, "B N D"], idx: Int64[Tensor, "B K"]) -> Float[Tensor, "B K D"]:
    """The tokens at the given indices, sample by sample."""
    return tokens.gather(1, idx.unsqueeze(-1).expand(-1, -1, tokens.shape[-1]))


def split(mask: Bool[Tensor, "t h w"]) -> tuple[Int64[Tensor, "1 K"], Int64[Tensor, "1 M"]]:
    """A mask as (context_idx, target_idx): the visible and the hidden tokens, each in order."""
    flat = mask.flatten()
    return (~flat).nonzero().T, flat.nonzero().T


def to_mask(target_idx: Int64[Tensor, " M"], grid: tuple[int, int, int]) -> Bool[Tensor, "t h w"]:
    """The mask that hides exactly the given tokens."""
    t, h, w = grid
    mask = torch.zeros(t * h * w, dtype=torch.bool, device=target_idx.device)
    mask[target_idx] = True
    return mask.view(grid)


def pixel_mask(mask: Bool[Tensor, "t h w"], config: ModelConfig) -> Bool[Tensor, "T H W"]:
    """The mask at the resolution of the pixels: each token becomes its tubelet."""
    for axis, size in enumerate((config.tubelet_size, config.patch_size, config.patch_size)):
        mask = mask.repeat_interleave(size, dim=axis)
    return mask


def position_table(grid: tuple[int, int, int], dim: int) -> Float[Tensor, "N D"]:
    """The fixed 3D sin-cos table of the official code (`uniform_power`).

    Each axis gets ceil(dim / 6) * 2 numbers, [sin | cos] with base 10000; the axes t, h, w are
    put side by side and cut to `dim`.

    Args:
        grid: (t, h, w).
        dim: width of the tokens.
    """
    per_axis = math.ceil(dim / 6) * 2
    indices = torch.meshgrid(*(torch.arange(n, dtype=torch.float64) for n in grid), indexing="ij")
    table = torch.cat([_sincos(axis.flatten(), per_axis) for axis in indices], dim=1)
    return table[:, :dim].float()


def _sincos(positions: Float[Tensor, " N"], dim: int) -> Float[Tensor, "N dim"]:
    omega = 10000 ** -(torch.arange(dim // 2, dtype=torch.float64) / (dim / 2))
    angles = positions[:, None] * omega
    return torch.cat([angles.sin(), angles.cos()], dim=1)


def stretch_positions(
    table: Float[Tensor, "N D"], grid: tuple[int, int, int], to: tuple[int, int, int]
) -> Float[Tensor, "M D"]:
    """A position table for another grid, trilinearly interpolated as in the official code."""
    if grid == to:
        return table
    t, h, w = grid
    volume = rearrange(table, "(t h w) d -> 1 d t h w", t=t, h=h, w=w)
    volume = F.interpolate(volume, size=to, mode="trilinear")
    return rearrange(volume, "1 d t h w -> (t h w) d")


class SinCosPositions(nn.Module):
    """The positions of V-JEPA: a fixed table, added to the tokens (paper, section 3.3).

    Args:
        config: gives the grid.
        dim: width of the tokens.
    """

    def __init__(self, config: ModelConfig, dim: int) -> None:
        super().__init__()
        self.grid, self.dim = config.grid, dim
        self.place(config.grid)

    def place(self, grid: tuple[int, int, int], table: Float[Tensor, "N D"] | None = None) -> None:
        """Computes the model's positions from those that it was trained with.

        Args:
            grid: of the clips that it was trained on.
            table: what was added to their tokens; sin-cos when None.
        """
        table = position_table(grid, self.dim) if table is None else table.float()
        self.register_buffer("table", stretch_positions(table, grid, self.grid), persistent=False)

    def forward(
        self,
        x: Float[Tensor, "B K D"],
        idx: Int64[Tensor, "B K"] | None,
        grid: tuple[int, int, int] | None = None,
    ) -> tuple[Float[Tensor, "B K D"], None]:
        """Tokens that know where they lie, and nothing for attention to turn (`Attention`).

        Args:
            x: embedded tokens.
            idx: where they lie; all of the grid, in order, when None.
            grid: the clips', when it is not the model's: positions are interpolated.
        """
        table = stretch_positions(self.table, self.grid, grid or self.grid).to(x.device)
        added = table[None] if idx is None else take(table.expand(len(x), -1, -1), idx)
        return x + added.to(x.dtype), None
