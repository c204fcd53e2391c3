"""Labelled clips in a fixed order, and their features, computed once and kept on disk.

Encoding takes longer than any probe. Every model's tokens of every set of clips lie in one file of
records, which only grows: what is in it is done, and an interrupted run goes on behind it.
"""

from __future__ import annotations

import hashlib
import json
import logging
import math
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np
import torch
from einops import rearrange
from filelock import FileLock, Timeout
from jaxtyping import Float, Int64, Shaped, UInt8
from torch import Tensor
from tqdm.auto import tqdm

from vjepa.config import ModelConfig
from vjepa.data.clips import normalize
from vjepa.data.datasets import LabelledVideos
from vjepa.data.views import readable
from vjepa.errors import InputError
from vjepa.model import normalize_features
from vjepa.training import step_generator
from vjepa.world.physics import PhysicsBatch, PhysicsWorld
from vjepa.world.physics_store import draw_labelled
from vjepa.world.world import World, WorldBatch

log = logging.getLogger(__name__)

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
class LabelledWorld:
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
        return _hash(self.name, str(self.seed), batch.tobytes(), labels.tobytes())

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
class LabelledPhysics:
    """Clips of the physics world, the same ones for the same seed; MuJoCo draws them.

    Attributes:
        split: "train" or "test", which has its own sizes, places, materials and pairings.
        count: how many; fewer are the first of more.
        config: gives the clips' size.
        processes: that draw side by side.
        seed: of the clips.
        static: share of noise on floor and walls, as `PhysicsWorld` has it.
    """

    split: str
    count: int
    config: ModelConfig
    processes: int = 2
    seed: int = 0
    static: float = 0.0
    views = clips = 1
    labels = np.dtype([("index", "i8"), ("event", "i8"), ("shape", "i8")])

    def __len__(self) -> int:
        return self.count

    @property
    def name(self) -> str:
        return f"physics, {self.split}"

    @property
    def world(self) -> PhysicsWorld:
        """Draws the clips."""
        size = self.config.image_size, self.config.num_frames
        return PhysicsWorld(*size, split=self.split, static=self.static)

    @cached_property
    def digest(self) -> str:
        """Of the first clip as it is drawn."""
        first = self.world.frames((self.seed, 0))
        return _hash(self.name, str(self.seed), first.tobytes())

    def stream(self, start: int) -> Iterator[Piece]:
        """Clips and labels from index `start` on.

        Raises:
            InputError: MuJoCo or OpenGL is missing.
        """
        settings = {"seed": self.seed, "processes": self.processes}
        with tqdm(total=self.count, initial=start, desc=self.name, unit="clip") as bar:
            for batch in draw_labelled(self.world, start, self.count, **settings):
                yield batch.frames.numpy()[:, None, None], self._labels(bar.n, batch)
                bar.update(len(batch.frames))

    def _labels(self, first: int, batch: PhysicsBatch) -> Shaped[np.ndarray, " b"]:
        labels = np.empty(len(batch.frames), self.labels)
        labels["index"] = first + np.arange(len(labels))
        labels["event"], labels["shape"] = batch.event, batch.shape
        return labels


@dataclass(frozen=True)
class LabelledVideoClips:
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
        return _hash(json.dumps([names, files, self.videos.labels.tolist(), size]))

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


def _hash(*parts: str | bytes) -> str:
    digest = hashlib.sha256()
    for part in parts:
        digest.update(part.encode() if isinstance(part, str) else part)
    return digest.hexdigest()


@runtime_checkable
class FrozenModel(Protocol):
    """Anything that turns clips into tokens."""

    def encode(self, clips: Float[Tensor, "B C T H W"]) -> Float[Tensor, "B N D"]: ...

    def state_dict(self) -> dict[str, Tensor]: ...


@dataclass(frozen=True)
class Tokens:
    """Layer-normed tokens of labelled clips, and their labels.

    Attributes:
        records: memory-mapped; fields `tokens` float16 (V, N, D), where N counts the tokens of all
            clips of a view, `pooled` float32 (V, 3 D), and one field a label.
        rows: which of the records.
    """

    records: Shaped[np.ndarray, " records"]
    rows: Int64[np.ndarray, " n"]

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def dim(self) -> int:
        """D."""
        return self.records.dtype["tokens"].shape[-1]

    @property
    def pooled(self) -> Float[np.ndarray, "n V F"]:
        """What `pool` makes of the tokens of each view."""
        return self.records["pooled"][self.rows]

    def label(self, name: str) -> Shaped[np.ndarray, "n ..."]:
        """The labels of one task."""
        return self.records[name][self.rows]

    def subset(self, rows: Int64[np.ndarray, " k"]) -> Tokens:
        """Some of the clips."""
        return replace(self, rows=self.rows[rows])

    def read(self, rows: Int64[np.ndarray, " b"]) -> Float[Tensor, "b V N D"]:
        """The tokens of some clips, from disk."""
        return torch.from_numpy(self.records["tokens"][self.rows[rows]]).float()


