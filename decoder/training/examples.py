"""What a frozen model says of clips behind masks: the material that a decoder learns from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float, Int64, UInt8
from torch import Generator, Tensor

from decoder.network import SOURCES
from decoder.pixels import to_tubelets
from vjepa import masks
from vjepa.data.clips import normalize
from vjepa.data.sources import Source
from vjepa.model import VJEPA, MaskBatch


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
            condition: one of `SOURCES` for every sample of the step, over all processes.
            mine: this process's samples.
            generator: source of whatever is drawn, in the same state in every process.
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


def draw_mask(
    grid: masks.Grid, batch_size: int, max_targets: int, generator: Generator
) -> MaskBatch:
    """A batch of masks of one kind, any that a person may draw."""
    names = list(masks.PRESETS)
    name = names[int(torch.randint(len(names), (), generator=generator))]
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
        true = (condition[mine] == SOURCES["target"]).to(model.device)
        if true.any():
            features[true] = model.targets(pixels[true], target_idx[true]).float()
        return Examples(to_tubelets(clips.frames, target_idx, model.config), features, target_idx)
