"""What a frozen model says of clips behind masks, computed once and kept on disk.

A large model takes seconds a clip, its decoder milliseconds a step. The cache is a folder of
shards, each a `.npy` file of records. A shard depends on nothing but the settings and its number,
so that processes make different ones side by side and a killed run goes on behind what is there;
it has its final name once it is whole.
"""

from __future__ import annotations

import errno
import json
import shutil
import zlib
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from accelerate import Accelerator
from accelerate.utils import tqdm
from jaxtyping import Float, Shaped, UInt8
from torch import Generator, Tensor

from decoder.network import CONDITIONS
from decoder.pipeline import to_tubelets
from decoder.training.batch import Examples, MaskedClips, draw_clips, predict, to_model
from vjepa.checkpoint import read_json
from vjepa.config import ModelConfig
from vjepa.data.sources import Source
from vjepa.errors import InputError
from vjepa.model import VJEPA
from vjepa.training import step_generator

SHARD_CLIPS = 64
SHARD_BYTES = 256 << 20
"""A shard holds at most so many clips and bytes: what a killed process loses, and a file's size."""
MODEL_BATCH = 8
"""Clips that the frozen model is given at a time; they share a kind of mask."""


@dataclass(frozen=True)
class CacheKey:
    """What the examples in a cache depend on, except for their number.

    Attributes:
        model_fingerprint: of the frozen model.
        image_size, num_frames: of its clips, pixels and frames.
        data: where the clips come from.
        levels: difficulties of the world.
        max_targets: hidden tokens of a clip, at most.
        seed: of clips and masks.
    """

    model_fingerprint: str
    image_size: int
    num_frames: int
    data: str
    levels: tuple[int, ...]
    max_targets: int
    seed: int


def record_layout(config: ModelConfig, max_targets: int) -> np.dtype:
    """One clip with one mask: of its hidden tokens, in random order, the first `count` are there.

    Of a batch whose masks hide different numbers of tokens, the first few are so a random subset.
    """
    tokens = min(max_targets, config.num_tokens - 1)
    return np.dtype(
        [
            ("checksum", "u4"),
            ("count", "i4"),
            ("target_idx", "i4", (tokens,)),
            ("predictions", "f2", (tokens, config.output_dim)),
            ("targets", "f2", (tokens, config.output_dim)),
            ("tubelets", "u1", (tokens, config.tubelet_dim)),
        ]
    )


class PredictionCache:
    """Examples on disk, drawn in another order every epoch.

    Args:
        folder: of the shards; made when it is missing.
        key: what they depend on.
        config: shape of the frozen model.
        clips: how many examples there are to be.

    Raises:
        InputError: the folder holds examples that depend on something else.
    """

    def __init__(self, folder: Path, key: CacheKey, config: ModelConfig, clips: int) -> None:
        self.folder, self.key, self.clips = folder, key, clips
        self.layout = record_layout(config, key.max_targets)
        self.shard_clips = max(1, min(SHARD_CLIPS, SHARD_BYTES // self.layout.itemsize))
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
                self._write(shard, self._compute(shard, model, source, bar.update))
        accelerator.wait_for_everyone()

    def draw(self, step: int, condition: Tensor, mine: slice, generator: Generator) -> Examples:
        """The step's share of an epoch's order; the generator is not needed.

        Raises:
            InputError: a shard cannot be read.
        """
        records = [self._record(row) for row in self._rows(step, len(condition))]
        count = min(int(record["count"]) for record in records)
        names = [
            "targets" if c == CONDITIONS["target"] else "predictions" for c in condition.tolist()
        ]

        def read(fields: list[str]) -> Tensor:
            pairs = zip(records[mine], fields[mine], strict=True)
            return torch.from_numpy(np.stack([record[name][:count] for record, name in pairs]))

        clean = read(["tubelets"] * len(records)).float() / 127.5 - 1
        target_idx = read(["target_idx"] * len(records)).long()
        return Examples(clean, read(names).float(), target_idx)

    def _rows(self, step: int, count: int) -> list[int]:
        """Which examples a step takes: every epoch shuffles all of them anew."""
        places = range(step * count, (step + 1) * count)
        return [_order(self.clips, self.key.seed, p // self.clips)[p % self.clips] for p in places]

    def _record(self, row: int) -> np.void:
        """One example, memory-mapped, and what was written."""
        shard, place = divmod(row, self.shard_clips)
        path = self._path(shard)
        damaged = InputError(f"{path} is damaged: delete it, it will be made again.")
        try:
            record = np.load(path, mmap_mode="r")[place]
        except (OSError, ValueError, EOFError, IndexError) as error:
            raise damaged from error
        if record["checksum"] != checksum(record):
            raise damaged
        return record

    def _compute(
        self, shard: int, model: VJEPA, source: Source, done: Callable[[int], object]
    ) -> Shaped[np.ndarray, " n"]:
        """All examples of a shard."""
        records = np.zeros(self._size(shard), self.layout)
        generator = step_generator(self.key.seed, shard)
        for start in range(0, len(records), MODEL_BATCH):
            part = records[start : start + MODEL_BATCH]
            clips = draw_clips(source, model.grid, len(part), self.key.max_targets, generator)
            fill_records(part, model, clips, generator)
            done(len(part))
        return records

    def _write(self, shard: int, records: Shaped[np.ndarray, " n"]) -> None:
        path = self._path(shard)
        partial = path.with_suffix(".partial")
        try:
            with partial.open("wb") as file:
                np.save(file, records)
            partial.replace(path)
        except OSError as error:
            partial.unlink(missing_ok=True)
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
    records: Shaped[np.ndarray, " b"], model: VJEPA, clips: MaskedClips, generator: Generator
) -> None:
    """Asks the model about clips and writes it into records, which are changed in place."""
    clips = clips.part(slice(None), model.device)
    pixels, target_idx = to_model(clips.frames, model), clips.mask.target_idx
    count = target_idx.shape[1]
    order = torch.randperm(count, generator=generator)
    columns = {
        "target_idx": target_idx,
        "predictions": predict(model, pixels, clips.mask),
        "targets": model.targets(pixels, target_idx),
        "tubelets": to_bytes(to_tubelets(clips.frames, target_idx, model.config)),
    }
    records["count"] = count
    for name, values in columns.items():
        records[name][:, :count] = values.cpu()[:, order].numpy()
    records["checksum"] = [checksum(record) for record in records]


def checksum(record: np.void) -> int:
    """CRC-32 of all of a record but its first field, which it is kept in."""
    return zlib.crc32(record.tobytes()[4:])


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
    if not path.exists():
        partial = path.with_suffix(".partial")
        partial.write_text(json.dumps(ours, indent=1) + "\n")
        partial.replace(path)
    theirs = read_json(path)
    if changed := [name for name, value in ours.items() if theirs.get(name) != value]:
        name = changed[0]
        raise InputError(
            f"{folder} was made with {name} {theirs.get(name)}, not {ours[name]}: "
            "delete it, or choose another --cache."
        )


@lru_cache(maxsize=2)
def _order(count: int, seed: int, epoch: int) -> list[int]:
    """A permutation of an epoch's examples."""
    return torch.randperm(count, generator=step_generator(seed, epoch)).tolist()
