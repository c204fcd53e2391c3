"""Pixel prediction: the objective that V-JEPA is compared with, all else being equal.

Masked autoencoding (paper, table 1; VideoMAE, Tong et al. 2022) with V-JEPA's own encoder, masks
and narrow predictor: what differs is what is predicted.
"""

from __future__ import annotations

from pathlib import Path

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from vjepa import checkpoint
from vjepa.config import ModelConfig
from vjepa.encoder import Encoder
from vjepa.grid import patchify, take
from vjepa.model import MaskBatch
from vjepa.predictor import Predictor


class PixelPrediction(nn.Module):
    """An encoder that learns by predicting the pixels of hidden tubelets."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        self.encoder = Encoder(config)
        self.predictor = Predictor(config, output_dim=config.tubelet_dim)

    @torch.no_grad()
    def encode(self, clips: Float[Tensor, "B C T H W"]) -> Float[Tensor, "B N D"]:
        """Features of whole clips, for frozen evaluation."""
        return self.encoder(clips)

    def loss(
        self, clips: Float[Tensor, "B C T H W"], masks: list[MaskBatch]
    ) -> Float[Tensor, " K"]:
        """The squared error of the predicted pixels, one number a mask type."""
        targets = normalize_tubelets(patchify(clips, self.config))
        return torch.stack([self._mask_loss(clips, targets, mask) for mask in masks])

    forward = loss  # data-parallel wrappers call forward

    def _mask_loss(self, clips: Tensor, targets: Tensor, mask: MaskBatch) -> Tensor:
        context = self.encoder(clips, mask.context_idx)
        predictions = self.predictor(context, mask.context_idx, mask.target_idx, mask.mask_type)
        return F.mse_loss(predictions.float(), take(targets, mask.target_idx))

    def update_target(self, momentum: float) -> None:
        """There is no target encoder to move: the targets are pixels."""

    def trained(self) -> PixelPrediction:
        """What is kept of a training run: all of it."""
        return self


def normalize_tubelets(tubelets: Float[Tensor, "B N P"]) -> Float[Tensor, "B N P"]:
    """Every tubelet with mean 0 and variance 1: texture, not brightness (He et al. 2021)."""
    return F.layer_norm(tubelets, tubelets.shape[-1:])


def load(folder: Path) -> PixelPrediction:
    """A frozen model from a folder that pretraining wrote, in float32 on the CPU.

    Raises:
        InputError: a file is missing or unreadable, or a tensor missing, unexpected or misshapen.
    """
    model = PixelPrediction(checkpoint.read_config(folder / "config.json"))
    checkpoint.fill_from(model, folder)
    return model.eval().requires_grad_(False)
