"""What V-JEPA is compared with: pixel prediction, an image model frame by frame, random weights.

Pixel prediction is masked autoencoding (paper, table 1; VideoMAE, Tong et al. 2022) with V-JEPA's
own encoder, masks and narrow predictor: what differs is what is predicted.
"""

from __future__ import annotations

from pathlib import Path
from pickle import UnpicklingError

import timm
import torch
import torch.nn.functional as F
from einops import rearrange
from jaxtyping import Float, Int64
from safetensors import SafetensorError
from timm.data import resolve_model_data_config
from timm.models import load_checkpoint
from torch import Tensor, nn

from vjepa import checkpoint
from vjepa.config import ModelConfig
from vjepa.data.clips import IMAGENET_MEAN, IMAGENET_STD
from vjepa.errors import InputError
from vjepa.masks import Grid, MaskBatch
from vjepa.model import VJEPA
from vjepa.tokens import patchify, take
from vjepa.vjepa2 import parts


class PixelPrediction(nn.Module):
    """An encoder that learns by predicting the pixels of hidden tubelets.

    It is asked as `VJEPA` is; its targets are normalised pixels, and it has one encoder.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        self.encoder, self.predictor = parts(config, output_dim=config.tubelet_dim)

    @torch.no_grad()
    def encode(self, clips: Float[Tensor, "B C T H W"]) -> Float[Tensor, "B N D"]:
        """Features of whole clips, for frozen evaluation."""
        return self.encoder(clips)

    @property
    def grid(self) -> Grid:
        """Tokens along time, height and width."""
        return self.config.grid

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.encoder.device

    def encode_context(
        self, clips: Float[Tensor, "B C T H W"], context_idx: Int64[Tensor, "B K"]
    ) -> Float[Tensor, "B K D"]:
        """Features of the visible tokens; the others are dropped before the encoder."""
        return self.encoder(clips, context_idx)

    def predict(
        self,
        context: Float[Tensor, "B K D"],
        context_idx: Int64[Tensor, "B K"],
        target_idx: Int64[Tensor, "B M"],
        mask_type: str | int = "long",
    ) -> Float[Tensor, "B M P"]:
        """Predicted pixels of the hidden tokens, in the space of the targets."""
        return self.predictor(context, context_idx, target_idx, mask_type)

    def target_features(self, clips: Float[Tensor, "B C T H W"]) -> Float[Tensor, "B N P"]:
        """What is to be predicted of every token: its pixels, normalised."""
        return normalize_tubelets(patchify(clips, self.config))

    def loss(
        self, clips: Float[Tensor, "B C T H W"], masks: list[MaskBatch]
    ) -> Float[Tensor, " K"]:
        """The squared error of the predicted pixels, one number a mask type."""
        targets = self.target_features(clips)
        return torch.stack([self._mask_loss(clips, targets, mask) for mask in masks])

    forward = loss  # data-parallel wrappers call forward

    def _mask_loss(self, clips: Tensor, targets: Tensor, mask: MaskBatch) -> Tensor:
        context = self.encode_context(clips, mask.context_idx)
        predictions = self.predict(context, *mask)
        return F.mse_loss(predictions.float(), take(targets, mask.target_idx))

    def update_target(self, momentum: float) -> None:
        """There is no target encoder to move: the targets are pixels."""

    def trained(self) -> PixelPrediction:
        """What is kept of a training run: all of it."""
        return self


def normalize_tubelets(tubelets: Float[Tensor, "B N P"]) -> Float[Tensor, "B N P"]:
    """Every tubelet with mean 0 and variance 1: texture, not brightness (He et al. 2021)."""
    return F.layer_norm(tubelets, tubelets.shape[-1:])


def load_pixel_prediction(folder: Path) -> PixelPrediction:
    """A frozen model from a folder that pretraining wrote, in float32 on the CPU.

    Raises:
        InputError: a file is missing or unreadable, or a tensor missing, unexpected or misshapen.
    """
    model = PixelPrediction(checkpoint.read_config(folder / "config.json"))
    checkpoint.fill_from(model, folder)
    return model.eval().requires_grad_(False)


UNREADABLE = (SafetensorError, UnpicklingError)


class ImageBackbone(nn.Module):
    """A timm image model over the first frame of every tubelet.

    Args:
        name: of the model, as timm knows it.
        weights: its file; never downloaded.
        config: of the video model that it is compared with; gives the tubelet's length.

    Raises:
        InputError: the name, the file or the file's tensors are not those of such a model.
    """

    def __init__(self, name: str, weights: Path, config: ModelConfig) -> None:
        super().__init__()
        self.tubelet_size = config.tubelet_size
        self.backbone = _load(name, weights)
        data = resolve_model_data_config(self.backbone)
        self.input_size = data["input_size"][-2:]
        # clips come with ImageNet's mean and deviation; the model may have been trained with others
        mean, std = torch.tensor(data["mean"]), torch.tensor(data["std"])
        gain, shift = torch.tensor(IMAGENET_STD) / std, (torch.tensor(IMAGENET_MEAN) - mean) / std
        self.register_buffer("gain", gain.view(3, 1, 1))
        self.register_buffer("shift", shift.view(3, 1, 1))

    @torch.no_grad()
    def encode(self, clips: Float[Tensor, "B C T H W"]) -> Float[Tensor, "B N D"]:
        """Tokens of the frames, all times of a clip put side by side.

        Args:
            clips: normalised frames (`vjepa.read_clip`), on any device, in any precision.
        """
        frames = rearrange(clips[:, :, :: self.tubelet_size], "b c t h w -> (b t) c h w")
        frames = F.interpolate(frames, self.input_size, mode="bicubic", antialias=True)
        frames = frames.to(self.gain) * self.gain + self.shift
        (maps,) = self.backbone.forward_intermediates(
            frames, indices=1, norm=True, intermediates_only=True
        )  # ((B t), D, h, w)
        return rearrange(maps, "(b t) d h w -> b (t h w) d", b=len(clips))


def _load(name: str, weights: Path) -> nn.Module:
    if not timm.is_model(name):
        raise InputError(f"timm has no image model {name!r}.")
    if not weights.is_file():
        raise InputError(
            f"There is no file {weights}: the weights of {name} are not included, download them "
            "and name the file with --image-weights."
        )
    backbone = timm.create_model(name)
    try:
        load_checkpoint(backbone, str(weights), strict=True, weights_only=True)
    except (RuntimeError, LookupError, ValueError, OSError, *UNREADABLE) as error:
        raise InputError(f"{weights} does not hold the weights of {name}.") from error
    if not hasattr(backbone, "forward_intermediates"):
        raise InputError(f"{name} gives no maps of features: choose another image model.")
    return backbone.eval().requires_grad_(False)


def random_twin(model: VJEPA, seed: int = 0) -> VJEPA:
    """A model of the same shape with fresh weights: the baseline that matters."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        twin = type(model)(model.config)
    return twin.to(model.device, model.dtype).eval().requires_grad_(False)
