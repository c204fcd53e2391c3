"""What an objective spends itself on: errors of predicted features and pixels, where static is.

Static is different noise in every frame: nobody can foresee it, and there is nothing to learn.
"""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Bool, Float, UInt8
from torch import Tensor

from vjepa import masks
from vjepa.baselines import PixelPrediction
from vjepa.data.clips import normalize
from vjepa.model import VJEPA
from vjepa.tokens import split, take

MASK_TYPE = "long"


def with_static(
    frames: UInt8[np.ndarray, "T H W 3"],
    where: Bool[np.ndarray, "T H W"],
    amount: float,
    generator: np.random.Generator,
) -> UInt8[np.ndarray, "T H W 3"]:
    """The frames with static mixed in: none of it at an amount of 0, nothing else at 1."""
    noise = generator.integers(0, 256, frames.shape)
    mixed = (1 - amount) * frames + amount * noise
    return np.where(where[..., None], mixed, frames).astype(np.uint8)


@torch.no_grad()
def feature_errors(
    model: VJEPA, frames: UInt8[np.ndarray, "T H W 3"], mask: Bool[Tensor, "t h w"]
) -> Float[np.ndarray, "t h w"]:
    """V-JEPA's loss, token by token: L1 of predicted and true features; NaN where visible.

    Raises:
        InputError: a mask of another shape, empty or full.
    """
    return _on_grid(_differences(model, frames, mask).abs(), mask)


@torch.no_grad()
def pixel_errors(
    model: PixelPrediction, frames: UInt8[np.ndarray, "T H W 3"], mask: Bool[Tensor, "t h w"]
) -> Float[np.ndarray, "t h w"]:
    """The loss of pixel prediction, token by token: squared error of normalised tubelets.

    Raises:
        InputError: a mask of another shape, empty or full.
    """
    return _on_grid(_differences(model, frames, mask).square(), mask)


def _differences(
    model: VJEPA | PixelPrediction, frames: UInt8[np.ndarray, "T H W 3"], mask: Tensor
) -> Float[Tensor, "1 M D"]:
    """Predicted minus true."""
    context_idx, target_idx = (idx.to(model.device) for idx in split(masks.check(mask, model.grid)))
    pixels = normalize(frames)[None]
    context = model.encode_context(pixels, context_idx)
    predicted = model.predict(context, context_idx, target_idx, MASK_TYPE).float()
    return predicted - take(model.target_features(pixels), target_idx)


def _on_grid(errors: Float[Tensor, "1 M D"], mask: Tensor) -> Float[np.ndarray, "t h w"]:
    found = torch.full(mask.shape, torch.nan)
    found[mask] = errors[0].mean(-1).float().cpu()
    return found.numpy()


def share_at(errors: Float[np.ndarray, "t h w"], where: Bool[np.ndarray, "t h w"]) -> float:
    """The share of the whole loss that some tokens have; those that are visible have none."""
    return float(np.nansum(errors[where]) / np.nansum(errors))
