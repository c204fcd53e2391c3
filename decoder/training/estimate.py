"""How long a training run will take, and how much disk: measured and told before it starts."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable

import torch
from accelerate import Accelerator

from decoder.network import TokenDecoder
from decoder.training.batch import Batch, OnlineExamples, TrainConfig, velocity_loss
from decoder.training.prediction_cache import PredictionCache, gigabytes
from vjepa.config import ModelConfig

TRIAL_CLIPS = 2
"""The model is asked about so many clips, twice, to say how long it will take."""


def announce(
    config: TrainConfig,
    steps: int,
    network: TokenDecoder,
    online: OnlineExamples,
    cache: PredictionCache | None,
    accelerator: Accelerator,
) -> None:
    """Says on stderr what a run will take.

    Args:
        config: of the run.
        steps: those that are left.
        network: what is trained; its weights stay as they are.
        online: asks the model.
        cache: where its answers will be kept, if they are.
        accelerator: says how many processes share the work.
    """
    count, shape = accelerator.num_processes, online.model.config
    uncached = cache.missing_clips if cache else 0
    batch = _blank_batch(shape, config.batch_size // count, config.max_targets, accelerator.device)
    step = seconds(lambda _: _try_step(network, batch, accelerator))
    said = []
    if uncached or not cache:
        clip = seconds(lambda trial: online.ask(TRIAL_CLIPS, seed=trial)) / TRIAL_CLIPS / count
    if uncached:
        size = gigabytes(cache.missing_bytes)
        said.append(f"cache: {uncached:,} clips, {size}, about {in_words(uncached * clip)}")
    if not cache:
        step += config.batch_size * clip
    said.append(f"training: {steps:,} steps, about {in_words(steps * step)}")
    said[-1] += f" on {count} processes" if count > 1 else ""
    if accelerator.is_main_process:
        print("; ".join(said), file=sys.stderr)


def seconds(work: Callable[[int], object]) -> float:
    """Time of the second of two calls, which are given their number; the first warms up."""
    for call in range(2):
        begin = time.perf_counter()
        work(call)
        if torch.cuda.is_available():
            torch.cuda.synchronize()
    return time.perf_counter() - begin


def in_words(duration: float) -> str:
    """Seconds as a person says them: 40 s, 12 min, 3 h 20 min."""
    minutes = round(duration / 60)
    if minutes < 2:
        return f"{max(1, round(duration))} s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min"


def _blank_batch(shape: ModelConfig, count: int, max_targets: int, device: torch.device) -> Batch:
    """A batch of the greatest size, of made-up numbers."""
    tokens = min(max_targets, shape.num_tokens - 1)
    pixels = torch.zeros(count, tokens, shape.tubelet_dim, device=device)
    return Batch(
        clean=pixels,
        noise=pixels,
        sigma=torch.ones(count, device=device),
        features=torch.zeros(count, tokens, shape.output_dim, device=device),
        target_idx=torch.arange(tokens, device=device).expand(count, -1),
        condition=torch.zeros(count, dtype=torch.long, device=device),
    )


def _try_step(network: TokenDecoder, batch: Batch, accelerator: Accelerator) -> None:
    """Forward and backward; the gradients are thrown away."""
    with accelerator.autocast():
        loss = velocity_loss(network.to(accelerator.device), batch)
    loss.backward()
    network.zero_grad()
