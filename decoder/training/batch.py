"""From settings to the loss: what one training step of the decoder is made of.

A frozen model says of masked clips what the decoder learns from; a step adds noise to the hidden
tubelets and conditions to draw them under. A few clips share a mask, so that nothing of what any
mask hides is dropped: in training as in use a token has all its hidden neighbours beside it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby, islice
from pathlib import Path
from typing import Protocol, runtime_checkable

import torch
from accelerate import Accelerator
from jaxtyping import Float, Int64, UInt8
from torch import Generator, Tensor, nn

from decoder.canvas import Canvas
from decoder.network import CONDITIONS, SIZES, Size
from decoder.pipeline import draw_noise, velocity
from vjepa import masks
from vjepa.data.clips import normalize
from vjepa.data.sources import Source
from vjepa.errors import InputError
from vjepa.masks import Grid, MaskBatch
from vjepa.model import VJEPA
from vjepa.training import RunConfig, step_generator

ALL_TARGETS = 1_000_000
"""More hidden tokens than a clip has."""


@dataclass(frozen=True)
class TrainConfig(RunConfig):
    """What a decoder's training run is made of; the defaults are the bundled decoder's.

    Attributes:
        model: the frozen model, by name or path.
        begin_with: folder of a decoder, of any model, whose weights are taken over where they fit.
        num_frames, image_size: of its clips, when they are not those it was trained on.
        data: "world", "pans", "bundled", a .npy file of stored clips, a folder of videos, a list
            of them, or several, as in "8*world+pans+still:pans" (of which nothing moves).
        cache_clips: what the model says of so many clips is computed once and kept on disk, and
            every epoch takes it with other noise; 0 asks the model at every step, about new clips.
        cache: folder where it is kept, `out`/cache if not given; runs on the same model and data
            can share it.
        size: of the network: demo, B or L; the last two suit models as large as ViT-L.
        width, depth, num_heads: where they are to be others than the size's.
        checkpointing: whether blocks are computed again on the way back, for a third more time and
            a fraction of the memory; by default for B and L.
        vae: folder of a diffusers AutoencoderKL, in whose latents the decoder then draws.
        overlap: margin, in pixels, in which neighbouring tokens are blended; none in latents.
        max_targets: hidden tokens of a clip, at most; all by default, as in use.
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
    size: str = "demo"
    width: int | None = None
    depth: int | None = None
    num_heads: int | None = None
    checkpointing: bool | None = None
    vae: Path | None = None
    overlap: int = 4
    max_targets: int = ALL_TARGETS
    steps: int = 3000
    warmup: int = 100
    weight_decay: float = 0.01
    ema: float = 0.999
    feature_noise: float = 0.1
    target_share: float = 0.25
    null_share: float = 0.1

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.size not in SIZES:
            raise InputError(f"There is no size {self.size!r}; choose one of {', '.join(SIZES)}.")
        if self.network_size.width % self.network_size.num_heads:
            raise InputError(f"width ({self.network_size.width}) must be a multiple of num_heads.")
        if self.overlap < 0:
            raise InputError(f"overlap must be 0 (none) or more pixels, not {self.overlap}.")
        if self.cache_clips < 0:
            raise InputError(f"cache_clips must be 0 (no cache) or more, not {self.cache_clips}.")

    @property
    def network_size(self) -> Size:
        """The named size, but for what is given one by one."""
        given = (self.width, self.depth, self.num_heads)
        return Size(*(a or b for a, b in zip(given, SIZES[self.size], strict=True)))

    @property
    def recomputes(self) -> bool:
        """Whether blocks are computed again on the way back."""
        return self.size != "demo" if self.checkpointing is None else self.checkpointing


@dataclass(frozen=True)
class Examples:
    """Hidden tokens of a few clips: what they look like, and what a decoder is told of them.

    Attributes:
        clean: their pixels, -1..1, or their latents.
        features: predicted or true ones, layer-normed.
        target_idx: which tokens they are.
    """

    clean: Float[Tensor, "B M P"]
    features: Float[Tensor, "B M O"]
    target_idx: Int64[Tensor, "B M"]


