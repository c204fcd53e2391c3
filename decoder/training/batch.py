"""From settings to the loss: what one training step of the decoder is made of.

A frozen model says of masked clips what the decoder learns from; a step adds noise to the hidden
pixels and conditions to draw them under.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, runtime_checkable

import torch
from accelerate import Accelerator
from jaxtyping import Float, Int64, UInt8
from torch import Generator, Tensor

from decoder.network import CONDITIONS
from decoder.pipeline import draw_noise, to_tubelets, velocity
from vjepa import masks
from vjepa.data.clips import normalize
from vjepa.data.sources import Source
from vjepa.errors import InputError
from vjepa.masks import Grid, MaskBatch
from vjepa.model import VJEPA
from vjepa.training import RunConfig, step_generator


@dataclass(frozen=True)
class TrainConfig(RunConfig):
    """What a decoder's training run is made of; the defaults are the bundled decoder's.

    Attributes:
        model: the frozen model, by name or path.
        begin_with: folder of a decoder, of any model, whose weights are taken over where they fit.
        num_frames, image_size: of its clips, when they are not those it was trained on.
        data: "world", "pans", "bundled", a .npy file of stored clips, a folder of videos, a list
            of them, or several, as in "8*world+pans".
        cache_clips: what the model says of so many clips is computed once and kept on disk, and
            every epoch takes it with other noise; 0 asks the model at every step.
        cache: folder where it is kept, `out`/cache if not given; runs on the same model and data
            can share it.
        width, depth, num_heads: size of the network; 512, 8, 8 suit a model as large as ViT-L.
        overlap: margin, in pixels, in which neighbouring tokens are blended.
        weight_decay: of matrices.
        ema: greatest momentum of the averaged weights, which are the ones that are kept.
        feature_noise: noise on the condition, against drift of the predictor.
        target_share, null_share: samples conditioned on true features, and on nothing.
    """

    model: str = "demo"
    begin_with: Path | None = None
    num_frames: int | None = None
    image_size: int | None = None
    data: str = "world"
    cache_clips: int = 0
    cache: Path | None = None
    width: int = 256
    depth: int = 4
    num_heads: int = 4
    overlap: int = 4
    steps: int = 3000
    warmup: int = 100
    weight_decay: float = 0.01
    ema: float = 0.999
    feature_noise: float = 0.1
    target_share: float = 0.25
    null_share: float = 0.1

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.width % self.num_heads:
            raise InputError(f"width ({self.width}) must be a multiple of num_heads.")
        if self.overlap < 0:
            raise InputError(f"overlap must be 0 (none) or more pixels, not {self.overlap}.")
        if self.cache_clips < 0:
            raise InputError(f"cache_clips must be 0 (no cache) or more, not {self.cache_clips}.")


@dataclass(frozen=True)
class Examples:
    """Hidden tokens: what they look like, and what a decoder is told of them.

    Attributes:
        clean: their pixels, -1..1.
        features: predicted or true ones, layer-normed.
        target_idx: which tokens they are.
    """

    clean: Float[Tensor, "B M P"]
    features: Float[Tensor, "B M O"]
    target_idx: Int64[Tensor, "B M"]


@runtime_checkable
class Material(Protocol):
    """Where the examples of each step come from."""

    def draw(self, step: int, condition: Tensor, mine: slice, generator: Generator) -> Examples:
        """Examples of one step.

        Args:
            step: which.
            condition: one of `CONDITIONS` for every sample of the step, over all processes.
            mine: this process's samples.
            generator: of whatever is drawn, in the same state in every process.
        """
        ...


@dataclass(frozen=True)
class MaskedClips:
    """Clips, and what is hidden in each."""

    frames: UInt8[Tensor, "B T H W 3"]
    mask: MaskBatch

    def part(self, mine: slice, device: torch.device) -> MaskedClips:
        """Some of them, on a device."""
        mask, frames = self.mask, self.frames[mine].to(device)
        indices = (idx[mine].to(device) for idx in (mask.context_idx, mask.target_idx))
        return MaskedClips(frames, MaskBatch(*indices, mask.mask_type))


def draw_clips(
    source: Source, grid: masks.Grid, count: int, max_targets: int, generator: Generator
) -> MaskedClips:
    """Clips and masks; whatever the source's device, they depend on the generator alone."""
    seed = int(torch.randint(2**62, (), generator=generator))
    frames = source.sample(count, Generator(source.device).manual_seed(seed))
    return MaskedClips(frames, draw_mask(grid, count, max_targets, generator))


