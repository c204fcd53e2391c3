"""Where training clips come from: drawn on the fly, stored in one file, or cut out of videos.

A source gives one clip at a time to training (`clip`, cropped from its frames at their own size),
and many whole ones to what is not trained on crops (`sample`). All randomness comes from the
generator: one of its own for each clip of a run (`vjepa.batches`), so that a resumed run, or one
with other workers and processes, sees the very clips that it would have seen.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import UInt8
from torch import Generator, Tensor
from torch.utils.data import get_worker_info
from torchvision.transforms import RandomResizedCrop
from torchvision.transforms.v2 import functional as transforms
from tqdm import tqdm

from vjepa.config import ModelConfig
from vjepa.data.clips import DEFAULT_FPS, read_wish, read_with_notes, timing, training_clips
from vjepa.data.datasets import LIST_SUFFIXES, find_clips, open_dataset
from vjepa.data.drawn import Pans, PhysicsSource, WorldSource
from vjepa.errors import InputError
from vjepa.reading.timing import Crop, Wish
from vjepa.storage import new_array, require_writable

log = logging.getLogger(__name__)

READERS = 4
"""Videos decoded side by side."""
ATTEMPTS = 20
"""Videos, one after the other, that are tried for one clip."""


@runtime_checkable
class Source(Protocol):
    """Anything that training clips can be drawn from.

    Attributes:
        device: of the generator that `sample` takes.
        count: clips, or videos, to choose from; None where they are drawn and never end.
    """

    device: torch.device
    count: int | None

    def sample(self, count: int, generator: Generator) -> UInt8[Tensor, "B T H W 3"]:
        """`count` whole clips as RGB frames."""
        ...

    def clip(self, index: int, crop: Crop, generator: Generator) -> UInt8[np.ndarray, "T H W 3"]:
        """One clip, cropped.

        Args:
            index: which of them; without a meaning where they never end.
            crop: what is made of frames (..., h, w, 3), all of them or one after the other.
            generator: of everything else that is drawn, on the CPU.

        Raises:
            BrokenVideoError: it cannot be read.
        """
        ...


class BrokenVideoError(Exception):
    """A video of a source that cannot be read.

    Args:
        path: of the video.
        reason: in one sentence.
    """

    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(path, reason)
        self.path, self.reason = path, reason


class RandomCrop:
    """A random part of the frame, resized and flipped half of the time: one for a whole clip.

    Args:
        size: side of the result, pixels.
        scale: least and greatest share of the area that is kept (paper: .3 to 1).
        aspect: least and greatest width over height (paper: .75 to 1.35).
        generator: chooses crop and flip.
    """

    def __init__(
        self,
        size: int,
        scale: tuple[float, float],
        aspect: tuple[float, float],
        generator: Generator,
    ) -> None:
        self.size, self.scale, self.aspect = size, scale, aspect
        self.seed = int(torch.randint(2**62, (), generator=generator))
        self.place: tuple[int, int, int, int] | None = None
        self.flips = False

    def __call__(self, frames: UInt8[np.ndarray, "... h w 3"]) -> UInt8[np.ndarray, "... s s 3"]:
        """The part of frames; those of a clip may come one after the other."""
        writable = np.require(frames, requirements="W")  # torch takes no others; Pillow's are none
        pixels = torch.from_numpy(writable).movedim(-1, -3)  # a CPU resizes bytes as they are
        if self.place is None:
            self._draw(pixels)
        size = [self.size, self.size]
        pixels = transforms.resized_crop(pixels, *self.place, size, antialias=True)
        pixels = transforms.horizontal_flip(pixels) if self.flips else pixels
        return pixels.movedim(-3, -1).numpy()

    def _draw(self, pixels: UInt8[Tensor, "... 3 h w"]) -> None:
        with torch.random.fork_rng(devices=[]):  # torchvision draws from torch's own generator
            torch.default_generator.manual_seed(self.seed)
            self.place = RandomResizedCrop.get_params(pixels, list(self.scale), list(self.aspect))
            self.flips = bool(torch.rand(()) < 0.5)


class StoredClips:
    """Clips in one `.npy` file of uint8 (N, T, H, W, 3), memory-mapped."""

    device = torch.device("cpu")

    def __init__(self, path: Path, config: ModelConfig) -> None:
        self.path, self.config = path, config
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
        self.count = len(self.clips)

    def __reduce__(self) -> tuple:
        return type(self), (self.path, self.config)  # mapped anew, not copied

    def sample(self, count: int, generator: Generator) -> UInt8[Tensor, "B T H W 3"]:
        """`count` clips as RGB frames."""
        index = torch.randint(len(self.clips), (count,), generator=generator)
        return torch.from_numpy(np.stack([self.clips[i] for i in index.tolist()]))

    def clip(self, index: int, crop: Crop, generator: Generator) -> UInt8[np.ndarray, "T H W 3"]:
        """One clip."""
        return crop(np.array(self.clips[index]))


class Videos:
    """Clips cut out of videos, from random starts; a video that cannot be read is passed over.

    Args:
        paths: of the videos, or of still images.
        config: gives frames and size.
        fps: frames a second of the clips.
        frame_step: source frames between two of a clip, whatever their rate; 0: by `fps`.
    """

    device = torch.device("cpu")

    def __init__(
        self,
        paths: Sequence[Path],
        config: ModelConfig,
        fps: float = DEFAULT_FPS,
        frame_step: int = 0,
    ) -> None:
        self.config, self.paths = config, paths
        self.fps, self.frame_step = fps, frame_step
        self.count = len(paths)

    def sample(self, count: int, generator: Generator) -> UInt8[Tensor, "B T H W 3"]:
        """`count` clips as RGB frames.

        Raises:
            InputError: many videos one after the other cannot be read.
        """
        index = torch.randint(len(self.paths), (count,), generator=generator).tolist()
        starts = torch.rand(count, generator=generator).tolist()
        with ThreadPoolExecutor(READERS) as pool:  # threads: decoding holds no interpreter lock
            return torch.stack(list(pool.map(self._read_near, index, starts)))

    def clip(self, index: int, crop: Crop, generator: Generator) -> UInt8[np.ndarray, "T H W 3"]:
        """One clip of a video, from a random start.

        Raises:
            BrokenVideoError: the video cannot be read.
        """
        path, place = self.paths[index], float(torch.rand((), generator=generator))
        threads = 1 if get_worker_info() else 0  # workers share the cores
        try:
            start, fps = self._start(path, place)
            return read_wish(
                path, Wish(start, fps, self.config.num_frames, None, crop, threads)
            ).frames
        except Exception as error:  # files are broken in ways that nobody can list
            raise BrokenVideoError(path, str(error) or type(error).__name__) from error

    def _start(self, path: Path, place: float) -> tuple[float, float]:
        """Where a clip begins, in seconds, at `place` (0..1) of what still fits, and its rate."""
        seconds, rate = timing(path)
        fps = rate / self.frame_step if self.frame_step else self.fps
        return place * max(seconds - self.config.num_frames / fps, 0.0), fps

    def _read_near(self, index: int, position: float) -> UInt8[Tensor, "T H W 3"]:
        """A clip of this video, or else of the next one in order that can be read."""
        for offset in range(min(ATTEMPTS, len(self.paths))):
            path = self.paths[(index + offset) % len(self.paths)]
            try:
                start, fps = self._start(path, position)
                size = (self.config.image_size, self.config.num_frames)
                return torch.from_numpy(read_with_notes(path, *size, start, fps).frames)
            except Exception as error:  # files are broken in ways that nobody can list
                log.warning("%s is passed over: %s", path, error)
                reason = error
        raise InputError(f"Videos from {self.paths[index]} on cannot be read: {reason}")


class Mixture:
    """Every clip is of one of several sources, by chance.

    Args:
        sources: on any device.
        shares: how often each is drawn from, relative to the others.
    """

    count = None

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

    def clip(self, index: int, crop: Crop, generator: Generator) -> UInt8[np.ndarray, "T H W 3"]:
        """One clip of a source by chance, any of its clips."""
        source = self.sources[int(torch.multinomial(self.shares, 1, generator=generator))]
        if source.count is not None:
            index = int(torch.randint(source.count, (), generator=generator))
        return source.clip(index, crop, generator)


class Stills:
    """Clips in which nothing moves: one frame of a clip, repeated, as V-JEPA 2 sees photographs.

    What was seen and is then hidden has to be there still; nothing else teaches that as plainly.

    Args:
        source: of the clips.
    """

    def __init__(self, source: Source) -> None:
        self.source, self.device, self.count = source, source.device, source.count

    def sample(self, count: int, generator: Generator) -> UInt8[Tensor, "B T H W 3"]:
        """`count` clips as RGB frames."""
        frames = self.source.sample(count, generator)
        return frames[:, _moment(frames.shape[1], generator), None].expand_as(frames)

    def clip(self, index: int, crop: Crop, generator: Generator) -> UInt8[np.ndarray, "T H W 3"]:
        """One clip."""
        frames = self.source.clip(index, crop, generator)
        return np.repeat(frames[_moment(len(frames), generator), None], len(frames), axis=0)


def _moment(frames: int, generator: Generator) -> int:
    """One of the frames, by chance."""
    return int(torch.randint(frames, (), generator=generator, device=generator.device))


CLIP_SECONDS = 64 / 30
"""The published clip: 16 frames, every fourth of 30 a second."""
STILL = "still:"
"""Before a source: one frame of each of its clips, repeated."""


def open_source(
    data: str,
    config: ModelConfig,
    *,
    levels: tuple[int, ...],
    device: torch.device,
    **rate: float,
) -> Source:
    """The source that `data` names, or several, mixed: "8*world+pans+bundled".

    A source is "world", "physics" (slow: better stored), "pans" (photos under a moving camera),
    "bundled" (the real clips that ship with the project and may be trained on), a `.npy` file, a
    folder of videos, or a list of them: any of `vjepa.data.datasets`; its labels are not looked at.
    Still images are clips that stand still; so is one frame of each clip of a source, as in
    "9*clips.npy+still:clips.npy".

    Args:
        data: names them.
        config: of the model that the clips are for.
        levels: difficulties of the world.
        device: where the world is drawn.
        **rate: of clips of videos, `fps` or `frame_step` as `Videos` takes them.

    Raises:
        InputError: nothing is there, it holds no clips for this model, or it is no mixture.
    """
    path, settings = Path(data), {"levels": levels, "device": device, **rate}
    if path.is_dir():
        return Videos(find_clips(path), config, **rate)
    if path.suffix.lower() in LIST_SUFFIXES and path.is_file():
        return Videos(open_dataset(path).paths, config, **rate)
    if path.is_file():
        return StoredClips(path, config)
    if "+" in data:
        shares, names = zip(*parse_mixture(data), strict=True)
        return Mixture([open_source(name, config, **settings) for name in names], shares)
    if data.startswith(STILL):
        return Stills(open_source(data.removeprefix(STILL), config, **settings))
    if data == "bundled":
        return Videos(training_clips(), config, **rate)
    return _open_world(data, config, levels, device)


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
    elif data.startswith(STILL) and not path.exists():
        yield from files_read(data.removeprefix(STILL))
    else:
        yield path
        if path.suffix.lower() in LIST_SUFFIXES and path.is_file():
            yield from open_dataset(path).paths


def _open_world(
    name: str, config: ModelConfig, levels: tuple[int, ...], device: torch.device
) -> Source:
    if name == "world":
        return WorldSource(config, levels, device)
    if name == "physics":
        return PhysicsSource(config)
    if name == "pans":
        return Pans(config, device)
    raise InputError(
        f"There is no data {name!r}: give world, physics, pans, bundled, a .npy file, a folder of "
        "videos, a list, still: and one of these, or several with + between them."
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

    Raises:
        InputError: the place cannot be written, or has no room for them.
    """
    generator = torch.Generator().manual_seed(seed)
    partial = path.with_name(f"{path.name}.partial")
    require_writable(path.parent)
    clips = None
    for start in tqdm(range(0, count, chunk), desc="clips", unit="chunk"):
        frames = source.sample(min(chunk, count - start), generator).cpu().numpy()
        if clips is None:
            clips = new_array(partial, (count, *frames.shape[1:]))
        clips[start : start + len(frames)] = frames
    clips.flush()
    partial.replace(path)
