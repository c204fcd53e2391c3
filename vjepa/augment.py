"""Augmentation of training clips: one random resized crop and flip a clip, the same in time."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from jaxtyping import UInt8
from torch import Generator, Tensor

ASPECT_RATIO = (0.75, 1.35)


def random_resized_crop(
    frames: UInt8[Tensor, "B T H W 3"], scale: tuple[float, float], *, generator: Generator
) -> UInt8[Tensor, "B T H W 3"]:
    """Each clip's random crop, resized to the clip's own size and flipped half of the time.

    Args:
        frames: RGB 0..255. Bytes, because resizing them is several times faster than floats.
        scale: least and greatest share of the area that is kept (paper: .3 to 1).
        generator: chooses crop and flip.
    """
    return torch.stack([_crop(clip, scale, generator) for clip in frames])


def _crop(
    clip: UInt8[Tensor, "T H W 3"], scale: tuple[float, float], generator: Generator
) -> UInt8[Tensor, "T H W 3"]:
    height, width = clip.shape[1:3]
    draw = torch.rand(5, generator=generator).tolist()
    area = height * width * (scale[0] + (scale[1] - scale[0]) * draw[0])
    low, high = map(math.log, ASPECT_RATIO)
    aspect = math.exp(low + (high - low) * draw[1])
    rows = min(round(math.sqrt(area / aspect)), height)
    columns = min(round(math.sqrt(area * aspect)), width)
    top, left = int(draw[2] * (height - rows + 1)), int(draw[3] * (width - columns + 1))
    crop = clip[:, top : top + rows, left : left + columns].permute(0, 3, 1, 2)
    resized = F.interpolate(crop, (height, width), mode="bilinear", antialias=True)
    return (resized.flip(-1) if draw[4] < 0.5 else resized).permute(0, 2, 3, 1)
