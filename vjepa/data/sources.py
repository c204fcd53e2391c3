"""Where training clips come from: drawn on the fly, stored in one file, or cut out of videos.

A source has one method, `sample(count, generator) -> uint8 (count, T, H, W, 3)`. All randomness
comes from the generator, so a resumed run sees the very clips that it would have seen.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import UInt8
from numpy.lib.format import open_memmap
from torch import Generator, Tensor
from tqdm import tqdm

from vjepa.config import ModelConfig
from vjepa.data import mixture
from vjepa.data.clips import DEFAULT_FPS, duration, find_videos, read_with_notes, training_clips
from vjepa.data.datasets import LIST_SUFFIXES, open_dataset
from vjepa.data.world import World
from vjepa.errors import InputError

log = logging.getLogger(__name__)

READERS = 4
"""Videos decoded side by side."""
ATTEMPTS = 20
"""Videos, one after the other, that are tried for one clip."""


@runtime_checkable
class Source(Protocol):
    """Anything that training clips can be drawn from, with a generator on its device."""

    device: torch.device

    def sample(self, count: int, generator: Generator) -> UInt8[Tensor, "B T H W 3"]:
        """`count` clips as RGB frames."""
        ...


class WorldSource:
    """Clips drawn by the world, every level equally often."""

    def __init__(self, config: ModelConfig, levels: tuple[int, ...], device: torch.device) -> None:
        self.device = device
        self.worlds = [
            World(level, config.image_size, config.num_frames, split="train", device=str(device))
            for level in levels
        ]

    def sample(self, count: int, generator: Generator) -> UInt8[Tensor, "B T H W 3"]:
        """`count` clips as RGB frames."""
        counts = np.bincount(np.arange(count) % len(self.worlds), minlength=len(self.worlds))
        batches = [
            world.sample(int(n), generator).frames
            for world, n in zip(self.worlds, counts, strict=True)
            if n
        ]
        return torch.cat(batches)


class StoredClips:
    """Clips in one `.npy` file of uint8 (N, T, H, W, 3), memory-mapped."""

    device = torch.device("cpu")

    def __init__(self, path: Path, config: ModelConfig) -> None:
        try:
            self.clips = np.load(path, mmap_mode="r")
        except (ValueError, EOFError, OSError) as error:
            raise InputError(f"{path} is no readable .npy file: {error}.") from error
        expected = (config.num_frames, config.image_size, config.image_size, 3)
        if self.clips.shape[1:] != expected or self.clips.dtype != np.uint8 or not len(self.clips):
            raise InputError(
                f"{path} holds {self.clips.dtype} of shape {self.clips.shape}; the model wants "
                f"uint8 (N, {', '.join(map(str, expected))}): store the clips for this model."
            )

    def sample(self, count: int, generator: Generator) -> UInt8[Tensor, "B T H W 3"]:
        """`count` clips as RGB frames."""
        index = torch.randint(len(self.clips), (count,), generator=generator)
        return torch.from_numpy(np.stack([self.clips[i] for i in index.tolist()]))


class Videos:
    """Clips cut out of videos, from random starts; a video that cannot be read is passed over."""

    device = torch.device("cpu")

    def __init__(self, paths: Sequence[Path], config: ModelConfig) -> None:
        self.config = config
        self.paths = paths

    def sample(self, count: int, generator: Generator) -> UInt8[Tensor, "B T H W 3"]:
        """`count` clips as RGB frames.

        Raises:
            InputError: many videos one after the other cannot be read.
        """
        index = torch.randint(len(self.paths), (count,), generator=generator).tolist()
        starts = torch.rand(count, generator=generator).tolist()
        with ThreadPoolExecutor(READERS) as pool:  # threads: decoding holds no interpreter lock
            return torch.stack(list(pool.map(self._read_near, index, starts)))

    def _read_near(self, index: int, position: float) -> UInt8[Tensor, "T H W 3"]:
        """A clip of this video, or else of the next one in order that can be read."""
        for offset in range(min(ATTEMPTS, len(self.paths))):
            path = self.paths[(index + offset) % len(self.paths)]
            try:
                return self._read(path, position)
            except Exception as error:  # files are broken in ways that nobody can list
                log.warning("%s is passed over: %s", path, error)
                reason = error
        raise InputError(f"Videos from {self.paths[index]} on cannot be read: {reason}")

    def _read(self, path: Path, position: float) -> UInt8[Tensor, "T H W 3"]:
        """A clip that starts at `position` (0..1) of the latest start that still fits."""
        config = self.config
        latest = max(duration(path) - config.num_frames / DEFAULT_FPS, 0.0)
        start = position * latest
        clip = read_with_notes(path, config.image_size, config.num_frames, start=start)
        return torch.from_numpy(clip.frames)


CLIP_SECONDS = 64 / 30
"""The published clip: 16 frames, every fourth of 30 a second."""


def open_source(
    data: str, config: ModelConfig, *, levels: tuple[int, ...], device: torch.device
) -> Source:
    """The source that `data` names, or several, mixed: "8*world+pans+bundled".

    A source is "world", "pans" (photos under a moving camera), "bundled" (the real clips that ship
    with the project and may be trained on), a `.npy` file, a folder of videos, or a list of them:
    any of `vjepa.data.datasets`; its labels are not looked at.

    Raises:
        InputError: nothing is there, it holds no clips for this model, or it is no mixture.
    """
    path = Path(data)
    if path.is_dir():
        return Videos(find_videos(path), config)
    if path.suffix.lower() in LIST_SUFFIXES and path.is_file():
        return Videos(open_dataset(path).paths, config)
    if path.is_file():
        return StoredClips(path, config)
    if "+" in data:
        shares, names = zip(*mixture.parse(data), strict=True)
        parts = [open_source(name, config, levels=levels, device=device) for name in names]
        return mixture.Mixture(parts, shares)
    return _open_named(data, config, levels, device)


def _open_named(
    name: str, config: ModelConfig, levels: tuple[int, ...], device: torch.device
) -> Source:
    if name == "world":
        return WorldSource(config, levels, device)
    if name == "pans":
        return mixture.Pans(config, device)
    if name == "bundled":
        return Videos(training_clips(), config)
    raise InputError(
        f"There is no data {name!r}: give world, pans, bundled, a .npy file, a folder of videos, "
        "a list, or several with + between them."
    )


def store(source: Source, path: Path, count: int, *, seed: int, chunk: int = 64) -> None:
    """Draws clips once and stores them: drawing shares the cores with training.

    Args:
        source: where the clips come from.
        path: the `.npy` file to write.
        count: number of clips.
        seed: of the generator.
        chunk: clips drawn at a time.
    """
    generator = torch.Generator().manual_seed(seed)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial")
    clips = None
    for start in tqdm(range(0, count, chunk), desc="clips", unit="chunk"):
        frames = source.sample(min(chunk, count - start), generator).cpu().numpy()
        if clips is None:
            shape = (count, *frames.shape[1:])
            clips = open_memmap(partial, mode="w+", dtype=np.uint8, shape=shape)
        clips[start : start + len(frames)] = frames
    clips.flush()
    partial.rename(path)
