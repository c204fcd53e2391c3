"""What one training step of the decoder is made of, and its loss."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from accelerate import Accelerator
from jaxtyping import Float, Int64
from torch import Generator, Tensor

from decoder.network import SOURCES
from decoder.noise import draw_noise
from decoder.pipeline import velocity
from decoder.training.examples import Material
from decoder.training.train_config import TrainConfig
from vjepa.masks import Grid
from vjepa.training import step_generator

LEAST_SIGMA = 0.05
"""Training draws no less noise: the velocity's error grows with 1 / sigma."""


@dataclass(frozen=True)
class Batch:
    """One step's material for the decoder; its fields are the arguments of the network."""

    clean: Float[Tensor, "B M P"]
    noise: Float[Tensor, "B M P"]
    sigma: Float[Tensor, " B"]
    features: Float[Tensor, "B M O"]
    target_idx: Int64[Tensor, "B M"]
    source: Int64[Tensor, " B"]

    @property
    def noisy(self) -> Float[Tensor, "B M P"]:
        """The clean tubelets, noised to each sample's sigma."""
        sigma = self.sigma[:, None, None]
        return (1 - sigma) * self.clean + sigma * self.noise


def draw_sigma(count: int, generator: Generator) -> Float[Tensor, " count"]:
    """Noise levels: logit-normal, and a quarter near 1.

    Every sample starts at pure noise, and a sample of one step never leaves it: a logit-normal
    alone hardly goes there, and what the network has not learned there shows as blotches.
    """
    sigma = torch.sigmoid(torch.randn(count, generator=generator) + 0.8).clamp_min(LEAST_SIGMA)
    high = 1 - 0.2 * torch.rand(count, generator=generator).square()
    return torch.where(torch.rand(count, generator=generator) < 0.25, high, sigma)


def draw_conditions(
    count: int, target_share: float, null_share: float, generator: Generator
) -> Int64[Tensor, " count"]:
    """What each sample is conditioned on, one of `SOURCES`; predictions if neither share is met."""
    draw = torch.rand(count, generator=generator)
    source = torch.full((count,), SOURCES["predicted"])
    source[draw < target_share + null_share] = SOURCES["target"]
    source[draw < null_share] = SOURCES["null"]
    return source


def draw_noises(
    grid: Grid, target_idx: Int64[Tensor, "B M"], dims: tuple[int, int], generator: Generator
) -> tuple[Float[Tensor, "B M P"], Float[Tensor, "B M O"]]:
    """Noise on pixels, as samples start from, and plain noise on features."""
    pixel_dim, feature_dim = dims
    noise = draw_noise(grid, pixel_dim, target_idx, generator)
    return noise, torch.randn(*target_idx.shape, feature_dim, generator=generator)


def draw_batch(
    material: Material, grid: Grid, config: TrainConfig, step: int, accelerator: Accelerator
) -> Batch:
    """This process's share of the step: what the model says, and noise.

    Every process draws the whole step's numbers and keeps its own, each sample's noise by a seed
    of its own: however many processes there are, the samples are the same.
    """
    generator, count = step_generator(config.seed, step), config.batch_size
    mine = slice(accelerator.process_index, None, accelerator.num_processes)
    sigma = draw_sigma(count, generator)
    condition = draw_conditions(count, config.target_share, config.null_share, generator)
    seeds = torch.randint(2**62, (count,), generator=generator)[mine].tolist()
    seen = material.draw(step, condition, mine, generator)
    noises = [
        draw_noises(
            grid,
            idx[None],
            (seen.clean.shape[-1], seen.features.shape[-1]),
            Generator().manual_seed(seed),
        )
        for idx, seed in zip(seen.target_idx.cpu(), seeds, strict=True)
    ]
    noise, drift = (torch.cat(parts) for parts in zip(*noises, strict=True))
    features = seen.features.cpu() + config.feature_noise * drift
    tensors = (seen.clean, noise, sigma[mine], features, seen.target_idx, condition[mine])
    return Batch(*(tensor.to(accelerator.device) for tensor in tensors))


def velocity_loss(network: torch.nn.Module, batch: Batch) -> Float[Tensor, ""]:
    """Mean squared error of the velocity that the predicted clean tubelets imply."""
    clean = network(batch.noisy, batch.sigma, batch.features, batch.target_idx, batch.source)
    guess = velocity(batch.noisy, clean.float(), batch.sigma)
    return (guess - (batch.noise - batch.clean)).square().mean()
