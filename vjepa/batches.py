"""Batches of a pretraining run: clips and masks, made ahead in processes of their own.

Clip n of a run depends on nothing but seed and n, and the masks of a step on nothing but seed and
step: how many processes train, how many workers read for them and where a run was broken off change
nothing. Each process makes its own clips alone.
"""

from __future__ import annotations

import logging
import multiprocessing
import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from multiprocessing.context import BaseContext
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from accelerate import Accelerator
from jaxtyping import Float, Int64, UInt8
from torch import Generator, Tensor
from torch.utils.data import DataLoader, Dataset

from vjepa.config import ModelConfig
from vjepa.data.clips import normalize
from vjepa.data.sources import ATTEMPTS, BrokenVideoError, RandomCrop, Source
from vjepa.errors import InputError
from vjepa.masks import MaskBatch, draw_masks
from vjepa.recipes import PretrainConfig

log = logging.getLogger(__name__)

MOST_WORKERS = 8


class TrainingBatch(NamedTuple):
    """What goes through the model together.

    Attributes:
        frames: RGB 0..255.
        masks: of both mask types.
        broken: videos that could not be read on the way, and why; others are in their place.
    """

    frames: UInt8[Tensor, "B T H W 3"]
    masks: list[MaskBatch]
    broken: list[tuple[str, str]]

    def to_model(self, device: torch.device) -> tuple[Float[Tensor, "B C T H W"], list[MaskBatch]]:
        """Clips as the model wants them, and masks; bytes travel to the device, not floats."""
        frames = self.frames.to(device, non_blocking=True)
        return normalize(frames).contiguous(), [masks.to(device) for masks in self.masks]


def own_generator(*key: int) -> Generator:
    """A generator for what has this key, and independent of those with any other."""
    (state,) = np.random.SeedSequence(key).generate_state(1, np.uint64)
    return Generator().manual_seed(int(state >> np.uint64(1)))


CLIPS, MASKS, STEPS = range(3)
"""First number of a generator's key: what it is for."""


