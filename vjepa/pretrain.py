"""Pretraining: masked feature prediction, as in the paper, on one device or many.

It reads top-down from `pretrain`: a run starts or resumes, and every step takes its batches and
trains.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterable
from contextlib import nullcontext
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path

import torch
from accelerate import Accelerator, DistributedDataParallelKwargs
from jaxtyping import Float
from torch import Tensor

from vjepa import checkpoint
from vjepa.baselines import PixelPrediction
from vjepa.batches import BatchStream, TrainingBatch
from vjepa.data.sources import Source
from vjepa.model import VJEPA, normalize_features
from vjepa.recipes import PretrainConfig
from vjepa.runs import RunFolder
from vjepa.training import (
    OPTIMIZERS,
    effective_rank,
    feature_spread,
    prepare_blocks,
    train_steps,
    write_recipe,
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

    def restore(self, state: dict, origin: str) -> None:
        """Takes model, optimizer and step from a saved state."""
        checkpoint.fill(self.model, state["model"], origin)
        self.optimizer.load_state_dict(state["optimizer"])
        self.step = state["step"]


def pretrain(config: PretrainConfig, model: VJEPA | PixelPrediction, source: Source) -> Path:
    """Trains a model, with progress, metrics and checkpoints; returns the model's folder.

    Args:
        config: settings of the run.
        model: fresh or published, as `vjepa.beginning.begin` opens it; changed in place.
        source: of its clips.

    Raises:
        InputError: the run to resume is not there, or was made with other settings; numbers that
            do not divide; no video can be read; the disk is full.
        StoppedError: the run was asked to end, and saved.
    """
    buffers = DistributedDataParallelKwargs(broadcast_buffers=False)  # positions never change
    accelerator = Accelerator(mixed_precision=config.mixed_precision, kwargs_handlers=[buffers])
    together = config.clips_together(accelerator.num_processes)
    decay = max(config.weight_decay)  # which parameters have one; how much, each step says
    run = PretrainState(model, OPTIMIZERS[config.optimizer](model, config.lr, decay))
    folder = RunFolder(config.out, config.settings(), main=accelerator.is_main_process)
    state = folder.begin(resume=config.resume, change=config.change)
    if state:
        run.restore(state, str(folder.last))
    prepare_blocks(
        model, gradient_checkpointing=config.gradient_checkpointing, compiled=config.compile
    )
    with warnings.catch_warnings():  # newer torch has another name for what stops the broadcasts
        warnings.filterwarnings("ignore", message=".*broadcast_buffers")
        wrapped, run.optimizer = accelerator.prepare(model, run.optimizer)
    count = config.batch_size // accelerator.num_processes // together
    with BatchStream(source, config, model.config, run.step, accelerator) as batches:

        def advance(looks: bool) -> dict[str, Tensor | float]:
            first = next(batches)
            step = chain([first], islice(batches, count - 1))
            losses, metrics = train_step(run, wrapped, step, count, config, accelerator)
            if looks:
                metrics |= mean_losses(losses, first, accelerator)
                metrics |= {"data_wait": batches.waited()}
                with accelerator.autocast():
                    metrics |= health(model, first.to_model(accelerator.device)[0])
            return metrics

        train_steps(run, config, folder, accelerator, advance)
    if accelerator.is_main_process:
        checkpoint.save(model.trained(), config.out / "model")
        write_recipe(config.out / "model", config, folder.changes)
    accelerator.end_training()
    return config.out / "model"


def train_step(
    run: PretrainState,
    wrapped: torch.nn.Module,
    batches: Iterable[TrainingBatch],
    count: int,
    config: PretrainConfig,
    accelerator: Accelerator,
) -> tuple[Float[Tensor, " K"], dict[str, Tensor | float]]:
    """One optimizer step and one step of the moving average.

    Nothing waits for the device.

    Args:
        run: model and optimizer, changed in place.
        wrapped: the model as the accelerator prepared it.
        batches: of this process; their gradients are added up.
        count: how many they are.
        config: gives the schedules.
        accelerator: precision and processes.

    Returns:
        this process's mean loss by mask type; norms of the gradients, and the schedules.
    """
    rates = config.schedules(run.step)
    for group in run.optimizer.param_groups:
        group["lr"] = rates["lr"]
        group["weight_decay"] = rates["weight_decay"] if group["weight_decay"] else 0.0
    losses = []
    for place, batch in enumerate(batches, start=1):
        clips, masks = batch.to_model(accelerator.device)
        with nullcontext() if place == count else accelerator.no_sync(wrapped):
            with accelerator.autocast():
                losses.append(wrapped(clips, masks))
            accelerator.backward(losses[-1].mean() / count)
    norms = clip_gradients(run, config, accelerator)
    run.optimizer.step()
    run.optimizer.zero_grad()
    run.model.update_target(rates["momentum"])
    run.step += 1
    return torch.stack(losses).detach().mean(0), norms | rates


def clip_gradients(
    run: PretrainState, config: PretrainConfig, accelerator: Accelerator
) -> dict[str, Tensor]:
    """Clips each network's gradient by its own norm, and gives the norms."""
    most = config.clip_grad if run.step >= config.clip_after else math.inf
    norms = {}
    for name, part in run.model.named_children():
        trained = [p for p in part.parameters() if p.grad is not None]
        if trained:
            norms[f"{name}_norm"] = accelerator.clip_grad_norm_(trained, most)
    return norms | {"grad_norm": torch.stack(list(norms.values())).norm()}


def mean_losses(
    losses: Float[Tensor, " K"], batch: TrainingBatch, accelerator: Accelerator
) -> dict[str, Tensor]:
    """The loss over all processes, and by mask type."""
    losses = accelerator.reduce(losses, "mean")
    by_type = zip(batch.masks, losses, strict=True)
    return {"loss": losses.mean(), **{f"loss_{m.mask_type}": loss for m, loss in by_type}}


@torch.no_grad()
def health(model: VJEPA | PixelPrediction, clips: Tensor) -> dict[str, float]:
    """Spread and effective rank of the layer-normed features; both fall in a collapse.

    A falling loss says nothing about whether features still tell clips apart.
    """
    features = normalize_features(model.encode(clips))
    return {"spread": feature_spread(features), "rank": effective_rank(features)}