@runtime_checkable
class Material(Protocol):
    """Where the examples of each step come from."""

    def draw(
        self, step: int, condition: Tensor, mine: slice, generator: Generator
    ) -> list[Examples]:
        """Examples of one step, in order; each entry's clips have equally many hidden tokens.

        Args:
            step: which.
            condition: one of `CONDITIONS` for every sample of the step, over all processes.
            mine: this process's samples.
            generator: of whatever is drawn, in the same state in every process.
        """
        ...


MASK_CLIPS = 8
"""Clips that share a mask, and that the frozen model is given at a time."""


@dataclass(frozen=True)
class MaskedClips:
    """Clips, and what is hidden in all of them."""

    frames: UInt8[Tensor, "B T H W 3"]
    mask: MaskBatch

    def part(self, rows: slice | list[int], device: torch.device) -> MaskedClips:
        """Some of them, on a device."""
        mask, frames = self.mask, self.frames[rows].to(device)
        indices = (idx[rows].to(device) for idx in (mask.context_idx, mask.target_idx))
        return MaskedClips(frames, MaskBatch(*indices, mask.mask_type))


def draw_clips(
    source: Source, grid: Grid, count: int, max_targets: int, generator: Generator
) -> MaskedClips:
    """Clips and a mask; whatever the source's device, they depend on the generator alone."""
    frames = _sample(source, count, generator)
    return MaskedClips(frames, draw_mask(grid, count, max_targets, generator))


BOXES = "boxes over a part of the time"
MASK_KINDS = (*masks.MASKS, BOXES)
"""What hides tokens from a decoder that learns."""


def draw_groups(
    source: Source, grid: Grid, count: int, max_targets: int, generator: Generator
) -> list[MaskedClips]:
    """The same, with a mask of its own for every `MASK_CLIPS` of the clips."""
    return [
        MaskedClips(few, draw_mask(grid, len(few), max_targets, generator))
        for few in _sample(source, count, generator).split(MASK_CLIPS)
    ]


def _sample(source: Source, count: int, generator: Generator) -> UInt8[Tensor, "B T H W 3"]:
    seed = int(torch.randint(2**62, (), generator=generator))
    return source.sample(count, Generator(source.device).manual_seed(seed))


