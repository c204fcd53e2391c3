"""Training the decoder on what a frozen model says, on one device or many.

Clean pixels are predicted and the loss is taken on the velocity (JiT, Li and He 2025): with
tubelets wider than the network, predicting noise or velocity fails.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import torch
from accelerate import Accelerator, InitProcessGroupKwargs
from diffusers.training_utils import EMAModel

import vjepa
from decoder.network import TokenDecoder
from decoder.pairing import short_name
from decoder.pipeline import make_pipeline
from decoder.training.batch import (
    Batch,
    Material,
    OnlineExamples,
    TrainConfig,
    draw_batch,
    velocity_loss,
)
from decoder.training.estimate import announce
from decoder.training.prediction_cache import CacheKey, PredictionCache
from vjepa import checkpoint
from vjepa.data.sources import open_source
from vjepa.errors import InputError
from vjepa.model import VJEPA
from vjepa.runs import RunFolder
from vjepa.training import OPTIMIZERS, train_steps, warmup_cosine, write_recipe


@dataclass
class DecoderState:
    """What changes while a run goes on."""

    network: TokenDecoder
    average: EMAModel
    optimizer: torch.optim.Optimizer
    step: int = 0

    def state(self) -> dict:
        """What a checkpoint holds."""
        return {
            "network": self.network.state_dict(),
            "average": self.average.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "step": self.step,
        }


def start(config: TrainConfig, model: VJEPA) -> DecoderState:
    """A network for this model, its moving average and its optimizer."""
    shape = model.config
    with torch.random.fork_rng():
        torch.manual_seed(config.seed)
        network = TokenDecoder(
            grid=shape.grid,
            tubelet_dim=shape.tubelet_dim,
            feature_dim=shape.output_dim,
            width=config.width,
            depth=config.depth,
            num_heads=config.num_heads,
            tubelet_size=shape.tubelet_size,
            overlap=config.overlap,
            model_fingerprint=checkpoint.fingerprint(model),
            model_name=short_name(config.model),
        )
    if config.begin_with:
        take_over(network, config.begin_with)
    average = EMAModel(
        network.parameters(), decay=config.ema, use_ema_warmup=True, power=0.75, foreach=True
    )
    optimizer = OPTIMIZERS[config.optimizer](network, config.lr, config.weight_decay)
    return DecoderState(network, average, optimizer)


def restore(run: DecoderState, state: dict, origin: str) -> None:
    """Takes network, average, optimizer and step from a saved state."""
    checkpoint.fill(run.network, state["network"], origin)
    run.average.load_state_dict(state["average"])
    run.optimizer.load_state_dict(state["optimizer"])
    run.step = state["step"]


def train_step(
    run: DecoderState,
    wrapped: torch.nn.Module,
    batch: Batch,
    config: TrainConfig,
    accelerator: Accelerator,
) -> dict[str, float]:
    """One optimizer step and one step of the moving average; returns loss, norm and rate."""
    lr = warmup_cosine(
        run.step,
        config.steps,
        warmup=config.warmup,
        start=config.lr / 10,
        peak=config.lr,
        end=config.lr / 100,
    )
    for group in run.optimizer.param_groups:
        group["lr"] = lr
    with accelerator.autocast():
        loss = velocity_loss(wrapped, batch)
    accelerator.backward(loss)
    norm = accelerator.clip_grad_norm_(run.network.parameters(), 1.0)
    run.optimizer.step()
    run.optimizer.zero_grad()
    run.average.step(run.network.parameters())
    run.step += 1
    mean_loss = accelerator.reduce(loss.detach(), "mean").item()
    return {"loss": mean_loss, "grad_norm": float(norm), "lr": lr}


def train(config: TrainConfig) -> Path:
    """Trains a decoder, with progress, metrics and checkpoints; returns its folder.

    Raises:
        InputError: the model, the data or the run to resume is not there, the model predicts
            nothing, or the disk is full.
    """
    patient = InitProcessGroupKwargs(timeout=timedelta(hours=6))  # while others fill the cache
    accelerator = Accelerator(mixed_precision=config.mixed_precision, kwargs_handlers=[patient])
    _check_processes(config, accelerator)
    size = {"num_frames": config.num_frames, "image_size": config.image_size}
    model = vjepa.load(config.model, device=accelerator.device, **size)
    checkpoint.require_predictor(model.config)
    grid = model.grid
    run = start(config, model)
    folder = RunFolder(config.out, config.settings(), main=accelerator.is_main_process)
    state = folder.begin(resume=config.resume, change=config.change)
    if state:
        restore(run, state, str(folder.last))
    material = _open_material(config, run, model, accelerator)
    del model  # a cache has its answers: its memory is free for training
    run.average.to(accelerator.device)
    wrapped, run.optimizer = accelerator.prepare(run.network, run.optimizer)

    def advance(_: bool) -> dict[str, float]:
        batch = draw_batch(material, grid, config, run.step, accelerator)
        return train_step(run, wrapped, batch, config, accelerator)

    train_steps(run, config, folder, accelerator, advance)
    if accelerator.is_main_process:
        export(run, config.out / "decoder")
        write_recipe(config.out / "decoder", config, folder.changes)
    return config.out / "decoder"


def _check_processes(config: TrainConfig, accelerator: Accelerator) -> None:
    if config.batch_size % accelerator.num_processes:
        raise InputError(
            f"batch_size ({config.batch_size}) must be a multiple of the "
            f"{accelerator.num_processes} processes."
        )


def _open_material(
    config: TrainConfig, run: DecoderState, model: VJEPA, accelerator: Accelerator
) -> Material:
    """The model's answers, online or from a cache, which is filled after an estimate."""
    shape, device = model.config, accelerator.device
    source = open_source(config.data, shape, levels=config.levels, device=device)
    online = OnlineExamples(source, model, config.max_targets)
    left = config.steps - run.step
    if not config.cache_clips:
        announce(config, left, run.network, online, None, accelerator)
        return online
    key = CacheKey(
        model_fingerprint=checkpoint.fingerprint(model),
        image_size=shape.image_size,
        num_frames=shape.num_frames,
        data=config.data,
        levels=config.levels,
        max_targets=config.max_targets,
        seed=config.seed,
    )
    with accelerator.main_process_first():
        cache = PredictionCache(
            config.cache or config.out / "cache", key, shape, config.cache_clips
        )
    announce(config, left, run.network, online, cache, accelerator)
    cache.make(model, source, accelerator)
    return cache


def export(run: DecoderState, folder: Path) -> None:
    """Writes the averaged weights as a pipeline folder, in float16."""
    run.average.copy_to(run.network.parameters())
    make_pipeline(run.network.half()).save_pretrained(folder)


log = logging.getLogger(__name__)


def take_over(network: TokenDecoder, folder: Path) -> None:
    """Copies what has the same name and shape from the decoder in a folder.

    Raises:
        InputError: there is no decoder, or nothing of it fits.
    """
    try:
        found = TokenDecoder.from_pretrained(folder / "network").state_dict()
    except (OSError, ValueError) as error:
        raise InputError(f"{folder} holds no decoder to begin with: {error}") from error
    fresh = network.state_dict()
    fits = {name: t for name, t in found.items() if name in fresh and t.shape == fresh[name].shape}
    if not fits:
        raise InputError(f"Nothing of the decoder in {folder} fits one of this size.")
    network.load_state_dict(fits, strict=False)
    anew = sorted(fresh.keys() - fits.keys())
    log.warning("Taken over from %s; learned anew: %s.", folder, ", ".join(anew) or "nothing")
