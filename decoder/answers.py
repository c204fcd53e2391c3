"""What the explorer answers: predictions behind a mask, and what they look like."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int64, UInt8
from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class Inspection:
    """What the model predicts behind a mask; no decoder is needed.

    Attributes:
        predictions: predicted features of the hidden tokens, in order.
        error: L1 distance of prediction and layer-normed target on the grid, NaN where visible.
        timings: milliseconds of each stage: context, predict, and decode if there was one.
        typical_error: mean and standard deviation of a clip's error in the model's own
            evaluation, when its card has them.
    """

    predictions: Float[Tensor, "M O"]
    error: Float[np.ndarray, "t h w"]
    timings: dict[str, float]
    typical_error: tuple[float, float] | None


@dataclass(frozen=True, kw_only=True)
class Prediction(Inspection):
    """The same, decoded.

    Attributes:
        frames: one clip a seed, decoded pixels pasted into the hidden region, RGB 0..255.
        ceiling: the same, decoded from the true features of the first seed's noise.
    """

    frames: UInt8[np.ndarray, "S T H W 3"]
    ceiling: UInt8[np.ndarray, "T H W 3"]


@dataclass(frozen=True)
class MaskedFeatures:
    """What encoder and predictor make of a clip with a mask on it.

    Attributes:
        context: features of the visible tokens, which saw each other only.
        context_idx: which they are.
        predictions: predicted features of the hidden tokens, in the space of layer-normed targets.
        target_idx: which they are.
    """

    context: Float[Tensor, "K D"]
    context_idx: Int64[Tensor, " K"]
    predictions: Float[Tensor, "M O"]
    target_idx: Int64[Tensor, " M"]
