"""Sampling: from noise to pixels in a few steps of flow matching, hidden tokens only."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from diffusers import DiffusionPipeline, FlowMatchEulerDiscreteScheduler
from jaxtyping import Float, Int64
from torch import Generator, Tensor

from decoder.network import SOURCES, TokenDecoder
from decoder.noise import draw_stable_noise


class PredictionDecoderPipeline(DiffusionPipeline):
    """Decodes features of hidden tokens to their pixels."""

    def __init__(self, network: TokenDecoder, scheduler: FlowMatchEulerDiscreteScheduler) -> None:
        super().__init__()
        self.register_modules(network=network, scheduler=scheduler)

    @torch.no_grad()
    def __call__(
        self,
        features: Float[Tensor, "B M D"],
        target_idx: Int64[Tensor, "B M"],
        sources: Sequence[str],
        generator: Sequence[Generator],
        num_inference_steps: int = 4,
        guidance_scale: float = 1.0,
        callback_on_step_end: Callable[[int, Tensor], None] | None = None,
    ) -> Float[Tensor, "B M P"]:
        """Samples the hidden tubelets.

        Args:
            features: layer-normed features, one a hidden token.
            target_idx: which tokens these are.
            sources: "target", "predicted" or "null", sample by sample.
            generator: one a sample; a token's noise stays the same while a mask grows.
            num_inference_steps: steps of the Euler solver; 1 gives the expected image, not a
                sample.
            guidance_scale: 1 follows the condition; more exaggerates it against the null one.
            callback_on_step_end: called with (step, the clean tubelets as guessed so far).

        Returns:
            clean tubelets, float32, -1..1.
        """
        device = self.network.device
        source = torch.tensor([SOURCES[name] for name in sources], device=device)
        x = self._noise(target_idx, generator)
        sigmas = np.linspace(1, 1 / num_inference_steps, num_inference_steps)
        self.scheduler.set_timesteps(sigmas=sigmas, device=device)
        for step, timestep in enumerate(self.scheduler.timesteps):
            sigma = self.scheduler.sigmas[step].expand(len(x))
            last = step == num_inference_steps - 1
            clean = self._clean(x, sigma, features, target_idx, source, guidance_scale, last)
            flow = velocity(x, clean, sigma)
            x = self.scheduler.step(flow, timestep, x, return_dict=False)[0]
            if callback_on_step_end:
                callback_on_step_end(step, clean)
        return x.clamp(-1, 1)

    def _noise(self, target_idx: Tensor, generator: Sequence[Generator]) -> Tensor:
        config = self.network.config
        rows = [
            draw_stable_noise(config.grid, config.tubelet_dim, idx.cpu(), one)
            for idx, one in zip(target_idx, generator, strict=True)
        ]
        return torch.stack(rows).to(self.network.device)

    def _clean(self, x, sigma, features, target_idx, source, guidance_scale, last) -> Tensor:
        clean = self.network(x, sigma, features, target_idx, source, blended=last).float()
        if guidance_scale == 1:
            return clean
        null = torch.full_like(source, SOURCES["null"])
        prior = self.network(x, sigma, features, target_idx, null, blended=last).float()
        return prior + guidance_scale * (clean - prior)


def velocity(
    noisy: Float[Tensor, "B M P"], clean: Float[Tensor, "B M P"], sigma: Float[Tensor, " B"]
) -> Float[Tensor, "B M P"]:
    """noise - clean, from the noisy tubelets and a guess of the clean ones."""
    return (noisy - clean) / sigma[:, None, None]


def make_pipeline(network: TokenDecoder) -> PredictionDecoderPipeline:
    """A pipeline around a network, with the plain flow-matching solver."""
    return PredictionDecoderPipeline(network, FlowMatchEulerDiscreteScheduler(shift=1.0))
