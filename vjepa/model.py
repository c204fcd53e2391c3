"""V-JEPA: context encoder, target encoder, predictor, and the objective that ties them."""

from __future__ import annotations

import copy

import torch
import torch.nn.functional as F
from einops import rearrange
from jaxtyping import Float, Int64
from torch import Tensor, nn

from vjepa.config import ModelConfig
from vjepa.masks import MaskBatch
from vjepa.tokens import take
from vjepa.transformer import Encoder, Predictor


class VJEPA(nn.Module):
    """Feature prediction from video (Bardes et al. 2024, equation 1).

    The context encoder sees the visible tokens, the predictor guesses the features of the hidden
    ones, and the target encoder, a moving average of the context encoder, says what they are.

    Args:
        config: shape of the model.
        encoder, predictor: its parts, where they are to be others than the paper's.
    """

    def __init__(
        self,
        config: ModelConfig,
        encoder: Encoder | None = None,
        predictor: Predictor | None = None,
    ) -> None:
        super().__init__()
        self.config = config
        self.encoder = encoder or Encoder(config)
        self.predictor = predictor or Predictor(config)
        self.target_encoder = copy.deepcopy(self.encoder).requires_grad_(False)

    @property
    def grid(self) -> tuple[int, int, int]:
        """Tokens along time, height and width."""
        return self.config.grid

    @property
    def dtype(self) -> torch.dtype:
        """Precision of the weights."""
        return self.encoder.dtype

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.encoder.device

    @torch.no_grad()
    def encode(self, clips: Float[Tensor, "B C T H W"]) -> Float[Tensor, "B N D"]:
        """Target-encoder features of whole clips: what frozen evaluation uses.

        Args:
            clips: normalised frames (`vjepa.read_clip`), on any device, in any precision.

        Raises:
            InputError: clips of another size than the model's.
        """
        return self.target_encoder(clips)

    def encode_context(
        self, clips: Float[Tensor, "B C T H W"], context_idx: Int64[Tensor, "B K"]
    ) -> Float[Tensor, "B K D"]:
        """Context-encoder features of the visible tokens; the others are dropped before it."""
        return self.encoder(clips, context_idx)

    def predict(
        self,
        context: Float[Tensor, "B K D"],
        context_idx: Int64[Tensor, "B K"],
        target_idx: Int64[Tensor, "B M"],
        mask_type: str | int = "long",
    ) -> Float[Tensor, "B M O"]:
        """Predictions for the hidden tokens, in the space of the layer-normed targets."""
        return self.predictor(context, context_idx, target_idx, mask_type)

    @torch.no_grad()
    def target_features(self, clips: Float[Tensor, "B C T H W"]) -> Float[Tensor, "B N O"]:
        """Layer-normed features of every token, in the space of the predictions, in float32.

        With several target layers: of as many last blocks of the target encoder, side by side.
        """
        if self.config.target_layers == 1:
            return normalize_features(self.encode(clips).float())
        layers = self.target_encoder.layers(clips)[-self.config.target_layers :]
        normed = F.layer_norm(layers.float(), layers.shape[-1:])
        return rearrange(normed, "l b n d -> b n (l d)")

    def targets(
        self, clips: Float[Tensor, "B C T H W"], target_idx: Int64[Tensor, "B M"]
    ) -> Float[Tensor, "B M O"]:
        """The `target_features` of the hidden tokens."""
        return take(self.target_features(clips), target_idx)

    def loss(
        self, clips: Float[Tensor, "B C T H W"], masks: list[MaskBatch]
    ) -> Float[Tensor, " K"]:
        """The L1 error of the predictions, one number a mask type; their mean is the objective."""
        targets = self.target_features(clips)
        return torch.stack([self._mask_loss(clips, targets, mask) for mask in masks])

    forward = loss  # data-parallel wrappers call forward

    def _mask_loss(self, clips: Tensor, targets: Tensor, mask: MaskBatch) -> Tensor:
        return self._prediction_loss(self.encode_context(clips, mask.context_idx), targets, mask)

    def _prediction_loss(self, context: Tensor, targets: Tensor, mask: MaskBatch) -> Tensor:
        predictions = self.predict(context, mask.context_idx, mask.target_idx, mask.mask_type)
        return F.l1_loss(predictions.float(), take(targets, mask.target_idx))

    def trained(self) -> VJEPA:
        """What is kept of a training run: all of it."""
        return self

    @torch.no_grad()
    def update_target(self, momentum: float) -> None:
        """Moves the target encoder: target = momentum * target + (1 - momentum) * context."""
        target, online = list(self.target_encoder.parameters()), list(self.encoder.parameters())
        torch._foreach_lerp_(target, online, 1 - momentum)


def normalize_features(features: Float[Tensor, "B N D"]) -> Float[Tensor, "B N D"]:
    """LayerNorm over the features, without parameters: the space in which targets are compared."""
    return F.layer_norm(features, features.shape[-1:])