class TrainingBatches(Dataset):
    """The batches of a run, by the number of their first clip.

    Args:
        source: of the clips.
        config: of the run.
        shape: of the model.
        together: clips of a batch.
    """

    def __init__(
        self, source: Source, config: PretrainConfig, shape: ModelConfig, together: int
    ) -> None:
        self.source, self.config = source, config
        self.shape, self.together = shape, together

    def __getitem__(self, first: int) -> TrainingBatch:
        broken: list[tuple[str, str]] = []
        numbers = range(first, first + self.together)
        frames = np.stack([self._clip(number, broken) for number in numbers])
        clips = torch.from_numpy(frames)
        motion = token_motion(clips, self.shape) if self.config.span else None
        return TrainingBatch(clips, self._masks(first, motion), broken)

    def _clip(self, number: int, broken: list[tuple[str, str]]) -> UInt8[np.ndarray, "T H W 3"]:
        """A clip of the run; one of a video that cannot be read is replaced by another."""
        config, size = self.config, self.shape.image_size
        for attempt in range(ATTEMPTS):
            generator = own_generator(CLIPS, config.seed, number, attempt)
            index = self._index(number, generator if attempt else None)
            crop = RandomCrop(size, config.crop_scale, config.crop_aspect, generator)
            try:
                return self.source.clip(index, crop, generator)
            except BrokenVideoError as error:
                broken.append((str(error.path), error.reason))
        path, reason = broken[-1]
        raise InputError(f"Many videos cannot be read, {path} the last of them: {reason}")

    def _index(self, number: int, generator: Generator | None) -> int:
        """Which clip of the source: every epoch has all of them, in another order."""
        count = self.source.count
        if count is None:
            return number
        if generator is not None:
            return int(torch.randint(count, (), generator=generator))
        epoch, place = divmod(number, count)
        return int(_order(count, self.config.seed, epoch)[place])

    def _masks(self, first: int, motion: Float[Tensor, "B t h w"] | None = None) -> list[MaskBatch]:
        """Masks of a batch, cut to one length with those of all clips of its group."""
        config, group = self.config, self.config.group
        step, place = divmod(first, config.batch_size)
        rows = slice(place % group, place % group + self.together)
        known = torch.zeros(group, *self.shape.grid)  # others of the group are not here
        known[rows] = 0.0 if motion is None else motion
        drawn = draw_masks(
            self.shape.grid,
            group,
            config.max_targets,
            own_generator(MASKS, config.seed, step, place // group),
            shared=own_generator(STEPS, config.seed, step),
            future=config.future,
            span=config.span,
            motion=known,
        )
        return [masks.part(rows) for masks in drawn]


def token_motion(
    clips: UInt8[Tensor, "B T H W 3"], config: ModelConfig
) -> Float[Tensor, "B t h w"]:
    """How much the pixels of each token change from frame to frame: mean squared, 0..1."""
    gray = clips.float().mean(-1) / 255
    change = F.pad(gray.diff(dim=1).square(), (0, 0, 0, 0, 1, 0))
    side = config.patch_size
    return F.avg_pool3d(change, (config.tubelet_size, side, side))


@lru_cache(maxsize=2)
def _order(count: int, seed: int, epoch: int) -> Int64[Tensor, " n"]:
    """A permutation of the clips of an epoch."""
    return torch.randperm(count, generator=own_generator(CLIPS, seed, epoch))


class FirstClips:
    """The number of the first clip of each batch of one process, in order.

    Args:
        config: of the run.
        step: the first one.
        together: clips of a batch.
        process, processes: which of how many.
    """

    def __init__(
        self, config: PretrainConfig, step: int, together: int, process: int, processes: int
    ) -> None:
        share = config.batch_size // processes
        self.steps, self.size = range(step, config.steps), config.batch_size
        self.own = range(process * share, (process + 1) * share, together)

    def __iter__(self) -> Iterator[int]:
        return (step * self.size + place for step in self.steps for place in self.own)

    def __len__(self) -> int:
        return len(self.steps) * len(self.own)


class BatchStream:
    """What this process computes, from a step on; in each, its share of the clips.

    Args:
        source: of the clips.
        config: of the run.
        shape: of the model.
        step: the first one.
        accelerator: says which process of how many this is, and where it computes.

    Raises:
        InputError: numbers that do not divide; while iterating: many videos one after the other
            cannot be read.
    """

    def __init__(
        self,
        source: Source,
        config: PretrainConfig,
        shape: ModelConfig,
        step: int,
        accelerator: Accelerator,
    ) -> None:
        together = config.clips_together(accelerator.num_processes)
        place = accelerator.process_index, accelerator.num_processes
        device = accelerator.device.type
        workers = count_workers(config.workers, device, accelerator.num_processes)
        ahead = {"prefetch_factor": 2, "multiprocessing_context": _context()} if workers else {}
        self.loader = DataLoader(
            TrainingBatches(source, config, shape, together),
            batch_size=None,
            sampler=FirstClips(config, step, together, *place),
            num_workers=workers,
            pin_memory=device == "cuda",
            worker_init_fn=_ignore_ctrl_c,
            generator=Generator(),  # else the loader would draw from torch's own
            **ahead,
        )
        self.iterator: Iterator[TrainingBatch] | None = None
        self.broken: set[str] = set()
        self.waiting, self.since = 0.0, time.monotonic()

    def __enter__(self) -> BatchStream:
        return self

    def __exit__(self, *_: object) -> None:
        self.iterator = None  # and its workers end

    def __iter__(self) -> BatchStream:
        return self

    def __next__(self) -> TrainingBatch:
        begin = time.monotonic()
        if self.iterator is None:
            with _signals_held():  # workers start now
                self.iterator = iter(self.loader)
        try:
            batch = next(self.iterator)
        except InputError as error:  # a worker's comes with its trace
            raise InputError(str(error).strip().rpartition("InputError: ")[2]) from None
        for path, reason in batch.broken:
            self._tell(path, reason)
        self.waiting += time.monotonic() - begin
        return batch

    def waited(self) -> float:
        """Share of the time since the last question that was spent on waiting for batches."""
        now = time.monotonic()
        share = self.waiting / max(now - self.since, 1e-9)
        self.waiting, self.since = 0.0, now
        return share

    def _tell(self, path: str, reason: str) -> None:
        """Warns of each broken video once."""
        if path not in self.broken:
            self.broken.add(path)
            log.warning("%s is passed over, the %d. so far: %s", path, len(self.broken), reason)


def count_workers(wanted: int, device: str, processes: int) -> int:
    """How many processes read for one that trains on such a device, beside others."""
    if wanted >= 0:
        return wanted
    if device == "cpu":
        return 0
    here = int(os.environ.get("LOCAL_WORLD_SIZE", processes))
    return min(MOST_WORKERS, max(1, (os.cpu_count() or 1) // here))


def _context() -> BaseContext:
    """How workers are started: not forked from a process that has threads, and maybe a GPU."""
    if "forkserver" not in multiprocessing.get_all_start_methods():
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__])  # imported once, its memory shared by all workers
    return context


@contextmanager
def _signals_held() -> Iterator[None]:
    """Ctrl-C and SIGTERM come afterwards, and never to what is started meanwhile.

    Both are often sent to all processes of a job. Who trains is asked to stop; it ends its workers,
    and what forks them, itself.
    """
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _ignore_ctrl_c(worker: int) -> None:
    """The same where signals cannot be held."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
