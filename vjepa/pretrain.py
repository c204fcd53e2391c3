"""Pretraining: the masked feature prediction of the paper, on one device or many.

The loop reads top-down: `pretrain` -> `_steps` -> `draw_batch`, `train_step`.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from accelerate import Accelerator
from timm.optim import param_groups_weight_decay
from torch import Generator, Tensor
from tqdm import tqdm

from vjepa import checkpoint, masks
from vjepa.analysis.collapse import effective_rank, feature_spread
from vjepa.augment import random_resized_crop
from vjepa.config import MASK_TYPES, preset
from vjepa.data.clips import normalize
from vjepa.data.sources import Source, open_source
from vjepa.errors import InputError
from vjepa.model import VJEPA, MaskBatch, normalize_features
from vjepa.run_folder import RunFolder, step_generator, write_recipe
from vjepa.schedules import cosine, linear, warmup_cosine


@dataclass(frozen=True)
class PretrainConfig:
    """What a pretraining run is made of; the defaults are the bundled model's.

    Attributes:
        out: folder of the run: metrics.jsonl, last.pt, and the model when it is done.
        preset: shape of the model, one of `vjepa.config.PRESETS`.
        data: "world", a .npy file of stored clips, or a folder of videos.
        levels: difficulties of the world, mixed equally.
        steps: optimizer steps.
        batch_size: clips a step, over all processes.
        lr: peak learning rate; a warm-up leads to it and a cosine to `final_lr`.
        final_lr: learning rate of the last step.
        warmup: steps of the warm-up.
        weight_decay: at the first and at the last step.
        ema: momentum of the target encoder at the first and at the last step.
        crop_scale: least and greatest area of the random resized crop.
        max_targets: hidden tokens predicted per clip and mask; fewer make the predictor cheaper.
        clip_grad: largest norm of the gradient.
        seed: of weights, data and masks.
        precision: "bf16" or "no" (float32).
        save_every: steps between checkpoints.
        log_every: steps between lines of metrics.
        resume: go on from last.pt in `out`.
    """

    out: Path
    preset: str = "demo"
    data: str = "world"
    levels: tuple[int, ...] = (0, 1, 2, 3, 4)
    steps: int = 4000
    batch_size: int = 32
    lr: float = 5e-4
    final_lr: float = 2e-5
    warmup: int = 300
    weight_decay: tuple[float, float] = (0.04, 0.04)
    ema: tuple[float, float] = (0.996, 0.9998)
    crop_scale: tuple[float, float] = (0.5, 1.0)
    max_targets: int = 96
    clip_grad: float = 10.0
    seed: int = 0
    precision: str = "bf16"
    save_every: int = 200
    log_every: int = 20
    resume: bool = False

    def __post_init__(self) -> None:
        for name in ("steps", "batch_size", "max_targets", "save_every", "log_every"):
            if getattr(self, name) < 1:
                raise InputError(f"{name} must be at least 1, not {getattr(self, name)}.")
        if self.precision not in ("bf16", "no"):
            raise InputError(f"precision must be bf16 or no, not {self.precision!r}.")
        preset(self.preset)


@dataclass
class Run:
    """What changes while a run goes on."""

    model: VJEPA
    optimizer: torch.optim.Optimizer
    step: int = 0

    def state(self) -> dict:
        """What a checkpoint holds."""
        return {
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "step": self.step,
        }


def start(config: PretrainConfig) -> Run:
    """A fresh model and its optimizer."""
    with torch.random.fork_rng():
        torch.manual_seed(config.seed)
        model = VJEPA(preset(config.preset))
    # biases and 1-D parameters are not decayed
    groups = param_groups_weight_decay(model, config.weight_decay[0])
    return Run(model, torch.optim.AdamW(groups, lr=config.lr, betas=(0.9, 0.999), fused=True))


def draw_masks(
    grid: masks.Grid, batch_size: int, max_targets: int, generator: Generator
) -> list[MaskBatch]:
    """Both mask types for a batch."""
    drawn = []
    for kind in MASK_TYPES:
        hidden = masks.multiblock_batch(grid, batch_size, kind, generator=generator)
        indices = masks.collate(hidden, generator=generator, max_targets=max_targets)
        drawn.append(MaskBatch(*indices, kind))
    return drawn


def draw_batch(
    source: Source, config: PretrainConfig, step: int, accelerator: Accelerator
) -> tuple[Tensor, list[MaskBatch]]:
    """This process's share of the step's clips and masks."""
    generator = step_generator(config.seed, step)
    frames = source.sample(config.batch_size, step_generator(config.seed, step, source.device))
    mine = slice(accelerator.process_index, None, accelerator.num_processes)
    frames = random_resized_crop(frames, config.crop_scale, generator=generator)
    clips = normalize(frames[mine].to(accelerator.device)).contiguous()
    grid = preset(config.preset).grid
    drawn = draw_masks(grid, config.batch_size, config.max_targets, generator)
    place = accelerator.device
    return clips, [
        MaskBatch(m.context_idx[mine].to(place), m.target_idx[mine].to(place), m.mask_type)
        for m in drawn
    ]


def train_step(
    run: Run,
    wrapped: torch.nn.Module,
    batch: tuple[Tensor, list[MaskBatch]],
    config: PretrainConfig,
    accelerator: Accelerator,
) -> dict[str, float]:
    """One optimizer step and one step of the moving average.

    Args:
        run: model and optimizer, changed in place.
        wrapped: the model as the accelerator prepared it.
        batch: clips and masks.
        config: gives the schedules.
        accelerator: precision and processes.

    Returns:
        loss (mean and by mask type), gradient norm, learning rate, momentum.
    """
    lr = warmup_cosine(
        run.step,
        config.steps,
        warmup=config.warmup,
        start=config.lr / 5,
        peak=config.lr,
        end=config.final_lr,
    )
    decay = cosine(run.step, config.steps, *config.weight_decay)
    momentum = linear(run.step, config.steps, *config.ema)
    for group in run.optimizer.param_groups:
        group["lr"] = lr
        group["weight_decay"] = decay if group["weight_decay"] else 0.0
    with accelerator.autocast():
        losses = wrapped(*batch)
    accelerator.backward(losses.mean())
    norm = accelerator.clip_grad_norm_(run.model.parameters(), config.clip_grad)
    run.optimizer.step()
    run.optimizer.zero_grad()
    run.model.update_target(momentum)
    run.step += 1
    by_type = {f"loss_{m.mask_type}": v.item() for m, v in zip(batch[1], losses, strict=True)}
    loss = accelerator.reduce(losses.detach().mean(), "mean").item()
    return {"loss": loss, **by_type, "grad_norm": float(norm), "lr": lr, "momentum": momentum}


@torch.no_grad()
def health(model: VJEPA, clips: Tensor) -> dict[str, float]:
    """Spread and effective rank of the targets: both fall when the features collapse."""
    features = normalize_features(model.encode(clips))
    return {"spread": feature_spread(features), "rank": effective_rank(features)}


def pretrain(config: PretrainConfig) -> Path:
    """Trains a model, with progress, metrics and checkpoints; returns the model's folder.

    Raises:
        InputError: the data or the run to resume is not there.
    """
    accelerator = Accelerator(mixed_precision=config.precision)
    shape = preset(config.preset)
    source = open_source(config.data, shape, levels=config.levels, device=accelerator.device)
    run = start(config)
    folder = RunFolder(config.out)
    state = folder.begin(resume=config.resume)
    if state:
        restore(run, state, str(folder.last))
    wrapped, run.optimizer = accelerator.prepare(run.model, run.optimizer)
    for metrics in _steps(run, wrapped, source, config, accelerator, folder):
        if accelerator.is_main_process:
            folder.log(metrics)
    if accelerator.is_main_process:
        checkpoint.save(run.model, config.out / "model")
        write_recipe(config.out / "model", config)
    return config.out / "model"


def restore(run: Run, state: dict, source: str) -> None:
    """Takes model, optimizer and step from a saved state."""
    checkpoint.fill(run.model, state["model"], source)
    run.optimizer.load_state_dict(state["optimizer"])
    run.step = state["step"]


def _steps(
    run: Run,
    wrapped: torch.nn.Module,
    source: Source,
    config: PretrainConfig,
    accelerator: Accelerator,
    folder: RunFolder,
) -> Iterator[dict[str, float]]:
    """Trains to the end; yields metrics every `log_every` steps."""
    clock, clips_seen = time.monotonic(), 0
    bar = tqdm(
        initial=run.step,
        total=config.steps,
        unit="step",
        disable=not accelerator.is_main_process,
    )
    while run.step < config.steps:
        batch = draw_batch(source, config, run.step, accelerator)
        metrics = train_step(run, wrapped, batch, config, accelerator)
        clips_seen += config.batch_size
        bar.update()
        bar.set_postfix(loss=f"{metrics['loss']:.3f}")
        if run.step % config.log_every == 0 or run.step == config.steps:
            with accelerator.autocast():
                metrics |= health(run.model, batch[0])
            speed = clips_seen / (time.monotonic() - clock)
            yield {"step": run.step, **metrics, "clips_per_second": speed}
        if run.step % config.save_every == 0 and accelerator.is_main_process:
            folder.save(run.state())
