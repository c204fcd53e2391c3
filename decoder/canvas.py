"""What a decoder draws on: pixels, or the latents of a pretrained image autoencoder."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import replace
from pathlib import Path

import torch
from diffusers import AutoencoderKL
from einops import rearrange
from jaxtyping import Bool, Float, Int64, UInt8
from torch import Tensor

from vjepa.config import ModelConfig
from vjepa.errors import InputError
from vjepa.tokens import patchify, pixel_mask, take, unpatchify


class Canvas(ABC):
    """Between frames and the tubelets that a decoder draws.

    Attributes:
        config: shape of the model.
        tubelet_dim: numbers in a tubelet.
        is_bytes: whether they are bytes of pixels, scaled to -1..1.
    """

    config: ModelConfig
    tubelet_dim: int
    is_bytes: bool

    @torch.no_grad()
    def cut(
        self, frames: UInt8[Tensor, "B T H W 3"], target_idx: Int64[Tensor, "B M"]
    ) -> Float[Tensor, "B M P"]:
        """The hidden tubelets."""
        return take(self._encode(frames), target_idx)

    @torch.no_grad()
    def paste(
        self,
        frames: UInt8[Tensor, "T H W 3"],
        tubelets: Float[Tensor, "S M P"],
        mask: Bool[Tensor, "t h w"],
    ) -> UInt8[Tensor, "S T H W 3"]:
        """The clip with its hidden region replaced; visible pixels stay what they are, exactly."""
        grid = self._around(frames).repeat(len(tubelets), 1, 1)
        grid[:, mask.flatten()] = tubelets.to(grid)
        decoded = rearrange(self._decode(grid), "s c t h w -> s t h w c")
        decoded = ((decoded + 1) * 127.5).round().clamp(0, 255).to(torch.uint8)
        return torch.where(pixel_mask(mask, self.config)[..., None], decoded, frames)

    @abstractmethod
    def _encode(self, frames: UInt8[Tensor, "B T H W 3"]) -> Float[Tensor, "B N P"]:
        """All tubelets."""

    @abstractmethod
    def _around(self, frames: UInt8[Tensor, "T H W 3"]) -> Float[Tensor, "1 N P"]:
        """Tubelets that drawn ones lie between."""

    @abstractmethod
    def _decode(self, tubelets: Float[Tensor, "S N P"]) -> Float[Tensor, "S 3 T H W"]:
        """Pixels, -1..1, on the CPU."""


class Pixels(Canvas):
    """Pixels as they are, -1..1.

    Args:
        config: shape of the model.
    """

    is_bytes = True

    def __init__(self, config: ModelConfig) -> None:
        self.config, self.tubelet_dim = config, config.tubelet_dim

    def _encode(self, frames: UInt8[Tensor, "B T H W 3"]) -> Float[Tensor, "B N P"]:
        return patchify(_to_floats(frames), self.config)

    def _around(self, frames: UInt8[Tensor, "T H W 3"]) -> Float[Tensor, "1 N P"]:
        return torch.zeros(1, self.config.num_tokens, self.tubelet_dim)  # none has a neighbour

    def _decode(self, tubelets: Float[Tensor, "S N P"]) -> Float[Tensor, "S 3 T H W"]:
        return unpatchify(tubelets, self.config)


def to_tubelets(
    frames: UInt8[Tensor, "B T H W 3"], target_idx: Int64[Tensor, "B M"], config: ModelConfig
) -> Float[Tensor, "B M P"]:
    """The hidden tubelets' pixels, -1..1."""
    return Pixels(config).cut(frames, target_idx)


def paste(
    frames: UInt8[Tensor, "T H W 3"],
    tubelets: Float[Tensor, "S M P"],
    mask: Bool[Tensor, "t h w"],
    config: ModelConfig,
) -> UInt8[Tensor, "S T H W 3"]:
    """The clip with its hidden region replaced by pixels, -1..1."""
    return Pixels(config).paste(frames, tubelets, mask)


def _to_floats(frames: Tensor) -> Float[Tensor, "B 3 T H W"]:
    return rearrange(frames, "b t h w c -> b c t h w").float() / 127.5 - 1


FRAMES = 8
"""That the autoencoder is given at a time."""


class Latents(Canvas):
    """Latents of a diffusers AutoencoderKL, frame by frame, scaled as its own diffusion takes them.

    A tubelet of 2 x 16 x 16 pixels is one of 2 x 2 x 2 latents where the autoencoder shrinks
    eightfold: 32 numbers of four channels for 1,536. What is visible is encoded too, so that what
    is drawn fits to it; its pixels stay the clip's own.

    Args:
        vae: the autoencoder, whose weights stay as they are.
        config: shape of the model.

    Raises:
        InputError: the patches of the model are no multiple of what one latent stands for.
    """

    is_bytes = False

    def __init__(self, vae: AutoencoderKL, config: ModelConfig) -> None:
        factor = 2 ** (len(vae.config.block_out_channels) - 1)
        if config.patch_size % factor:
            raise InputError(
                f"This autoencoder shrinks frames {factor} times, and a patch has "
                f"{config.patch_size} pixels: take one that shrinks by a part of that."
            )
        self.vae, self.config = vae.eval().requires_grad_(False), config
        self.small = replace(
            config,
            image_size=config.image_size // factor,
            patch_size=config.patch_size // factor,
        )
        volume = config.tubelet_size * self.small.patch_size**2
        self.tubelet_dim = vae.config.latent_channels * volume

    def _encode(self, frames: UInt8[Tensor, "B T H W 3"]) -> Float[Tensor, "B N P"]:
        pixels = rearrange(_to_floats(frames.to(self.vae.device)), "b c t h w -> (b t) c h w")
        latents = torch.cat([self._latents(few) for few in pixels.split(FRAMES)])
        return patchify(rearrange(latents, "(b t) c h w -> b c t h w", b=len(frames)), self.small)

    def _latents(self, pixels: Float[Tensor, "F 3 H W"]) -> Float[Tensor, "F c h w"]:
        mean = self.vae.encode(pixels.to(self.vae.dtype)).latent_dist.mode().float()
        return (mean - self._shift) * self.vae.config.scaling_factor

    def _around(self, frames: UInt8[Tensor, "T H W 3"]) -> Float[Tensor, "1 N P"]:
        return self._encode(frames[None])

    def _decode(self, tubelets: Float[Tensor, "S N P"]) -> Float[Tensor, "S 3 T H W"]:
        return torch.stack([self._decode_clip(clip[None]) for clip in tubelets])

    def _decode_clip(self, tubelets: Float[Tensor, "1 N P"]) -> Float[Tensor, "3 T H W"]:
        latents = rearrange(unpatchify(tubelets, self.small), "1 c t h w -> t c h w")
        latents = (latents / self.vae.config.scaling_factor + self._shift).to(self.vae.dtype)
        pixels = torch.cat([self.vae.decode(few).sample.float() for few in latents.split(FRAMES)])
        return rearrange(pixels, "t c h w -> c t h w").cpu()

    @property
    def _shift(self) -> float:
        return self.vae.config.shift_factor or 0.0


def open_vae(folder: Path, device: torch.device) -> AutoencoderKL:
    """The autoencoder in a folder, in float32.

    Raises:
        InputError: there is none that can be read.
    """
    try:
        return AutoencoderKL.from_pretrained(folder, local_files_only=True).to(device)
    except (OSError, ValueError, RuntimeError) as error:
        raise InputError(f"{folder} holds no diffusers AutoencoderKL: {error}") from error
