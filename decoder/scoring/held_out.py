"""The clips that a decoder is scored on: of the drawn world, or of videos it was not trained on.

Clips are read when they are needed, a few at a time: hundreds of large ones do not fit in memory.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Bool, Float, UInt8
from torch import Generator, Tensor

from decoder.explorer import Explorer
from vjepa import masks
from vjepa.config import ModelConfig
from vjepa.data.clips import UNTRAINED, bundled_clips, duration, find_videos, normalize, read_frames
from vjepa.data.sources import CLIP_SECONDS
from vjepa.errors import InputError
from vjepa.tokens import split, take
from vjepa.world.physics import COLOUR_NAMES, EVENT_NAMES, SHAPE_NAMES, PhysicsWorld, collate
from vjepa.world.scene import take_rows
from vjepa.world.world import CATEGORIES, MOTIONS, World

STILL, REST = MOTIONS.index("still"), EVENT_NAMES.index("rest")


@dataclass(frozen=True)
class ClipBatch:
    """Some of the clips.

    Attributes:
        frames: RGB 0..255.
        actor: where a moving object shows, and nowhere if it stands still; None if nobody knows.
        thing: where the thing in focus shows, be it moving or not; None if nobody knows.
    """

    frames: UInt8[Tensor, "B T H W 3"]
    actor: Bool[Tensor, "B T H W"] | None = None
    thing: Bool[Tensor, "B T H W"] | None = None

    def at(self, rows: list[int]) -> ClipBatch:
        """Some of them."""
        parts = (self.frames, self.actor, self.thing)
        return ClipBatch(*(None if part is None else part[rows] for part in parts))


class HeldOutWorld:
    """Held-out clips of the drawn world: objects and panoramas that training never shows.

    Args:
        n: number of clips.
        levels: difficulties, mixed equally and in random order.
        config: gives the clips' size.
        generator: draws what happens in all of them at once; pixels follow when they are read.
    """

    def __init__(
        self, n: int, levels: Sequence[int], config: ModelConfig, generator: Generator
    ) -> None:
        size = (config.image_size, config.num_frames)
        self.worlds = [World(level, *size, split="test") for level in levels[:n]]
        counts = [len(range(i, n, len(self.worlds))) for i in range(len(self.worlds))]
        self.scenes = [
            world.draw(count, generator) for world, count in zip(self.worlds, counts, strict=True)
        ]
        places = [(i, row) for i, count in enumerate(counts) for row in range(count)]
        self.places = [places[i] for i in torch.randperm(n, generator=generator)]

    def __len__(self) -> int:
        return len(self.places)

    def read(self, indices: Sequence[int]) -> ClipBatch:
        """Draws the clips at the given places in the order."""
        drawn = [self.worlds[i].render(self._scene(i, row)) for i, row in self._at(indices)]
        return ClipBatch(
            torch.cat([batch.frames for batch in drawn]),
            torch.cat(
                [batch.actor & (batch.motion != STILL)[:, None, None, None] for batch in drawn]
            ),
            torch.cat([batch.actor for batch in drawn]),
        )

    def title(self, index: int) -> str:
        """What happens in a clip, in a few words."""
        ((i, row),) = self._at([index])
        scene = self._scene(i, row)
        words = (CATEGORIES[scene.appearance[0]], MOTIONS[scene.motion[0]])
        return f"{', '.join(words)}, level {self.worlds[i].level}".replace("_", " ")

    def _at(self, indices: Sequence[int]) -> list[tuple[int, int]]:
        return [self.places[index] for index in indices]

    def _scene(self, world: int, row: int):
        return take_rows(self.scenes[world], slice(row, row + 1))


class HeldOutVideos:
    """Clips of videos, evenly spread over the length of each.

    Args:
        paths: the videos, which take turns.
        n: number of clips; they overlap where there is not enough video.
        config: gives the clips' size.
    """

    def __init__(self, paths: Sequence[Path], n: int, config: ModelConfig) -> None:
        self.config = config
        positions = np.linspace(0, 1, -(-n // len(paths)))
        last = [max(duration(path) - CLIP_SECONDS, 0.0) for path in paths]
        places = [
            (path, position * end)
            for position in positions
            for path, end in zip(paths, last, strict=True)
        ]
        self.places = places[:n]

    def __len__(self) -> int:
        return len(self.places)

    def read(self, indices: Sequence[int]) -> ClipBatch:
        """Reads the clips at the given places in the order."""
        size = (self.config.image_size, self.config.num_frames)
        places = [self.places[index] for index in indices]
        frames = [read_frames(path, *size, start=start) for path, start in places]
        return ClipBatch(torch.from_numpy(np.stack(frames)))

    def title(self, index: int) -> str:
        """Which video, from when."""
        path, start = self.places[index]
        return f"{path.stem.replace('_', ' ')}, from {start:.1f} s"


class HeldOutPhysics:
    """Clips of the physics world's test split, from seeds that training never draws.

    Args:
        n: number of clips.
        config: gives the clips' size.
        generator: of the seed that they all come from.
    """

    def __init__(self, n: int, config: ModelConfig, generator: Generator) -> None:
        self.world = PhysicsWorld(config.image_size, config.num_frames, split="test")
        self.seed = int(torch.randint(2**62, (), generator=generator))
        self.count = n

    def __len__(self) -> int:
        return self.count

    def read(self, indices: Sequence[int]) -> ClipBatch:
        """Draws the clips at the given places in the order."""
        batch = collate([self._clip(index) for index in indices])
        thing = batch.segmentation == 1
        moves = (batch.event != REST)[:, None, None, None]
        return ClipBatch(batch.frames, thing & moves, thing)

    def title(self, index: int) -> str:
        """What happens in a clip, in a few words."""
        clip = self._clip(index)
        colour, shape = COLOUR_NAMES[clip["colour"]], SHAPE_NAMES[clip["shape"]]
        return f"{colour} {shape}, {EVENT_NAMES[clip['event']]}".replace("_", " ")

    def _clip(self, index: int) -> dict[str, np.ndarray]:
        return self.world.clip((self.seed, index))


Clips = HeldOutWorld | HeldOutVideos | HeldOutPhysics


def held_out(
    clip_set: str, n: int, config: ModelConfig, levels: Sequence[int], generator: Generator
) -> Clips:
    """The clips that a name stands for.

    Args:
        clip_set: "world" (held-out objects and panoramas), "physics" (the test split of the
            physics world), "real" (the two bundled videos that no model was trained on), or a
            folder of videos.
        n: number of clips.
        config: gives their size.
        levels: difficulties of the world.
        generator: draws the world.

    Raises:
        InputError: no such clips, or fewer than two: one has no other to be confused with.
    """
    if n < 2:
        raise InputError(f"Evaluation needs at least 2 clips, not {n}.")
    if clip_set == "world":
        return HeldOutWorld(n, levels, config, generator)
    if clip_set == "physics":
        return HeldOutPhysics(n, config, generator)
    if clip_set == "real":
        return HeldOutVideos([bundled_clips()[name] for name in UNTRAINED], n, config)
    if not Path(clip_set).is_dir():
        raise InputError(
            f"There are no clips {clip_set!r}: give world, physics, real, or a folder of videos."
        )
    return HeldOutVideos(find_videos(Path(clip_set)), n, config)


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
    condition: str,
    seeds: Sequence[int],
    steps: int,
) -> UInt8[Tensor, "B T H W 3"]:
    """One sample a clip, pasted into it.

    Args:
        explorer: has the decoder.
        frames: the clips.
        mask: what is hidden in all of them.
        features: of their hidden tokens.
        condition: what the decoder is told they are: "target", "predicted" or "null".
        seeds: one a clip.
        steps: of the diffusion.
    """
    tubelets = explorer.pipeline(
        features,
        split(mask)[1].expand(len(frames), -1).to(features.device),
        [condition] * len(frames),
        [Generator().manual_seed(seed) for seed in seeds],
        num_inference_steps=steps,
    )
    canvas = explorer.pipeline.canvas(explorer.config)
    pasted = [
        canvas.paste(clip, tubelet[None], mask)
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
        name: decode(explorer, group.clips.frames, group.mask, told, condition, seeds, steps)
        for name, (told, condition) in features.items()
    }
