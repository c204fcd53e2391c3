"""What a frozen model says of clips behind masks, computed once and kept on disk.

A large model takes seconds a clip, its decoder milliseconds a step. The cache is a folder of
shards, each a `.npy` file of records with checksums. A shard depends on nothing but the settings
and its number, so that processes make different ones side by side and a killed run goes on behind
what is there; it has its final name once it is whole. Several runs may fill one cache.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
import time
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from functools import lru_cache
from itertools import groupby
from pathlib import Path

import numpy as np
import torch
from accelerate import Accelerator
from accelerate.utils import tqdm
from filelock import FileLock
from jaxtyping import Float, Shaped, UInt8
from torch import Generator, Tensor

from decoder.canvas import Canvas
from decoder.network import CONDITIONS
from decoder.training.batch import (
    MASK_CLIPS,
    Examples,
    MaskedClips,
    draw_groups,
    predict,
    to_model,
)
from vjepa.checkpoint import read_json
from vjepa.config import ModelConfig
from vjepa.data.sources import Source, files_read
from vjepa.errors import InputError
from vjepa.model import VJEPA
from vjepa.training import step_generator

SHARD_CLIPS = 64
SHARD_BYTES = 256 << 20
"""A shard holds at most so many clips and bytes: what a killed process loses, and a file's size."""
COLUMNS = ("target_idx", "predictions", "targets", "tubelets")
"""Of a record; each has a checksum."""
STALE = 24 * 3600
"""Seconds after which a file that nobody finished is nobody's."""


@dataclass(frozen=True)
class CacheKey:
    """What the examples in a cache depend on, except for their number.

    Attributes:
        model_fingerprint: of the frozen model.
        image_size, num_frames: of its clips, pixels and frames.
        data: where the clips come from.
        videos: `which_videos` that was then.
        canvas: what is drawn on: "pixels", or the fingerprint of an autoencoder.
        levels: difficulties of the world.
        max_targets: hidden tokens of a clip, at most.
        seed: of clips and masks.
    """

    model_fingerprint: str
    image_size: int
    num_frames: int
    data: str
    videos: str
    canvas: str
    levels: tuple[int, ...]
    max_targets: int
    seed: int


def which_videos(data: str) -> str:
    """Which files a word for clips stands for: how many, and a digest of path, size and time.

    Raises:
        InputError: as of `vjepa.data.sources.files_read`.
    """
    files = [(str(path.absolute()), path.stat()) for path in files_read(data) if path.is_file()]
    states = [(name, state.st_size, state.st_mtime_ns) for name, state in files]
    digest = hashlib.sha256(json.dumps(states).encode()).hexdigest()[:12]
    return f"{len(states)} files {digest}"


def record_layout(config: ModelConfig, max_targets: int, canvas: Canvas) -> np.dtype:
    """One clip with one mask: its `count` hidden tokens, and room for the largest mask's."""
    tokens = min(max_targets, config.num_tokens - 1)
    return np.dtype(
        [
            ("count", "i4"),
            ("checks", "u4", (len(COLUMNS),)),
            ("target_idx", "i4", (tokens,)),
            ("predictions", "f2", (tokens, config.output_dim)),
            ("targets", "f2", (tokens, config.output_dim)),
            ("tubelets", "u1" if canvas.is_bytes else "f2", (tokens, canvas.tubelet_dim)),
        ]
    )


