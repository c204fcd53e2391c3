"""Where training clips come from: drawn on the fly, stored in one file, or cut out of videos.

A source has one method, `sample(count, generator) -> uint8 (count, T, H, W, 3)`. All randomness
comes from the generator, so a resumed run sees the very clips that it would have seen.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import UInt8
from numpy.lib.format import open_memmap
from torch import Generator, Tensor
from tqdm import tqdm

from vjepa.config import ModelConfig
from vjepa.data.clips import DEFAULT_FPS, duration, read_with_notes, training_clips
from vjepa.data.datasets import LIST_SUFFIXES, find_clips, open_dataset
from vjepa.errors import InputError
from vjepa.world.world import World

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


PAN_LEVEL = 2
"""The easiest level of the world whose camera moves."""


class Pans:
    """The camera moves over panoramas and photos, and nobody acts."""

    def __init__(self, config: ModelConfig, device: torch.device) -> None:
        self.device = device
        size = (config.image_size, config.num_frames)
        self.world = World(PAN_LEVEL, *size, split="train", device=str(device))

    def sample(self, count: int, generator: Generator) -> UInt8[Tensor, "B T H W 3"]:
        """`count` clips as RGB frames."""
        scene = self.world.draw(count, generator)
        return self.world.render(replace(scene, present=torch.zeros_like(scene.present))).frames


class Mixture:
    """Every clip is of one of several sources, by chance.

    Args:
        sources: on any device.
        shares: how often each is drawn from, relative to the others.
    """

    def __init__(self, sources: Sequence[Source], shares: Sequence[float]) -> None:
        self.sources, self.shares = sources, torch.tensor(shares, dtype=torch.float32)
        self.device = sources[0].device

    def sample(self, count: int, generator: Generator) -> UInt8[Tensor, "B T H W 3"]:
        """`count` clips as RGB frames, source by source."""
        seed = int(torch.randint(1 << 62, (), generator=generator, device=generator.device))
        dice = Generator().manual_seed(seed)
        drawn = torch.multinomial(self.shares, count, replacement=True, generator=dice)
        counts = drawn.bincount(minlength=len(self.sources)).tolist()
        parts = [
            source.sample(n, Generator(source.device).manual_seed(seed + i)).to(self.device)
            for i, (source, n) in enumerate(zip(self.sources, counts, strict=True))
            if n
        ]
        return torch.cat(parts)


CLIP_SECONDS = 64 / 30
"""The published clip: 16 frames, every fourth of 30 a second."""


def open_source(
    data: str, config: ModelConfig, *, levels: tuple[int, ...], device: torch.device
) -> Source:
    """The source that `data` names, or several, mixed: "8*world+pans+bundled".

    A source is "world", "pans" (photos under a moving camera), "bundled" (the real clips that ship
    with the project and may be trained on), a `.npy` file, a folder of videos, or a list of them:
    any of `vjepa.data.datasets`; its labels are not looked at. Still images are clips that stand
    still.

    Raises:
        InputError: nothing is there, it holds no clips for this model, or it is no mixture.
    """
    path = Path(data)
    if path.is_dir():
        return Videos(find_clips(path), config)
    if path.suffix.lower() in LIST_SUFFIXES and path.is_file():
        return Videos(open_dataset(path).paths, config)
    if path.is_file():
        return StoredClips(path, config)
    if "+" in data:
        shares, names = zip(*parse_mixture(data), strict=True)
        parts = [open_source(name, config, levels=levels, device=device) for name in names]
        return Mixture(parts, shares)
    return _open_named(data, config, levels, device)


def files_read(data: str) -> Iterator[Path]:
    """The files that clips of `data` are read from, as `open_source` finds them.

    Raises:
        InputError: a folder holds none, a list is not what it seems, or it is no mixture.
    """
    path = Path(data)
    if path.is_dir():
        yield from find_clips(path)
    elif "+" in data and not path.is_file():
        for _, name in parse_mixture(data):
            yield from files_read(name)
    else:
        yield path
        if path.suffix.lower() in LIST_SUFFIXES and path.is_file():
            yield from open_dataset(path).paths


def _open_named(
    name: str, config: ModelConfig, levels: tuple[int, ...], device: torch.device
) -> Source:
    if name == "world":
        return WorldSource(config, levels, device)
    if name == "physics":
        raise InputError(
            "Physics clips are drawn too slowly to train on: store them once with "
            "python -m vjepa store --data physics --out CLIPS.npy, and give that file."
        )
    if name == "pans":
        return Pans(config, device)
    if name == "bundled":
        return Videos(training_clips(), config)
    raise InputError(
        f"There is no data {name!r}: give world, pans, bundled, a .npy file, a folder of videos, "
        "a list, or several with + between them."
    )


def parse_mixture(data: str) -> list[tuple[float, str]]:
    """Shares and names of a mixture's sources.

    Raises:
        InputError: a share that is no positive number, or a name that is missing.
    """
    return [_parse_part(part.strip(), data) for part in data.split("+")]


def _parse_part(part: str, data: str) -> tuple[float, str]:
    share, star, name = part.partition("*")
    if not star:
        share, name = "1", part
    try:
        number = float(share)
    except ValueError:
        number = 0.0
    if not (0 < number < float("inf") and name.strip()):
        raise InputError(
            f"{data!r} is no mixture: write sources with + between them, and how often each is "
            "drawn before a *, as in 8*world+pans+bundled."
        )
    return number, name.strip()


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


ASPECT_RATIO = (0.75, 1.35)


def random_resized_crop(
    frames: UInt8[Tensor, "B T H W 3"], scale: tuple[float, float], *, generator: Generator
) -> UInt8[Tensor, "B T H W 3"]:
    """Each clip's random crop, resized to the clip's own size and flipped half of the time.

    Args:
        frames: RGB 0..255. Bytes, because resizing them is several times faster than floats.
        scale: least and greatest share of the area that is kept (paper: .3 to 1).
        generator: chooses crop and flip.
    """
    return torch.stack([_crop(clip, scale, generator) for clip in frames])


def _crop(
    clip: UInt8[Tensor, "T H W 3"], scale: tuple[float, float], generator: Generator
) -> UInt8[Tensor, "T H W 3"]:
    height, width = clip.shape[1:3]
    draw = torch.rand(5, generator=generator).tolist()
    area = height * width * (scale[0] + (scale[1] - scale[0]) * draw[0])
    low, high = map(math.log, ASPECT_RATIO)
    aspect = math.exp(low + (high - low) * draw[1])
    rows = min(round(math.sqrt(area / aspect)), height)
    columns = min(round(math.sqrt(area * aspect)), width)
    top, left = int(draw[2] * (height - rows + 1)), int(draw[3] * (width - columns + 1))
    crop = clip[:, top : top + rows, left : left + columns].permute(0, 3, 1, 2)
    resized = _resize(crop, (height, width))
    return (resized.flip(-1) if draw[4] < 0.5 else resized).permute(0, 2, 3, 1)


def _resize(crop: UInt8[Tensor, "T 3 h w"], size: tuple[int, int]) -> UInt8[Tensor, "T 3 H W"]:
    """Bytes where there is a kernel for them, on a CPU; elsewhere by way of floats."""
    on_cpu = crop.device.type == "cpu"
    resized = F.interpolate(crop if on_cpu else crop.float(), size, mode="bilinear", antialias=True)
    return resized if on_cpu else resized.round_().clamp_(0, 255).byte()
