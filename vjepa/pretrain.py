"""Pretraining: masked feature prediction, as in the paper, on one device or many.

It reads top-down from `pretrain`: a run starts or resumes, and every step draws a batch and trains.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from accelerate import Accelerator
from torch import Tensor

from vjepa import checkpoint
from vjepa.baselines import PixelPrediction
from vjepa.config import preset
from vjepa.data.clips import normalize
from vjepa.data.sources import Source, open_source, random_resized_crop
from vjepa.errors import InputError
from vjepa.masks import MaskBatch, draw_masks
from vjepa.model import VJEPA, normalize_features
from vjepa.training import (
    OPTIMIZERS,
    RunConfig,
    RunFolder,
    cosine,
    effective_rank,
    feature_spread,
    linear,
    step_generator,
    train_steps,
    warmup_cosine,
    write_recipe,
)
from vjepa.vjepa2 import DenseVJEPA

OBJECTIVES = {"dense": DenseVJEPA, "features": checkpoint.fresh, "pixels": PixelPrediction}
"""What is predicted behind the masks, and the model that does it."""


@dataclass(frozen=True)
class PretrainConfig(RunConfig):
    """What a pretraining run is made of; the defaults are the bundled model's.

    Attributes:
        preset: shape of the model, one of `vjepa.config.SHAPES`.
        objective: what is predicted, one of `OBJECTIVES`: features of the hidden tokens (V-JEPA
            as published), of the visible ones too (dense, after V-JEPA 2.1), or pixels, the
            baseline.
        future: share of the steps whose long-range masks hide the rest of the clip instead, after
            its first 1 to t / 2 time steps (the published code's `max_keep`).
        span: share of the steps whose long-range masks are boxes over a part of the time instead,
            as a person draws them: what was seen, and is then hidden, has to go on.
        final_lr: learning rate of the last step; a cosine leads to it.
        weight_decay: at the first and at the last step.
        ema: momentum of the target encoder at the first and at the last step.
        crop_scale: least and greatest area of the random resized crop.
        clip_grad: largest norm of the gradient.
    """

    batch_size: int = 16
    preset: str = "demo"
    objective: str = "dense"
    future: float = 0.5
    span: float = 0.0
    max_targets: int = 96
    final_lr: float = 3e-5
    weight_decay: tuple[float, float] = (0.04, 0.04)
    ema: tuple[float, float] = (0.998, 0.9999)
    crop_scale: tuple[float, float] = (0.5, 1.0)
    clip_grad: float = 10.0

    def __post_init__(self) -> None:
        super().__post_init__()
        preset(self.preset)
        if min(self.future, self.span) < 0 or self.future + self.span > 1:
            raise InputError(
                f"future and span must be shares that add up to 1 at most, not {self.future} "
                f"and {self.span}."
            )
        if self.objective not in OBJECTIVES:
            raise InputError(
                f"There is no objective {self.objective!r}; choose {' or '.join(OBJECTIVES)}."
            )


@dataclass
class PretrainState:
    """What changes while a run goes on."""

    model: VJEPA | PixelPrediction
    optimizer: torch.optim.Optimizer
    step: int = 0

    def state(self) -> dict:
        """What a checkpoint holds."""
        return {
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "step": self.step,
        }


def start(config: PretrainConfig) -> PretrainState:
    """A fresh model and its optimizer."""
    with torch.random.fork_rng():
        torch.manual_seed(config.seed)
        model = OBJECTIVES[config.objective](preset(config.preset))
    return PretrainState(
        model, OPTIMIZERS[config.optimizer](model, config.lr, config.weight_decay[0])
    )


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
    shares = {"future": config.future, "span": config.span}
    drawn = draw_masks(grid, config.batch_size, config.max_targets, generator, **shares)
    own = [MaskBatch(m.context_idx[mine], m.target_idx[mine], m.mask_type) for m in drawn]
    return clips, [masks.to(accelerator.device) for masks in own]


def train_step(
    run: PretrainState,
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
def health(model: VJEPA | PixelPrediction, clips: Tensor) -> dict[str, float]:
    """Spread and effective rank of the layer-normed features; both fall in a collapse.

    A falling loss says nothing about whether features still tell clips apart.
    """
    features = normalize_features(model.encode(clips))
    return {"spread": feature_spread(features), "rank": effective_rank(features)}


def pretrain(config: PretrainConfig) -> Path:
    """Trains a model, with progress, metrics and checkpoints; returns the model's folder.

    Raises:
        InputError: the data or the run to resume is not there.
    """
    accelerator = Accelerator(mixed_precision=config.mixed_precision)
    shape = preset(config.preset)
    source = open_source(config.data, shape, levels=config.levels, device=accelerator.device)
    run = start(config)
    folder = RunFolder(config.out)
    state = folder.begin(resume=config.resume)
    if state:
        restore(run, state, str(folder.last))
    wrapped, run.optimizer = accelerator.prepare(run.model, run.optimizer)

    def advance(logs: bool) -> dict[str, float]:
        batch = draw_batch(source, config, run.step, accelerator)
        metrics = train_step(run, wrapped, batch, config, accelerator)
        if logs:
            with accelerator.autocast():
                metrics |= health(run.model, batch[0])
        return metrics

    train_steps(run, config, folder, accelerator, advance)
    if accelerator.is_main_process:
        checkpoint.save(run.model.trained(), config.out / "model")
        write_recipe(config.out / "model", config)
    return config.out / "model"


def restore(run: PretrainState, state: dict, origin: str) -> None:
    """Takes model, optimizer and step from a saved state."""
    checkpoint.fill(run.model, state["model"], origin)
    run.optimizer.load_state_dict(state["optimizer"])
    run.step = state["step"]