class PredictionCache:
    """Examples on disk, drawn in another order every epoch; those of one mask stay together.

    Args:
        folder: of the shards; made when it is missing.
        key: what they depend on.
        config: shape of the frozen model.
        canvas: what is drawn on.
        clips: how many examples there are to be.

    Raises:
        InputError: the folder holds examples that depend on something else.
    """

    def __init__(
        self, folder: Path, key: CacheKey, config: ModelConfig, canvas: Canvas, clips: int
    ) -> None:
        self.folder, self.key, self.canvas, self.clips = folder, key, canvas, clips
        self.layout = record_layout(config, key.max_targets, canvas)
        groups = min(SHARD_CLIPS, SHARD_BYTES // self.layout.itemsize) // MASK_CLIPS
        self.shard_clips = max(1, groups) * MASK_CLIPS
        _claim(folder, key)

    @property
    def missing(self) -> list[int]:
        """Numbers of the shards that are yet to be made."""
        return [i for i in range(-(-self.clips // self.shard_clips)) if not self._is_whole(i)]

    @property
    def missing_clips(self) -> int:
        """How many examples those are."""
        return sum(map(self._size, self.missing))

    @property
    def missing_bytes(self) -> int:
        """Disk that they will take."""
        return self.missing_clips * self.layout.itemsize

    def make(self, model: VJEPA, source: Source, accelerator: Accelerator) -> None:
        """Makes the missing shards, each by one of the processes.

        Raises:
            InputError: the disk is full; what was made stays.
        """
        missing = self.missing
        if self.missing_bytes > self._free:
            raise self._no_space()
        accelerator.wait_for_everyone()  # all have looked before one begins to write
        mine = missing[accelerator.process_index :: accelerator.num_processes]
        with tqdm(
            total=sum(map(self._size, mine)),
            desc="what the model says",
            unit="clip",
            disable=not mine,
        ) as bar:
            for shard in mine:
                if self._is_whole(shard):  # another run has made it meanwhile
                    bar.update(self._size(shard))
                else:
                    self._write(shard, self._compute(shard, model, source, bar.update))
        accelerator.wait_for_everyone()

    def draw(
        self, step: int, condition: Tensor, mine: slice, generator: Generator
    ) -> list[Examples]:
        """The step's share of an epoch's order; the generator is not needed.

        Raises:
            InputError: a shard cannot be read, or is not what was written.
        """
        rows = self._rows(step, len(condition))[mine]
        true = (condition[mine] == CONDITIONS["target"]).tolist()
        pairs = zip(rows, true, strict=True)
        return [self._read(list(few)) for _, few in groupby(pairs, lambda p: p[0] // MASK_CLIPS)]

    def _read(self, wanted: list[tuple[int, bool]]) -> Examples:
        """Examples with one mask, each with its true features or the predicted ones."""
        columns = [
            self._columns(row, ("tubelets", "targets" if true else "predictions", "target_idx"))
            for row, true in wanted
        ]
        clean, features, idx = (torch.from_numpy(np.stack(c)) for c in zip(*columns, strict=True))
        clean = clean.float() / 127.5 - 1 if self.canvas.is_bytes else clean.float()
        return Examples(clean, features.float(), idx.long())

    def _columns(self, row: int, names: tuple[str, ...]) -> list[np.ndarray]:
        """Of one example, memory-mapped: what is not asked for is not read."""
        shard, place = divmod(row, self.shard_clips)
        path = self._path(shard)
        damaged = InputError(f"{path} is damaged: delete it, it will be made again.")
        try:
            record = np.load(path, mmap_mode="r")[place]
            found = [record[name][: record["count"]] for name in names]
            kept = [int(record["checks"][COLUMNS.index(name)]) for name in names]
        except (OSError, ValueError, EOFError, IndexError) as error:
            raise damaged from error
        if kept != [zlib.crc32(values) for values in found]:
            raise damaged
        return found

    def _rows(self, step: int, count: int) -> list[int]:
        """Which examples a step takes: every epoch shuffles all masks anew."""
        places = range(step * count, (step + 1) * count)
        return [_order(self.clips, self.key.seed, p // self.clips)[p % self.clips] for p in places]

    def _compute(
        self, shard: int, model: VJEPA, source: Source, done: Callable[[int], object]
    ) -> Shaped[np.ndarray, " n"]:
        """All examples of a shard."""
        records = np.zeros(self._size(shard), self.layout)
        generator, start = step_generator(self.key.seed, shard), 0
        for clips in draw_groups(source, model.grid, len(records), self.key.max_targets, generator):
            part = records[start : start + len(clips.frames)]
            fill_records(part, model, self.canvas, clips)
            start += len(part)
            done(len(part))
        return records

    def _write(self, shard: int, records: Shaped[np.ndarray, " n"]) -> None:
        """Puts a shard in its place, unless another run has put a larger one there meanwhile."""
        try:
            with _partial(self._path(shard)) as partial, FileLock(self.folder / "lock"):
                with partial.open("wb") as file:
                    np.save(file, records)
                if not self._is_whole(shard):
                    partial.replace(self._path(shard))
        except OSError as error:
            if error.errno not in (errno.ENOSPC, errno.EDQUOT):
                raise
            raise self._no_space() from error

    def _no_space(self) -> InputError:
        needed, free = gigabytes(self.missing_bytes), gigabytes(self._free)
        return InputError(
            f"The disk is too full: {self.folder} needs {needed} more and has {free}; make room "
            "and run the same command again, or take fewer --cache-clips."
        )

    @property
    def _free(self) -> int:
        return shutil.disk_usage(self.folder).free

    def _size(self, shard: int) -> int:
        """Clips in a shard."""
        return min(self.shard_clips, self.clips - shard * self.shard_clips)

    def _path(self, shard: int) -> Path:
        return self.folder / f"{shard:06d}.npy"

    def _is_whole(self, shard: int) -> bool:
        """Whether a shard is there with all its clips; a smaller cache's last one has fewer."""
        path = self._path(shard)
        return path.is_file() and path.stat().st_size >= self._size(shard) * self.layout.itemsize


def fill_records(
    records: Shaped[np.ndarray, " b"], model: VJEPA, canvas: Canvas, clips: MaskedClips
) -> None:
    """Asks the model about clips and writes it into records, which are changed in place."""
    clips = clips.part(slice(None), model.device)
    pixels, target_idx = to_model(clips.frames, model), clips.mask.target_idx
    clean = canvas.cut(clips.frames, target_idx)
    columns = {
        "target_idx": target_idx,
        "predictions": predict(model, pixels, clips.mask),
        "targets": model.targets(pixels, target_idx),
        "tubelets": to_bytes(clean) if canvas.is_bytes else clean,
    }
    records["count"] = count = target_idx.shape[1]
    for place, name in enumerate(COLUMNS):
        records[name][:, :count] = columns[name].cpu().numpy()
        records["checks"][:, place] = [
            zlib.crc32(np.ascontiguousarray(record[name][:count])) for record in records
        ]


def to_bytes(tubelets: Float[Tensor, "B M P"]) -> UInt8[Tensor, "B M P"]:
    """Pixels of -1..1 as the 0..255 that they came from."""
    return ((tubelets + 1) * 127.5).round().to(torch.uint8)


def gigabytes(count: int) -> str:
    """Bytes as a person says them."""
    return f"{count / 1e9:.1f} GB" if count >= 1e8 else f"{count / 1e6:.1f} MB"


def _claim(folder: Path, key: CacheKey) -> None:
    """Writes down what a folder's shards depend on, or checks it."""
    folder.mkdir(parents=True, exist_ok=True)
    path, ours = folder / "cache.json", json.loads(json.dumps(asdict(key)))
    with FileLock(folder / "lock"), _partial(path) as partial:
        _sweep(folder)
        if not path.exists():
            partial.write_text(json.dumps(ours, indent=1) + "\n")
            partial.replace(path)
    theirs = read_json(path)
    if changed := [name for name, value in ours.items() if theirs.get(name) != value]:
        name = changed[0]
        raise InputError(
            f"{folder} was made with {name} {theirs.get(name)}, not {ours[name]}: "
            "delete it, or choose another --cache."
        )


@contextmanager
def _partial(path: Path) -> Iterator[Path]:
    """A file beside another that no other process writes; what is left of it is removed."""
    partial = path.with_name(f"{path.name}.{os.getpid()}.partial")
    try:
        yield partial
    finally:
        partial.unlink(missing_ok=True)


def _sweep(folder: Path) -> None:
    """Removes what killed runs left."""
    for partial in folder.glob("*.partial"):
        with suppress(FileNotFoundError):
            if time.time() - partial.stat().st_mtime > STALE:
                partial.unlink()


@lru_cache(maxsize=2)
def _order(count: int, seed: int, epoch: int) -> list[int]:
    """An epoch's examples: few by few, those of one mask, in a random order."""
    masks = torch.arange(count).split(MASK_CLIPS)
    order = torch.randperm(len(masks), generator=step_generator(seed, epoch)).tolist()
    return torch.cat([masks[i] for i in order]).tolist()
