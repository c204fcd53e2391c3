"""Training the decoder on what a frozen model says, on one device or many.

Clean pixels are predicted and the loss is taken on the velocity (JiT, Li and He 2025): with
tubelets wider than the network, predicting noise or velocity fails.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path

import torch
from accelerate import Accelerator, InitProcessGroupKwargs
from diffusers import AutoencoderKL
from diffusers.training_utils import EMAModel

import vjepa
from decoder.canvas import Canvas, Latents, Pixels, open_vae
from decoder.network import TokenDecoder
from decoder.pairing import short_name
from decoder.pipeline import make_pipeline
from decoder.training.batch import (
    Batch,
    Material,
    OnlineExamples,
    TrainConfig,
    VelocityLoss,
    draw_batch,
)
from decoder.training.estimate import announce
from decoder.training.prediction_cache import CacheKey, PredictionCache, which_videos
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


def start(config: TrainConfig, model: VJEPA, canvas: Canvas | None = None) -> DecoderState:
    """A network for this model, its moving average and its optimizer.

    Args:
        config: of the run.
        model: whose features are decoded.
        canvas: what is drawn on; pixels when None.
    """
    shape, canvas = model.config, canvas or Pixels(model.config)
    with torch.random.fork_rng():
        torch.manual_seed(config.seed)
        network = TokenDecoder(
            grid=shape.grid,
            tubelet_dim=canvas.tubelet_dim,
            feature_dim=shape.output_dim,
            **config.network_size._asdict(),
            tubelet_size=shape.tubelet_size,
            overlap=config.overlap if canvas.is_bytes else 0,
            model_fingerprint=checkpoint.Fingerprint(model).mark,
            model_name=short_name(config.model),
        )
    if config.recomputes:
        network.enable_gradient_checkpointing()
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
    objective: torch.nn.Module,
    batches: Sequence[Batch],
    config: TrainConfig,
    accelerator: Accelerator,
) -> dict[str, float]:
    """One optimizer step and one step of the moving average; returns loss, norm and rate.

    Args:
        run: is changed.
        objective: a `VelocityLoss` around its network.
        batches: of the step, or of this process's share.
        config: of the run.
        accelerator: joins the processes.
    """
    metrics = _optimize(run, objective, batches, config, accelerator)
    return metrics | {"loss": accelerator.reduce(metrics["loss"], "mean").item()}


def _optimize(
    run: DecoderState,
    objective: torch.nn.Module,
    batches: Sequence[Batch],
    config: TrainConfig,
    accelerator: Accelerator,
) -> dict:
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
        loss = objective(batches)
    accelerator.backward(loss)
    norm = accelerator.clip_grad_norm_(run.network.parameters(), 1.0)
    run.optimizer.step()
    run.optimizer.zero_grad()
    run.average.step(run.network.parameters())
    run.step += 1
    return {"loss": loss.detach(), "grad_norm": float(norm), "lr": lr}


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
    grid, vae = model.grid, open_vae(config.vae, accelerator.device) if config.vae else None
    canvas = Latents(vae, model.config) if vae else Pixels(model.config)
    folder = RunFolder(config.out, config.settings(), main=accelerator.is_main_process)
    state = folder.begin(resume=config.resume, change=config.change)
    left = config.steps - (state["step"] if state else 0)
    material = _open_material(config, left, model, canvas, accelerator)
    run = start(config, model, canvas)
    if state:
        restore(run, state, str(folder.last))
    run.network.to(accelerator.device)
    run.average.to(accelerator.device)
    del model, state  # a cache has its answers: its memory is free for training
    objective, run.optimizer = accelerator.prepare(VelocityLoss(run.network), run.optimizer)

    def advance(_: bool) -> dict[str, float]:
        batches = draw_batch(material, grid, config, run.step, accelerator)
        return train_step(run, objective, batches, config, accelerator)

    train_steps(run, config, folder, accelerator, advance)
    if accelerator.is_main_process:
        export(run, config.out / "decoder", vae)
        write_recipe(config.out / "decoder", config, folder.changes)
    return config.out / "decoder"


def _check_processes(config: TrainConfig, accelerator: Accelerator) -> None:
    if config.batch_size % accelerator.num_processes:
        raise InputError(
            f"batch_size ({config.batch_size}) must be a multiple of the "
            f"{accelerator.num_processes} processes."
        )


def _open_material(
    config: TrainConfig,
    steps: int,
    model: VJEPA,
    canvas: Canvas,
    accelerator: Accelerator,
) -> Material:
    """The model's answers, online or from a cache, which is filled after an estimate."""
    shape, device = model.config, accelerator.device
    source = open_source(config.data, shape, levels=config.levels, device=device)
    online = OnlineExamples(source, model, canvas, config.max_targets)
    if not config.cache_clips:
        _announce(config, steps, online, None, accelerator)
        return online
    key = CacheKey(
        model_fingerprint=checkpoint.Fingerprint(model).mark,
        image_size=shape.image_size,
        num_frames=shape.num_frames,
        data=config.data,
        videos=which_videos(config.data),
        canvas="pixels" if canvas.is_bytes else checkpoint.fingerprint(canvas.vae),
        levels=config.levels,
        max_targets=config.max_targets,
        seed=config.seed,
    )
    with accelerator.main_process_first():
        cache = PredictionCache(
            config.cache or config.out / "cache", key, shape, canvas, config.cache_clips
        )
    _announce(config, steps, online, cache, accelerator)
    cache.make(model, source, accelerator)
    return cache


def _announce(
    config: TrainConfig,
    steps: int,
    online: OnlineExamples,
    cache: PredictionCache | None,
    accelerator: Accelerator,
) -> None:
    """Says what the run will take, after steps of a network of which nothing stays."""
    run = start(replace(config, begin_with=None), online.model, online.canvas)
    run.network.to(accelerator.device)
    run.average.to(accelerator.device)
    objective = VelocityLoss(run.network)

    def rehearse(batches: Sequence[Batch]) -> None:
        _optimize(run, objective, batches, config, accelerator)

    announce(config, steps, rehearse, online, cache, accelerator)


def export(run: DecoderState, folder: Path, vae: AutoencoderKL | None = None) -> None:
    """Writes the averaged weights as a pipeline folder, in float16, with its autoencoder."""
    run.average.copy_to(run.network.parameters())
    make_pipeline(run.network.half(), vae).save_pretrained(folder)


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
