"""The token grid: clips cut into tubelets and put together again, and tokens taken by index.

Tokens are numbered in the order (t, h, w), w fastest, as in the official code.
"""

from __future__ import annotations

import torch
from einops import rearrange
from jaxtyping import Bool, Float, Int64
from torch import Tensor

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
    return rearrange(
        clips,
        "b c (t f) (h p) (w q) -> b (t h w) (c f p q)",
        f=config.tubelet_size,
        p=config.patch_size,
        q=config.patch_size,
    )


def unpatchify(
    tubelets: Float[Tensor, "B N P"], config: ModelConfig, grid: tuple[int, int, int] | None = None
) -> Float[Tensor, "B C T H W"]:
    """Puts tubelets together again: the inverse of `patchify`."""
    t, h, w = grid or config.grid
    return rearrange(
        tubelets,
        "b (t h w) (c f p q) -> b c (t f) (h p) (w q)",
        t=t,
        h=h,
        w=w,
        f=config.tubelet_size,
        p=config.patch_size,
        q=config.patch_size,
    )


def take(tokens: Float[Tensor, "B N D"], idx: Int64[Tensor, "B K"]) -> Float[Tensor, "B K D"]:
    """The tokens at the given indices, sample by sample."""
    return tokens.gather(1, idx.unsqueeze(-1).expand(-1, -1, tokens.shape[-1]))


def split(
    mask: Bool[Tensor, "t h w"],
) -> tuple[Int64[Tensor, "1 K"], Int64[Tensor, "1 M"]]:
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
