"""How long a training run will take, how much memory and disk: measured before it starts."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from itertools import cycle, islice
from statistics import mean
from typing import NamedTuple

import torch
from accelerate import Accelerator
from torch import Generator, Tensor

from decoder.training.batch import (
    MASK_CLIPS,
    MASK_KINDS,
    Batch,
    Examples,
    OnlineExamples,
    TrainConfig,
    draw_batch,
    draw_mask,
)
from decoder.training.prediction_cache import PredictionCache, gigabytes
from vjepa.config import ModelConfig
from vjepa.masks import MaskBatch

LONG_ENOUGH = 0.5
"""Seconds of work that tell how long it takes."""
DRAWN_MASKS = 64


def announce(
    config: TrainConfig,
    steps: int,
    rehearse: Callable[[list[Batch]], object],
    online: OnlineExamples,
    cache: PredictionCache | None,
    accelerator: Accelerator,
) -> None:
    """Says on stderr what a run will take.

    Args:
        config: of the run.
        steps: those that are left.
        rehearse: takes an optimizer step, of which nothing stays.
        online: asks the model.
        cache: where its answers will be kept, if they are.
        accelerator: says how many processes share the work.
    """
    count, said = accelerator.num_processes, []
    hidden = hidden_tokens(online.model.config, config.max_targets)
    step = step_seconds(config, rehearse, online, hidden, accelerator)
    uncached = cache.missing_clips if cache else 0
    if uncached:
        clip = clip_seconds(online, hidden, MASK_CLIPS, targets=1.0) / count
        size = gigabytes(cache.missing_bytes)
        said.append(f"cache: {uncached:,} clips, {size}, about {in_words(uncached * clip)}")
    if not cache:
        share = config.batch_size // count
        step += share * clip_seconds(
            online, hidden, min(share, MASK_CLIPS), targets=config.target_share
        )
    said.append(f"training: {steps:,} steps, about {in_words(steps * step)}")
    said[-1] += f" on {count} processes" if count > 1 else ""
    said.append(f"memory: {gigabytes(peak_memory())}")
    if accelerator.is_main_process:
        print("; ".join(said), file=sys.stderr)


def step_seconds(
    config: TrainConfig,
    rehearse: Callable[[list[Batch]], object],
    online: OnlineExamples,
    hidden: HiddenTokens,
    accelerator: Accelerator,
) -> float:
    """Of a whole step, with its noise and its optimizer, on as many tokens as masks hide.

    The step that warms up has as many as they hide at most, for the memory that it takes.
    """
    shape, dim = online.model.config, online.canvas.tubelet_dim

    def step(call: int) -> None:
        blank = BlankExamples(shape, dim, hidden.mean if call else hidden.most)
        rehearse(draw_batch(blank, shape.grid, config, call, accelerator))

    return seconds(step)


def clip_seconds(
    online: OnlineExamples, hidden: HiddenTokens, clips: int, *, targets: float
) -> float:
    """Of what the model is asked about a clip.

    Args:
        online: asks it.
        hidden: tokens of a clip.
        clips: that it is given at a time.
        targets: share of the clips whose true features are asked for too, 0..1.
    """

    def ask(call: int, *, true: bool, clips: int) -> None:
        online.ask(clips, hidden.of(clips, online.model.config), targets=true)

    begin = time.perf_counter()
    ask(0, true=True, clips=clips)  # as it will be: memory is known then
    few = clips if time.perf_counter() - begin < LONG_ENOUGH else 1
    predicted = seconds(partial(ask, true=False, clips=few))
    true = seconds(partial(ask, true=True, clips=few))
    return (predicted + targets * (true - predicted)) / few


def seconds(work: Callable[[int], object]) -> float:
    """Mean time of calls, which are given their number; the first only warms up."""
    taken: list[float] = []
    while len(taken) < 2 or sum(taken[1:]) < LONG_ENOUGH:
        begin = time.perf_counter()
        work(len(taken))
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        taken.append(time.perf_counter() - begin)
    return sum(taken[1:]) / len(taken[1:])


def in_words(duration: float) -> str:
    """Seconds as a person says them: 40 s, 12 min, 3 h 20 min."""
    minutes = round(duration / 60)
    if minutes < 2:
        return f"{max(1, round(duration))} s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min"


def peak_memory() -> int:
    """Bytes at most until now: of the GPU where there is one, else of this process."""
    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated()
    with suppress(ImportError):  # Windows has no such module
        import resource

        size = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return size if sys.platform == "darwin" else 1024 * size
    import psutil

    return psutil.Process().memory_info().peak_wset


class HiddenTokens(NamedTuple):
    """Of a clip, over all kinds of mask that a decoder learns from.

    Attributes:
        mean: rounded.
        most: of some dozens of masks.
        seen: visible ones, the mean.
    """

    mean: int
    most: int
    seen: int

    def of(self, clips: int, shape: ModelConfig) -> MaskBatch:
        """A mask that hides the mean."""
        order = torch.arange(shape.num_tokens).expand(clips, -1)
        return MaskBatch(order[:, : self.seen], order[:, self.seen :][:, : self.mean], "long")


def hidden_tokens(shape: ModelConfig, max_targets: int) -> HiddenTokens:
    """How many tokens of a clip masks hide, and leave visible."""
    generator, kinds = Generator().manual_seed(0), cycle(MASK_KINDS)
    drawn = [
        draw_mask(shape.grid, 1, max_targets, generator, kind)
        for kind in islice(kinds, DRAWN_MASKS)
    ]
    hidden = [mask.target_idx.shape[1] for mask in drawn]
    seen = [mask.context_idx.shape[1] for mask in drawn]
    return HiddenTokens(round(mean(hidden)), max(hidden), round(mean(seen)))


@dataclass(frozen=True)
class BlankExamples:
    """Made-up examples, of the size of real ones.

    Attributes:
        shape: of the model.
        tubelet_dim: numbers in a tubelet of the canvas.
        targets: hidden tokens of each clip.
    """

    shape: ModelConfig
    tubelet_dim: int
    targets: int

    def draw(
        self, step: int, condition: Tensor, mine: slice, generator: Generator
    ) -> list[Examples]:
        """As many as are asked for, a few at a time."""
        count = len(condition[mine])
        return [
            Examples(
                clean=torch.zeros(few, self.targets, self.tubelet_dim),
                features=torch.zeros(few, self.targets, self.shape.output_dim),
                target_idx=torch.arange(self.targets).expand(few, -1),
            )
            for few in (min(MASK_CLIPS, count - i) for i in range(0, count, MASK_CLIPS))
        ]
