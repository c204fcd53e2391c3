"""Labelled clips in a fixed order: the world's, or those of videos that somebody labelled.

The order never changes and a stream can begin anywhere, so that encoding can be interrupted and
taken up again.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float, Shaped, UInt8
from torch import Tensor
from tqdm import tqdm

from vjepa.config import ModelConfig
from vjepa.data.datasets import LabelledVideos
from vjepa.data.views import readable
from vjepa.data.world import World, WorldBatch
from vjepa.errors import InputError
from vjepa.training import step_generator

WORLD_BATCH = 32
Piece = tuple[UInt8[np.ndarray, "b V C T H W 3"], Shaped[np.ndarray, " b"]]
"""Frames of b videos, V views of C clips each, and their labels: a structured array."""


@runtime_checkable
class LabelledClips(Protocol):
    """What features are computed of.

    Attributes:
        name: for people.
        digest: changes whenever a clip, a label or the preprocessing does.
        views, clips: V and C: how many crops of a video, and how many clips of each.
        config: gives the clips' size.
        labels: fields of a label; the first, `index`, counts up, with gaps where a video is broken.
    """

    name: str
    digest: str
    config: ModelConfig
    views: int
    clips: int
    labels: np.dtype

    def __len__(self) -> int: ...

    def stream(self, start: int) -> Iterator[Piece]:
        """Clips and labels from index `start` on."""
        ...


@dataclass(frozen=True)
class WorldClips:
    """Clips of the world, the same ones for the same seed.

    Attributes:
        level: difficulty of the world.
        split: "train" or "test": they share no object and no panorama.
        count: how many; fewer are the first of more.
        config: gives the clips' size.
        seed: of the clips.
    """

    level: int
    split: str
    count: int
    config: ModelConfig
    seed: int = 0
    views = clips = 1
    labels = np.dtype(
        [("index", "i8"), ("appearance", "i8"), ("motion", "i8"), ("location", "f4", 4)]
    )

    def __len__(self) -> int:
        return self.count

    @property
    def name(self) -> str:
        return f"world {self.level}, {self.split}"

    @cached_property
    def world(self) -> World:
        """Draws the clips."""
        config = self.config
        return World(self.level, config.image_size, config.num_frames, split=self.split)

    @cached_property
    def digest(self) -> str:
        """Of the first clips as they are drawn: what changes the drawing changes the digest."""
        batch, labels = self._batch(0)
        return _digest(self.name, str(self.seed), batch.tobytes(), labels.tobytes())

    def stream(self, start: int) -> Iterator[Piece]:
        """Clips and labels from index `start` on."""
        first, within = divmod(start, WORLD_BATCH)
        numbers = range(first, math.ceil(self.count / WORLD_BATCH))
        for number in tqdm(numbers, desc=self.name, unit="batch"):
            frames, labels = self._batch(number)
            yield frames[within:], labels[within:]
            within = 0

    def _batch(self, number: int) -> Piece:
        drawn = self.world.sample(WORLD_BATCH, step_generator(self.seed, number))
        labels = np.empty(WORLD_BATCH, self.labels)
        labels["index"] = number * WORLD_BATCH + np.arange(WORLD_BATCH)
        labels["appearance"], labels["motion"] = drawn.appearance, drawn.motion
        labels["location"] = middle_box(drawn, self.config.image_size)
        return drawn.frames.numpy()[:, None, None], labels


def middle_box(batch: WorldBatch, side: int) -> Float[Tensor, "b 4"]:
    """The whole actor in the middle frame, as far as it is in the frame, in frame sides."""
    middle = batch.amodal_boxes[:, batch.amodal_boxes.shape[1] // 2]
    return (middle / side).clamp(0, 1)


@dataclass(frozen=True)
class VideoClips:
    """Clips of labelled videos (paper, section 4.3: several clips, three spatial views).

    Attributes:
        videos: paths and labels.
        config: gives the clips' size.
        clips: how many, spread over a video.
        views: square crops of each, the first in the centre; 1 or 3.
    """

    videos: LabelledVideos
    config: ModelConfig
    clips: int = 2
    views: int = 3
    labels = np.dtype([("index", "i8"), ("class", "i8")])

    def __len__(self) -> int:
        return len(self.videos.paths)

    @property
    def name(self) -> str:
        return f"{len(self)} videos"

    @cached_property
    def digest(self) -> str:
        """Of paths, sizes, times of change and labels: a replaced video changes it."""
        stats = [path.stat() if path.is_file() else None for path in self.videos.paths]
        files = [(s.st_size, s.st_mtime_ns) if s else None for s in stats]
        size = (self.config.image_size, self.config.num_frames, self.clips, self.views)
        names = [str(path.absolute()) for path in self.videos.paths]
        return _digest(json.dumps([names, files, self.videos.labels.tolist(), size]))

    def stream(self, start: int) -> Iterator[Piece]:
        """Clips and labels of the videos from index `start` on that can be read."""
        rest = replace(
            self.videos, paths=self.videos.paths[start:], labels=self.videos.labels[start:]
        )
        try:
            for index, frames in readable(rest, self.config, self.clips, self.views):
                label = np.array([(start + index, rest.labels[index])], self.labels)
                yield frames.swapaxes(0, 1)[None], label
        except InputError:  # none of them can be read, which is no error when others could
            if not start:
                raise


def _digest(*parts: str | bytes) -> str:
    digest = hashlib.sha256()
    for part in parts:
        digest.update(part.encode() if isinstance(part, str) else part)
    return digest.hexdigest()
