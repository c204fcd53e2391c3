"""Sampling: from noise to pixels in a few steps of flow matching, hidden tokens only."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import ClassVar

import numpy as np
import torch
from diffusers import AutoencoderKL, DiffusionPipeline, FlowMatchEulerDiscreteScheduler
from jaxtyping import Float, Int64
from torch import Generator, Tensor

from decoder.canvas import Canvas, Latents, Pixels
from decoder.network import CONDITIONS, TokenDecoder
from vjepa.config import ModelConfig
from vjepa.tokens import take

STEPS = 2
"""Calls of the network that make a sample. More are sharper, but where predictions are vague what
they add is speckle, and the truth is farther off: assets/demo/README.md has the numbers."""
SHARED = 0.8
"""Share of the variance that all time steps have in common.

A video changes little from one tubelet to the next; noise that does not either lets a sample keep
its made-up details through time instead of flickering (Ge et al. 2023, "Preserve Your Own
Correlation"). Each token's noise on its own stays standard normal.
"""


class PredictionDecoderPipeline(DiffusionPipeline):
    """Decodes features of hidden tokens to their pixels, or to the latents of an autoencoder."""

    _optional_components: ClassVar[list[str]] = ["vae"]

    def __init__(
        self,
        network: TokenDecoder,
        scheduler: FlowMatchEulerDiscreteScheduler,
        vae: AutoencoderKL | None = None,
    ) -> None:
        super().__init__()
        self.register_modules(network=network, scheduler=scheduler, vae=vae)

    def beside(self) -> PredictionDecoderPipeline:
        """The same network with a scheduler of its own, which keeps where a sample is."""
        own = self.scheduler.from_config(self.scheduler.config)
        return PredictionDecoderPipeline(self.network, own, self.vae)

    def canvas(self, config: ModelConfig) -> Canvas:
        """What is drawn on, for a model's clips."""
        return Pixels(config) if self.vae is None else Latents(self.vae, config)

    @torch.no_grad()
    def __call__(
        self,
        features: Float[Tensor, "B M D"],
        target_idx: Int64[Tensor, "B M"],
        conditions: Sequence[str],
        generator: Sequence[Generator],
        num_inference_steps: int = STEPS,
        guidance_scale: float = 1.0,
        callback_on_step_end: Callable[[int, Tensor, Tensor], None] | None = None,
    ) -> Float[Tensor, "B M P"]:
        """Samples the hidden tubelets.

        Args:
            features: layer-normed features, one a hidden token.
            target_idx: which tokens these are.
            conditions: "target", "predicted" or "null", sample by sample.
            generator: one a sample; a token's noise stays the same while a mask grows.
            num_inference_steps: steps of the Euler solver; 1 gives the expected image, not a
                sample.
            guidance_scale: 1 follows the condition; more exaggerates it against the null one.
            callback_on_step_end: called with (step, the tubelets that the network was given, the
                clean ones that it made of them); the last of these are what is returned.

        Returns:
            clean tubelets, float32: pixels, -1..1, or latents.
        """
        device = self.network.device
        condition = torch.tensor([CONDITIONS[name] for name in conditions], device=device)
        x = self._noise(target_idx, generator)
        sigmas = np.linspace(1, 1 / num_inference_steps, num_inference_steps)
        self.scheduler.set_timesteps(sigmas=sigmas, device=device)
        for step, timestep in enumerate(self.scheduler.timesteps):
            sigma = self.scheduler.sigmas[step].expand(len(x))
            last = step == num_inference_steps - 1
            clean = self._clean(x, sigma, features, target_idx, condition, guidance_scale, last)
            flow = velocity(x, clean, sigma)
            if callback_on_step_end:
                callback_on_step_end(step, x, clean)
            x = self.scheduler.step(flow, timestep, x, return_dict=False)[0]
        return x.clamp(-1, 1) if self.vae is None else x

    def _noise(self, target_idx: Tensor, generator: Sequence[Generator]) -> Tensor:
        config = self.network.config
        rows = [
            draw_stable_noise(config.grid, config.tubelet_dim, idx.cpu(), one)
            for idx, one in zip(target_idx, generator, strict=True)
        ]
        return torch.stack(rows).to(self.network.device)

    def _clean(self, x, sigma, features, target_idx, condition, guidance_scale, last) -> Tensor:
        clean = self.network(x, sigma, features, target_idx, condition, blended=last).float()
        if guidance_scale == 1:
            return clean
        null = torch.full_like(condition, CONDITIONS["null"])
        prior = self.network(x, sigma, features, target_idx, null, blended=last).float()
        return prior + guidance_scale * (clean - prior)


def velocity(
    noisy: Float[Tensor, "B M P"], clean: Float[Tensor, "B M P"], sigma: Float[Tensor, " B"]
) -> Float[Tensor, "B M P"]:
    """noise - clean, from the noisy tubelets and a guess of the clean ones."""
    return (noisy - clean) / sigma[:, None, None]


def make_pipeline(
    network: TokenDecoder, vae: AutoencoderKL | None = None
) -> PredictionDecoderPipeline:
    """A pipeline around a network, with the plain flow-matching solver."""
    return PredictionDecoderPipeline(network, FlowMatchEulerDiscreteScheduler(shift=1.0), vae)


def draw_noise(
    grid: Sequence[int], dim: int, idx: Int64[Tensor, "B M"], generator: Generator
) -> Float[Tensor, "B M P"]:
    """Noise of the given tokens.

    Args:
        grid: tokens along time, height and width.
        dim: numbers in a tubelet.
        idx: which tokens.
        generator: source of the noise, which is drawn on its device.
    """
    _, h, w = grid
    drawn = {"generator": generator, "device": generator.device}
    shared = torch.randn(len(idx), h * w, dim, **drawn)
    own = torch.randn(*idx.shape, dim, **drawn)
    return math.sqrt(SHARED) * take(shared, idx % (h * w)) + math.sqrt(1 - SHARED) * own


def draw_stable_noise(
    grid: Sequence[int], dim: int, idx: Int64[Tensor, " M"], generator: Generator
) -> Float[Tensor, "M P"]:
    """The same, but drawn for the whole grid and then taken.

    A token's noise depends on the seed alone: it stays what it is while a mask grows.
    """
    every = torch.arange(math.prod(grid)).unsqueeze(0)
    return draw_noise(grid, dim, every, generator)[0, idx]
