"""Between frames (uint8), the decoder's pixels (-1..1) and tubelets."""

from __future__ import annotations

import torch
from einops import rearrange
from jaxtyping import Bool, Float, Int64, UInt8
from torch import Tensor

from vjepa.config import ModelConfig
from vjepa.grid import patchify, pixel_mask, take, unpatchify


def to_tubelets(
    frames: UInt8[Tensor, "B T H W 3"], target_idx: Int64[Tensor, "B M"], config: ModelConfig
) -> Float[Tensor, "B M P"]:
    """The hidden tubelets' pixels, -1..1."""
    pixels = rearrange(frames, "b t h w c -> b c t h w").float() / 127.5 - 1
    return take(patchify(pixels, config), target_idx)


def paste(
    frames: UInt8[Tensor, "T H W 3"],
    tubelets: Float[Tensor, "S M P"],
    mask: Bool[Tensor, "t h w"],
    config: ModelConfig,
) -> UInt8[Tensor, "S T H W 3"]:
    """The clip with its hidden region replaced; visible pixels stay what they are, exactly."""
    grid = torch.zeros(len(tubelets), config.num_tokens, tubelets.shape[-1])
    grid[:, mask.flatten()] = tubelets.float().cpu()
    pixels = rearrange(unpatchify(grid, config), "s c t h w -> s t h w c")
    decoded = ((pixels + 1) * 127.5).round().clamp(0, 255).to(torch.uint8)
    return torch.where(pixel_mask(mask, config)[..., None], decoded, frames)
