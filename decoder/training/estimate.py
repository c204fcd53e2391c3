"""How long a training run will take, how much memory and disk: measured before it starts."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

import torch
from accelerate import Accelerator
from torch import Generator, Tensor

from decoder.training.batch import (
    MASK_CLIPS,
    Batch,
    Examples,
    OnlineExamples,
    TrainConfig,
    draw_batch,
    draw_mask,
)
from decoder.training.prediction_cache import PredictionCache, gigabytes
from vjepa import masks
from vjepa.config import ModelConfig

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
    step = step_seconds(config, rehearse, online, accelerator)
    uncached = cache.missing_clips if cache else 0
    if uncached:
        clip = clip_seconds(online, targets=1.0) / count
        size = gigabytes(cache.missing_bytes)
        said.append(f"cache: {uncached:,} clips, {size}, about {in_words(uncached * clip)}")
    if not cache:
        step += config.batch_size * clip_seconds(online, config.target_share) / count
    said.append(f"training: {steps:,} steps, about {in_words(steps * step)}")
    said[-1] += f" on {count} processes" if count > 1 else ""
    said.append(f"memory: {gigabytes(peak_memory())}")
    if accelerator.is_main_process:
        print("; ".join(said), file=sys.stderr)


def step_seconds(
    config: TrainConfig,
    rehearse: Callable[[list[Batch]], object],
    online: OnlineExamples,
    accelerator: Accelerator,
) -> float:
    """Of a whole step, with its noise and its optimizer, on as many tokens as masks hide."""
    shape = online.model.config
    blank = BlankExamples(shape, online.canvas.tubelet_dim, mean_targets(shape, config.max_targets))

    def step(call: int) -> None:
        rehearse(draw_batch(blank, shape.grid, config, call, accelerator))

    return seconds(step)


def clip_seconds(online: OnlineExamples, targets: float) -> float:
    """Of what the model is asked about a clip; `targets` is the share whose true features are."""
    kinds, clips = list(masks.MASKS), MASK_CLIPS if _is_fast(online) else 1

    def ask(call: int, *, true: bool) -> None:
        online.ask(clips, kinds[call % len(kinds)], targets=true)

    predicted = seconds(lambda call: ask(call, true=False))
    true = seconds(lambda call: ask(call, true=True))
    return (predicted + targets * (true - predicted)) / clips


def _is_fast(online: OnlineExamples) -> bool:
    begin = time.perf_counter()
    online.ask(1, "random", targets=False)
    return time.perf_counter() - begin < 1.0


def seconds(work: Callable[[int], object]) -> float:
    """Mean time of calls, which are given their number; a first short one only warms up."""
    taken: list[float] = []
    while sum(taken) < LONG_ENOUGH:
        begin = time.perf_counter()
        work(len(taken))
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        taken.append(time.perf_counter() - begin)
    rest = taken[1:] or taken
    return sum(rest) / len(rest)


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


def mean_targets(shape: ModelConfig, max_targets: int) -> int:
    """How many tokens a clip's mask hides, over all kinds of mask."""
    generator, kinds = Generator().manual_seed(0), list(masks.MASKS)
    counts = [
        draw_mask(shape.grid, 1, max_targets, generator, kinds[i % len(kinds)]).target_idx.shape[1]
        for i in range(DRAWN_MASKS)
    ]
    return round(sum(counts) / len(counts))


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
