"""The clips that a decoder is scored on: of the drawn world, or of videos it was not trained on.

Clips are read when they are needed, a few at a time: hundreds of large ones do not fit in memory.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Bool, UInt8
from torch import Generator, Tensor

from vjepa.config import ModelConfig
from vjepa.data.clips import UNTRAINED, bundled_clips, find_videos, read_frames
from vjepa.data.sources import CLIP_SECONDS, duration
from vjepa.data.world import CATEGORIES, MOTIONS, World
from vjepa.data.world_scene import take
from vjepa.errors import InputError

STILL = MOTIONS.index("still")


@dataclass(frozen=True)
class ClipBatch:
    """Some of the clips.

    Attributes:
        frames: RGB 0..255.
        actor: where a moving object shows, and nowhere if it stands still; None if nobody knows.
    """

    frames: UInt8[Tensor, "B T H W 3"]
    actor: Bool[Tensor, "B T H W"] | None = None

    def at(self, rows: list[int]) -> ClipBatch:
        """Some of them."""
        return ClipBatch(self.frames[rows], None if self.actor is None else self.actor[rows])


class WorldClips:
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
        return take(self.scenes[world], slice(row, row + 1))


class VideoClips:
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


Clips = WorldClips | VideoClips


def held_out(
    source: str, n: int, config: ModelConfig, levels: Sequence[int], generator: Generator
) -> Clips:
    """The clips that a name stands for.

    Args:
        source: "world" (held-out objects and panoramas), "real" (the two bundled videos that no
            model was trained on), or a folder of videos.
        n: number of clips.
        config: gives their size.
        levels: difficulties of the world.
        generator: draws the world.

    Raises:
        InputError: no such clips, or fewer than two: one has no other to be confused with.
    """
    if n < 2:
        raise InputError(f"Evaluation needs at least 2 clips, not {n}.")
    if source == "world":
        return WorldClips(n, levels, config, generator)
    if source == "real":
        return VideoClips([bundled_clips()[name] for name in UNTRAINED], n, config)
    if not Path(source).is_dir():
        raise InputError(f"There are no clips {source!r}: give world, real, or a folder of videos.")
    return VideoClips(find_videos(Path(source)), n, config)