def draw_mask(
    grid: Grid, batch_size: int, max_targets: int, generator: Generator, name: str | None = None
) -> MaskBatch:
    """One mask for all clips, of a kind that a person may draw: any, or the one that is named."""
    drawn = name or MASK_KINDS[int(torch.randint(len(MASK_KINDS), (), generator=generator))]
    if drawn == BOXES:
        mask = masks.span_batch(grid, 1, generator=generator)
    else:
        mask = masks.make(drawn, grid, generator)[None]
    indices = masks.collate(
        mask.expand(batch_size, -1, -1, -1), generator=generator, max_targets=max_targets
    )
    return MaskBatch(*indices, "short" if drawn == "short" else "long")


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
    """Examples made when they are asked for, every one of a new clip: no disk, and no second look.

    Attributes:
        source: of the clips.
        model: the frozen model.
        canvas: what the decoder draws on.
        max_targets: hidden tokens of a clip, at most.
    """

    source: Source
    model: VJEPA
    canvas: Canvas
    max_targets: int

    def ask(self, count: int, mask: MaskBatch, *, targets: bool) -> None:
        """Asks the model about a few clips behind a mask, for the time and memory it takes."""
        frames = self.source.sample(count, Generator(self.source.device).manual_seed(0))
        clips = MaskedClips(frames, mask).part(slice(None), self.model.device)
        condition = torch.full((count,), CONDITIONS["target" if targets else "predicted"])
        self._answer(clips, condition)

    def draw(
        self, step: int, condition: Tensor, mine: slice, generator: Generator
    ) -> list[Examples]:
        """Draws clips, and computes of their features those that the condition asks for."""
        count, found = len(condition), []
        drawn = draw_groups(self.source, self.model.grid, count, self.max_targets, generator)
        for group, same in groupby(range(count)[mine], lambda sample: sample // MASK_CLIPS):
            samples = list(same)
            rows = [sample % MASK_CLIPS for sample in samples]
            clips = drawn[group].part(rows, self.model.device)
            found.append(self._answer(clips, condition[samples]))
        return found

    def _answer(self, clips: MaskedClips, condition: Tensor) -> Examples:
        model, target_idx = self.model, clips.mask.target_idx
        pixels = to_model(clips.frames, model)
        features = predict(model, pixels, clips.mask)
        true = (condition == CONDITIONS["target"]).to(model.device)
        if true.any():
            features[true] = model.targets(pixels[true], target_idx[true]).float()
        return Examples(self.canvas.cut(clips.frames, target_idx), features, target_idx)


LEAST_SIGMA = 0.05
"""Training draws no less noise: the velocity's error grows with 1 / sigma."""


@dataclass(frozen=True)
class Batch:
    """Material for the decoder, of samples with equally many tokens; the network's arguments."""

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


def sample_generator(
    seed: int, step: int, sample: int | str, device: str | torch.device = "cpu"
) -> Generator:
    """The generator of one sample of one step, on a device, by a hash of all three.

    However many processes there are, a sample's noise is the same; and no two runs, steps or
    samples share theirs, as they would if numbers were added up.
    """
    digest = hashlib.blake2b(f"{seed} {step} {sample}".encode(), digest_size=8).digest()
    return Generator(device).manual_seed(int.from_bytes(digest) >> 1)


def draw_noises(
    grid: Grid, target_idx: Int64[Tensor, "B M"], dims: tuple[int, int], generator: Generator
) -> tuple[Float[Tensor, "B M P"], Float[Tensor, "B M O"]]:
    """Noise on tubelets, as samples start from, and plain noise on features."""
    noise = draw_noise(grid, dims[0], target_idx, generator)
    shape = (*target_idx.shape, dims[1])
    return noise, torch.randn(shape, generator=generator, device=generator.device)


def draw_batch(
    material: Material, grid: Grid, config: TrainConfig, step: int, accelerator: Accelerator
) -> list[Batch]:
    """This process's share of the step: what the model says, and noise, drawn on the device.

    Every process draws the whole step's noise levels and conditions and keeps its own.
    """
    generator, count = step_generator(config.seed, step), config.batch_size
    mine = slice(accelerator.process_index, None, accelerator.num_processes)
    sigma = draw_sigma(count, generator)
    condition = draw_conditions(count, config.target_share, config.null_share, generator)
    samples, batches = iter(range(count)[mine]), []
    for seen in material.draw(step, condition, mine, generator):
        these = list(islice(samples, len(seen.clean)))
        noises = [
            sample_generator(config.seed, step, sample, accelerator.device) for sample in these
        ]
        told = (sigma[these], condition[these])
        batches.append(_with_noise(seen, grid, config.feature_noise, told, noises))
    return batches


def _with_noise(
    seen: Examples,
    grid: Grid,
    feature_noise: float,
    told: tuple[Tensor, Tensor],
    generators: Sequence[Generator],
) -> Batch:
    """Examples with noise of their own, at the levels and under the conditions they are told."""
    device = generators[0].device
    clean, features = seen.clean.to(device), seen.features.to(device)
    target_idx = seen.target_idx.to(device)
    dims = (clean.shape[-1], features.shape[-1])
    drawn = [
        draw_noises(grid, idx[None], dims, generator)
        for idx, generator in zip(target_idx, generators, strict=True)
    ]
    noise, drift = (torch.cat(parts) for parts in zip(*drawn, strict=True))
    sigma, condition = (each.to(device) for each in told)
    return Batch(clean, noise, sigma, features + feature_noise * drift, target_idx, condition)


class VelocityLoss(nn.Module):
    """Mean squared error of the velocity that the predicted clean tubelets imply.

    Every sample counts alike, however many tokens of it are hidden.

    Args:
        network: a `TokenDecoder`.
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, batches: Sequence[Batch]) -> Float[Tensor, ""]:
        """The loss over all samples of all batches."""
        return torch.cat([self._errors(batch) for batch in batches]).mean()

    def _errors(self, batch: Batch) -> Float[Tensor, " B"]:
        inputs = (batch.noisy, batch.sigma, batch.features, batch.target_idx, batch.condition)
        guess = velocity(batch.noisy, self.network(*inputs).float(), batch.sigma)
        return (guess - (batch.noise - batch.clean)).square().mean((1, 2))
