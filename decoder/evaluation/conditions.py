"""What the decoder is told to draw: A true features, B predictions, C another clip's, D nothing."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Bool, Float, UInt8
from torch import Generator, Tensor

from decoder.evaluation.held_out import ClipBatch, Clips
from decoder.explorer import Explorer
from decoder.pixels import paste
from vjepa import masks
from vjepa.data.clips import normalize
from vjepa.grid import split, take

MASK_NAMES = ("short", "long", "tube", "box", "future")
GROUP = 8
"""Clips, at most, that share a mask, so that one's predictions can stand in for another's."""


@dataclass(frozen=True)
class Group:
    """Clips under one mask, and what the model predicts behind it.

    Attributes:
        indices: the clips' places among all that are scored.
        clips: their pixels.
        kind: name of the mask's preset.
        mask: True = hidden.
        predictions: of the hidden tokens.
    """

    indices: list[int]
    clips: ClipBatch
    kind: str
    mask: Bool[Tensor, "t h w"]
    predictions: Float[Tensor, "B M O"]

    def at(self, rows: list[int]) -> Group:
        """Some of the clips."""
        indices = [self.indices[row] for row in rows]
        return replace(
            self, indices=indices, clips=self.clips.at(rows), predictions=self.predictions[rows]
        )


def make_groups(explorer: Explorer, clips: Clips, generator: Generator) -> Iterator[Group]:
    """Groups of clips under a mask each, the kinds of mask in turn."""
    # groups of about equal size: a lone clip would have no other to be confused with
    parts = np.array_split(np.arange(len(clips)), -(-len(clips) // GROUP))
    for number, part in enumerate(parts):
        kind = MASK_NAMES[number % len(MASK_NAMES)]
        mask = masks.make(kind, explorer.grid, generator)
        yield make_group(explorer, part.tolist(), clips.read(part.tolist()), kind, mask)


def make_group(
    explorer: Explorer,
    indices: list[int],
    clips: ClipBatch,
    kind: str,
    mask: Bool[Tensor, "t h w"],
) -> Group:
    """Asks the model what a mask hides; "short" masks have a mask token of their own."""
    model = explorer.model
    context_idx, target_idx = (idx.expand(len(indices), -1).to(model.device) for idx in split(mask))
    with torch.no_grad():
        context = model.encode_context(_normalized(explorer, clips.frames), context_idx)
        mask_type = "short" if kind == "short" else "long"
        predictions = model.predict(context, context_idx, target_idx, mask_type).float()
    return Group(indices, clips, kind, mask, predictions)


@torch.no_grad()
def encode_hidden(
    explorer: Explorer, frames: UInt8[Tensor, "B T H W 3"], mask: Bool[Tensor, "t h w"]
) -> Float[Tensor, "B M O"]:
    """Target features of the hidden tokens, from clips that are seen whole."""
    target_idx = split(mask)[1].expand(len(frames), -1).to(explorer.model.device)
    return take(explorer.model.target_features(_normalized(explorer, frames)), target_idx)


def _normalized(explorer: Explorer, frames: Tensor) -> Tensor:
    return normalize(frames).to(explorer.model.device, explorer.model.dtype)


def decode(
    explorer: Explorer,
    frames: UInt8[Tensor, "B T H W 3"],
    mask: Bool[Tensor, "t h w"],
    features: Float[Tensor, "B M O"],
    source: str,
    seeds: Sequence[int],
    steps: int,
) -> UInt8[Tensor, "B T H W 3"]:
    """One sample a clip, pasted into it.

    Args:
        explorer: has the decoder.
        frames: the clips.
        mask: what is hidden in all of them.
        features: of their hidden tokens.
        source: what the decoder is told they are: "target", "predicted" or "null".
        seeds: one a clip.
        steps: of the diffusion.
    """
    tubelets = explorer.pipeline(
        features,
        split(mask)[1].expand(len(frames), -1).to(features.device),
        [source] * len(frames),
        [Generator().manual_seed(seed) for seed in seeds],
        num_inference_steps=steps,
    )
    pasted = [
        paste(clip, tubelet[None], mask, explorer.config)
        for clip, tubelet in zip(frames, tubelets, strict=True)
    ]
    return torch.cat(pasted)


def decode_conditions(
    explorer: Explorer, group: Group, targets: Float[Tensor, "B M O"], steps: int, seed: int
) -> dict[str, UInt8[Tensor, "B T H W 3"]]:
    """Conditions A to D of every clip of a group, each from the same noise."""
    features = {
        "target": (targets, "target"),
        "predicted": (group.predictions, "predicted"),
        "shuffled": (group.predictions.roll(1, dims=0), "predicted"),
        "null": (group.predictions, "null"),
    }
    seeds = [seed + index for index in group.indices]
    return {
        name: decode(explorer, group.clips.frames, group.mask, told, source, seeds, steps)
        for name, (told, source) in features.items()
    }
