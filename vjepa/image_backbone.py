"""An image model applied to a video frame by frame: what a probe reads without any motion in it."""

from __future__ import annotations

from pathlib import Path
from pickle import UnpicklingError

import timm
import torch
import torch.nn.functional as F
from einops import rearrange
from jaxtyping import Float
from safetensors import SafetensorError
from timm.data import resolve_model_data_config
from timm.models import load_checkpoint
from torch import Tensor, nn

from vjepa.config import ModelConfig
from vjepa.data.clips import IMAGENET_MEAN, IMAGENET_STD
from vjepa.errors import InputError

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
