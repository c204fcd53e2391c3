"""V-JEPA: context encoder, target encoder, predictor, and the objective that ties them."""

from __future__ import annotations

import copy
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from einops import rearrange
from jaxtyping import Float, Int64
from torch import Tensor, nn

import vjepa
from vjepa.config import ModelConfig
from vjepa.errors import InputError
from vjepa.masks import Grid, MaskBatch
from vjepa.tokens import take
from vjepa.transformer import Encoder, Predictor


class VJEPA(nn.Module):
    """Feature prediction from video (Bardes et al. 2024, equation 1).

    The context encoder sees the visible tokens, the predictor guesses the features of the hidden
    ones, and the target encoder, a moving average of the context encoder, says what they are.

    Args:
        config: shape of the model.
        encoder, predictor: its parts, where they are to be others than the paper's.

    Attributes:
        rarity: power of the `token_weights` of the loss; 0, as published: all tokens count alike.
    """

    rarity: float = 0.0

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
    def encode(self, clips: str | Path | np.ndarray | Tensor) -> Float[Tensor, "*B N D"]:
        """Target-encoder features of whole clips, as scikit-learn takes them: float32, on the CPU.

        Args:
            clips: a video or a picture, by its path; uint8 RGB frames (T, H, W, 3); a normalised
                clip (C, T, H, W) as `vjepa.read_clip` gives it; or several, (B, ...), frames or
                clips, on any device, in any precision. Of another size than the model's,
                positions stretch.

        Returns:
            a token a row, (N, D), and (B, N, D) of several clips. On the model's own device and in
            its precision it is `target_encoder` that has them.

        Raises:
            InputError: no such file, no video, or no clips that can be cut into tubelets.
        """
        given = vjepa.read_clip(clips, self.config) if isinstance(clips, str | Path) else clips
        given = torch.as_tensor(given)
        given = given if given.is_floating_point() else vjepa.normalize(given)
        features = self.target_encoder(given if given.ndim == 5 else given[None])
        return (features if given.ndim == 5 else features[0]).to("cpu", torch.float32)

    def encode_context(
        self,
        clips: Float[Tensor, "B C T H W"],
        context_idx: Int64[Tensor, "B K"],
        grid: Grid | None = None,
    ) -> Float[Tensor, "B K D"]:
        """Context-encoder features of the visible tokens; the others are dropped before it.

        Raises:
            InputError: clips of another size than the model's, unless `grid` is theirs, which
                `predict` has to be told too: indices alone do not say where tokens lie.
        """
        self._require_grid(clips, grid)
        return self.encoder(clips, context_idx)

    def _require_grid(self, clips: Tensor, grid: Grid | None) -> None:
        if (theirs := self.encoder.grid_of(clips)) != (grid or self.grid):
            raise InputError(
                f"These clips have a grid of {theirs}, not {grid or self.grid}: give grid={theirs} "
                "to encode_context and to predict, or open the model for clips of their size."
            )

    def predict(
        self,
        context: Float[Tensor, "B K D"],
        context_idx: Int64[Tensor, "B K"],
        target_idx: Int64[Tensor, "B M"],
        mask_type: str | int = "long",
        grid: Grid | None = None,
    ) -> Float[Tensor, "B M O"]:
        """Predictions for the hidden tokens, in the space of the layer-normed targets.

        With the clips' `grid`, where it is not the model's: positions stretch to it.
        """
        return self.predictor(context, context_idx, target_idx, mask_type, grid)

    @torch.no_grad()
    def target_features(self, clips: Float[Tensor, "B C T H W"]) -> Float[Tensor, "B N O"]:
        """Layer-normed features of every token, in the space of the predictions, in float32.

        With several target layers: of as many last blocks of the target encoder, side by side.
        """
        if self.config.target_layers == 1:
            return normalize_features(self.target_encoder(clips).float())
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
        return self._hidden_loss(predictions, targets, mask.target_idx)

    def _hidden_loss(self, predictions: Tensor, targets: Tensor, target_idx: Tensor) -> Tensor:
        errors = (predictions.float() - take(targets, target_idx)).abs()
        return (errors * take(token_weights(targets, self.rarity), target_idx)).mean()

    def trained(self) -> VJEPA:
        """What is kept of a training run: all of it."""
        return self

    @torch.no_grad()
    def update_target(self, momentum: float) -> None:
        """Moves the target encoder: target = momentum * target + (1 - momentum) * context."""
        target, online = list(self.target_encoder.parameters()), list(self.encoder.parameters())
        torch._foreach_lerp_(target, online, 1 - momentum)


def token_weights(targets: Float[Tensor, "B N D"], rarity: float) -> Float[Tensor, "B N 1"]:
    """How much each token counts: the more, the further it lies from its clip's mean; 1 on average.

    Most of a clip is floor and wall, and L1 asks for the median of what may be there: where a
    hidden thing may have gone anywhere, that is the floor, and it fades. If rare tokens count more,
    it stays.

    Args:
        targets: layer-normed features of whole clips.
        rarity: power of the distance; 0: all count alike.
    """
    if not rarity:
        return torch.ones_like(targets[..., :1])
    far = (targets - targets.mean(1, keepdim=True)).abs().mean(-1, keepdim=True) ** rarity
    return far / far.mean(1, keepdim=True)


def normalize_features(features: Float[Tensor, "B N D"]) -> Float[Tensor, "B N D"]:
    """LayerNorm over the features, without parameters: the space in which targets are compared."""
    return F.layer_norm(features, features.shape[-1:])