def pool(features: Float[Tensor, "B N D"]) -> Float[Tensor, "B 3*D"]:
    """Mean, standard deviation and maximum over the tokens.

    The mean alone is that of the background: an object covers few tokens.
    """
    features = features.float()
    return torch.cat([features.mean(1), features.std(1), features.amax(1)], dim=1)


def encode(
    models: Mapping[str, FrozenModel], clips: LabelledClips, cache: Path
) -> dict[str, Tokens]:
    """Tokens of labelled clips by every model; each clip is drawn or decoded once for all models.

    Args:
        models: by name.
        clips: which.
        cache: folder of the files; nothing that is in them is computed again.

    Raises:
        InputError: the clips cannot be had.
    """
    cache.mkdir(parents=True, exist_ok=True)
    paths = {name: token_path(cache, model, clips) for name, model in models.items()}
    with ExitStack() as held:
        for path in sorted(set(paths.values())):  # in one order: no two runs wait for each other
            held.enter_context(_alone(path))
        files = {name: TokenFile(paths[name], model, clips) for name, model in models.items()}
        start = min(file.next_index for file in files.values())
        if start < len(clips):
            for frames, labels in clips.stream(start):
                for file in files.values():
                    file.append(frames, labels)
        return {name: file.read() for name, file in files.items()}


def token_path(cache: Path, model: FrozenModel, clips: LabelledClips) -> Path:
    """Where the tokens of a model and a set of clips are kept, in a folder of many."""
    return cache / f"{_digest(model, clips)}.tokens"


@contextmanager
def _alone(path: Path) -> Iterator[None]:
    """Keeps other runs from a file until this one has written what it lacks."""
    lock = FileLock(path.with_suffix(".lock"))
    try:
        lock.acquire(blocking=False)
    except Timeout:
        log.warning("Another run is writing %s: this one waits for it.", path)
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


class TokenFile:
    """The records of one model and one set of clips; whole records, in the order of the clips.

    Only one run at a time may write it: `encode` sees to that.

    Args:
        path: of the file, from `token_path`.
        model: computes the tokens.
        clips: whose.

    Attributes:
        next_index: of the first clip that is not in the file.
    """

    def __init__(self, path: Path, model: FrozenModel, clips: LabelledClips) -> None:
        self.path, self.model, self.clips = path, model, clips
        self.layout = _layout(model, clips)
        self.path.touch()
        with self.path.open("r+b") as file:  # what an interrupted run wrote of a record goes
            file.truncate(self._count() * self.layout.itemsize)
        self.next_index = int(self._records()["index"][-1]) + 1 if self._count() else 0

    def append(self, frames: Shaped[np.ndarray, "b ..."], labels: Shaped[np.ndarray, " b"]) -> None:
        """Encodes clips and writes them down; those that are in the file are passed over."""
        new = labels["index"] >= self.next_index
        if not new.any():
            return
        records = np.empty(new.sum(), self.layout)
        for name in labels.dtype.names:
            records[name] = labels[name][new]
        records["tokens"], records["pooled"] = self._encode(frames[new])
        with self.path.open("ab") as file:
            file.write(records.tobytes())
        self.next_index = int(records["index"][-1]) + 1

    def read(self) -> Tokens:
        """The clips that were asked for; the file may hold more of the same."""
        return Tokens(self._records(), np.arange(min(self._count(), len(self.clips))))

    @torch.no_grad()
    def _encode(self, frames: Shaped[np.ndarray, "b V C ..."]) -> tuple[np.ndarray, np.ndarray]:
        """Tokens (b, V, C N, D) and what is pooled of them (b, V, 3 D)."""
        views, clips = frames.shape[1:3]
        flat = normalize(rearrange(frames, "b v c t h w rgb -> (b v c) t h w rgb"))
        tokens = normalize_features(self.model.encode(flat).float())
        tokens = rearrange(tokens, "(b v c) n d -> (b v) (c n) d", v=views, c=clips)
        parts = (tokens.half(), pool(tokens))
        return tuple(part.unflatten(0, (-1, views)).cpu().numpy() for part in parts)

    def _count(self) -> int:
        return self.path.stat().st_size // self.layout.itemsize

    def _records(self) -> np.ndarray:
        return np.memmap(self.path, self.layout, mode="r", shape=(self._count(),))


def _layout(model: FrozenModel, clips: LabelledClips) -> np.dtype:
    """What a record holds; the model is asked how many tokens it makes of a clip."""
    size = clips.config.image_size
    count, dim = model.encode(torch.zeros(1, 3, clips.config.num_frames, size, size)).shape[1:]
    tokens = ("tokens", "f2", (clips.views, clips.clips * count, dim))
    return np.dtype([*clips.labels.descr, ("pooled", "f4", (clips.views, 3 * dim)), tokens])


def _digest(model: FrozenModel, clips: LabelledClips) -> str:
    """Changes with any weight, its precision, any clip, label or preprocessing."""
    digest = hashlib.sha256(clips.digest.encode())
    for name, tensor in model.state_dict().items():
        digest.update(f"{name} {tensor.dtype}".encode())
        digest.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy())
    return digest.hexdigest()[:32]