BOXES = "boxes over a part of the time"


def draw_mask(
    grid: masks.Grid, batch_size: int, max_targets: int, generator: Generator
) -> MaskBatch:
    """A batch of masks of one kind, any that a person may draw."""
    names = [*masks.MASKS, BOXES]
    name = names[int(torch.randint(len(names), (), generator=generator))]
    if name == BOXES:
        drawn = masks.span_batch(grid, batch_size, generator=generator)
    else:
        drawn = torch.stack([masks.make(name, grid, generator) for _ in range(batch_size)])
    indices = masks.collate(drawn, generator=generator, max_targets=max_targets)
    return MaskBatch(*indices, "short" if name == "short" else "long")


def to_model(frames: UInt8[Tensor, "B T H W 3"], model: VJEPA) -> Float[Tensor, "B C T H W"]:
    """Frames as the model wants them."""
    return normalize(frames).to(model.device, model.dtype)


@torch.no_grad()
def predict(
    model: VJEPA, pixels: Float[Tensor, "B C T H W"], mask: MaskBatch
) -> Float[Tensor, "B M O"]:
    """What the model predicts of the hidden tokens."""
    context = model.encode_context(pixels, mask.context_idx)
    return model.predict(context, mask.context_idx, mask.target_idx, mask.mask_type).float()


@dataclass(frozen=True)
class OnlineExamples:
    """Examples made when they are asked for: as fast as a cache if the model is small.

    Attributes:
        source: of the clips.
        model: the frozen model.
        max_targets: hidden tokens of a clip, at most.
    """

    source: Source
    model: VJEPA
    max_targets: int

    def ask(self, count: int, seed: int) -> None:
        """Asks the model about some clips, for the time it takes."""
        generator = Generator().manual_seed(seed)
        clips = draw_clips(self.source, self.model.grid, count, self.max_targets, generator)
        clips = clips.part(slice(None), self.model.device)
        pixels = to_model(clips.frames, self.model)
        predict(self.model, pixels, clips.mask)
        self.model.targets(pixels, clips.mask.target_idx)

    def draw(self, step: int, condition: Tensor, mine: slice, generator: Generator) -> Examples:
        """Draws clips, and computes of their features those that the condition asks for."""
        model, count = self.model, len(condition)
        clips = draw_clips(self.source, model.grid, count, self.max_targets, generator)
        clips = clips.part(mine, model.device)
        pixels, target_idx = to_model(clips.frames, model), clips.mask.target_idx
        features = predict(model, pixels, clips.mask)
        true = (condition[mine] == CONDITIONS["target"]).to(model.device)
        if true.any():
            features[true] = model.targets(pixels[true], target_idx[true]).float()
        return Examples(to_tubelets(clips.frames, target_idx, model.config), features, target_idx)


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
    condition: Int64[Tensor, " B"]

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
    """What each sample is told to draw, one of `CONDITIONS`; mostly predictions."""
    draw = torch.rand(count, generator=generator)
    drawn = torch.full((count,), CONDITIONS["predicted"])
    drawn[draw < target_share + null_share] = CONDITIONS["target"]
    drawn[draw < null_share] = CONDITIONS["null"]
    return drawn


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
    clean = network(batch.noisy, batch.sigma, batch.features, batch.target_idx, batch.condition)
    guess = velocity(batch.noisy, clean.float(), batch.sigma)
    return (guess - (batch.noise - batch.clean)).square().mean()
