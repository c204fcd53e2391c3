"""What the predictor is given, token by token, and what targets would be if masked sooner."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from vjepa import masks
from vjepa.model import VJEPA, normalize_features
from vjepa.tokens import split


@torch.no_grad()
def rows_given(
    model: VJEPA,
    pixels: Float[Tensor, "1 C T H W"],
    mask: Bool[Tensor, "t h w"],
    mask_type: str | int = "long",
) -> Float[Tensor, "N D"]:
    """The predictor's input before it learns where each token lies.

    Args:
        model: whose predictor it is.
        pixels: one normalised clip.
        mask: True = hidden.
        mask_type: which mask token stands for what is hidden.

    Returns:
        a row a token of the grid, as wide as the predictor: its features where the token is
        visible, and the same mask token wherever it is hidden; float32, on the CPU.

    Raises:
        InputError: a mask of another shape, empty or full.
    """
    context_idx = split(masks.check(mask, model.grid))[0].to(model.device)
    predictor = model.predictor
    visible = predictor.embed(model.encode_context(pixels, context_idx))[0]
    token = predictor.mask_tokens[predictor.mask_token_index(mask_type)][0]
    rows = token.repeat(mask.numel(), 1)
    rows[context_idx[0]] = visible
    return rows.float().cpu()


@torch.no_grad()
def targets_masked_first(
    model: VJEPA, pixels: Float[Tensor, "1 C T H W"], mask: Bool[Tensor, "t h w"]
) -> Float[Tensor, "M D"]:
    """Targets of the last layer as they are *not* made: by a target encoder of hidden tokens only.

    V-JEPA masks at the target encoder's output: what it says of a hidden token knows the whole clip
    (`VJEPA.targets`). They are float32, on the CPU.

    Raises:
        InputError: a mask of another shape, empty or full.
    """
    target_idx = split(masks.check(mask, model.grid))[1].to(model.device)
    return normalize_features(model.target_encoder(pixels, target_idx))[0].float().cpu()
