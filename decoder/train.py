"""Training the decoder on a frozen model's outputs, on one device or many.

Clean pixels are predicted and the loss is taken on the velocity (JiT, Li and He 2025): with
tubelets wider than the network, predicting noise or velocity fails.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from accelerate import Accelerator
from diffusers.training_utils import EMAModel
from jaxtyping import Float
from timm.optim import param_groups_weight_decay
from torch import Generator, Tensor

import vjepa
from decoder.network import SOURCES, TokenDecoder
from decoder.noise import draw_noise
from decoder.pipeline import make_pipeline, velocity
from decoder.pixels import to_tubelets
from vjepa import checkpoint, masks
from vjepa.data.clips import normalize
from vjepa.data.sources import Source, open_source
from vjepa.errors import InputError
from vjepa.grid import take
from vjepa.model import VJEPA, normalize_features
from vjepa.run_folder import RunFolder, write_recipe
from vjepa.schedules import warmup_cosine
from vjepa.training import RunConfig, step_generator, train_steps

LEAST_SIGMA = 0.05
"""Training draws no less noise: the velocity's error grows with 1 / sigma."""


@dataclass(frozen=True)
class TrainConfig(RunConfig):
    """What a decoder's training run is made of; the defaults are the bundled decoder's.

    Attributes:
        model: the frozen model, by name or path.
        width, depth, num_heads: size of the network.
        weight_decay: of matrices.
        ema: greatest momentum of the averaged weights, which are the ones that are kept.
        feature_noise: noise on the condition, against drift of the predictor.
        target_share, null_share: samples conditioned on true features, and on nothing.
    """

    model: str = "demo"
    width: int = 256
    depth: int = 4
    num_heads: int = 4
    steps: int = 3000
    lr: float = 1e-3
    warmup: int = 100
    weight_decay: float = 0.01
    ema: float = 0.999
    feature_noise: float = 0.1
    target_share: float = 0.25
    null_share: float = 0.1

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.width % self.num_heads:
            raise InputError(f"width ({self.width}) must be a multiple of num_heads.")


@dataclass(frozen=True)
class Batch:
    """One step's material for the decoder."""

    clean: Float[Tensor, "B M P"]
    noise: Float[Tensor, "B M P"]
    sigma: Float[Tensor, " B"]
    features: Float[Tensor, "B M D"]
    target_idx: Tensor
    source: Tensor

    @property
    def noisy(self) -> Float[Tensor, "B M P"]:
        """The clean tubelets, noised to each sample's sigma."""
        sigma = self.sigma[:, None, None]
        return (1 - sigma) * self.clean + sigma * self.noise


@dataclass
class Run:
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


def start(config: TrainConfig, model: VJEPA) -> Run:
    """A fresh network, its moving average and its optimizer."""
    shape = model.config
    with torch.random.fork_rng():
        torch.manual_seed(config.seed)
        network = TokenDecoder(
            grid=shape.grid,
            tubelet_dim=shape.tubelet_dim,
            feature_dim=shape.embed_dim,
            width=config.width,
            depth=config.depth,
            num_heads=config.num_heads,
        )
    average = EMAModel(
        network.parameters(), decay=config.ema, use_ema_warmup=True, power=0.75, foreach=True
    )
    groups = param_groups_weight_decay(network, config.weight_decay)
    optimizer = torch.optim.AdamW(groups, lr=config.lr, betas=(0.9, 0.99), fused=True)
    return Run(network, average, optimizer)


def restore(run: Run, state: dict, source: str) -> None:
    """Takes network, average, optimizer and step from a saved state."""
    checkpoint.fill(run.network, state["network"], source)
    run.average.load_state_dict(state["average"])
    run.optimizer.load_state_dict(state["optimizer"])
    run.step = state["step"]


def draw_mask(
    grid: masks.Grid, batch_size: int, max_targets: int, generator: Generator
) -> tuple[str, tuple[Tensor, Tensor]]:
    """A batch of masks of one kind, any that a person may draw: (mask type, indices)."""
    names = list(masks.PRESETS)
    name = names[int(torch.randint(len(names), (), generator=generator))]
    drawn = torch.stack([masks.make(name, grid, generator) for _ in range(batch_size)])
    mask_type = "short" if name == "short" else "long"
    return mask_type, masks.collate(drawn, generator=generator, max_targets=max_targets)


@torch.no_grad()
def draw_batch(
    source: Source, model: VJEPA, config: TrainConfig, step: int, accelerator: Accelerator
) -> Batch:
    """This process's share of the step: clips, the frozen model's features, noise."""
    generator = step_generator(config.seed, step)
    device, count = accelerator.device, config.batch_size
    frames = source.sample(count, step_generator(config.seed, step, source.device)).to(device)
    mask_type, indices = draw_mask(model.grid, count, config.max_targets, generator)
    context_idx, target_idx = (idx.to(device) for idx in indices)
    sigma = draw_sigma(count, generator)
    condition = _draw_sources(config, count, generator)
    clean = to_tubelets(frames, target_idx, model.config)
    noise = draw_noise(model.grid, clean.shape[-1], target_idx.cpu(), generator)
    drift = torch.randn(*clean.shape[:2], model.config.embed_dim, generator=generator)
    clips = normalize(frames).to(model.dtype)
    features = _features(model, clips, context_idx, target_idx, mask_type, condition.to(device))
    features = features + config.feature_noise * drift.to(device)
    mine = slice(accelerator.process_index, None, accelerator.num_processes)
    return Batch(
        *(
            tensor[mine].to(device)
            for tensor in (clean, noise, sigma, features, target_idx, condition)
        )
    )


def draw_sigma(count: int, generator: Generator) -> Float[Tensor, " count"]:
    """Noise levels: logit-normal, and a quarter near 1.

    Every sample starts at pure noise, and a sample of one step never leaves it: a logit-normal
    alone hardly goes there, and what the network has not learned there shows as blotches.
    """
    sigma = torch.sigmoid(torch.randn(count, generator=generator) + 0.8).clamp_min(LEAST_SIGMA)
    high = 1 - 0.2 * torch.rand(count, generator=generator).square()
    return torch.where(torch.rand(count, generator=generator) < 0.25, high, sigma)


def _draw_sources(config: TrainConfig, count: int, generator: Generator) -> Tensor:
    draw = torch.rand(count, generator=generator)
    source = torch.full((count,), SOURCES["predicted"])
    source[draw < config.target_share + config.null_share] = SOURCES["target"]
    source[draw < config.null_share] = SOURCES["null"]
    return source


def _features(
    model: VJEPA, clips: Tensor, context_idx: Tensor, target_idx: Tensor, mask_type: str, source
) -> Float[Tensor, "B M D"]:
    """Each sample's condition: the predictions, or the layer-normed targets."""
    context = model.encode_context(clips, context_idx)
    features = model.predict(context, context_idx, target_idx, mask_type).float()
    true = source == SOURCES["target"]
    if true.any():
        encoded = normalize_features(model.encode(clips[true]).float())
        features[true] = take(encoded, target_idx[true])
    return features


def velocity_loss(network: torch.nn.Module, batch: Batch) -> Float[Tensor, ""]:
    """Mean squared error of the velocity that the predicted clean tubelets imply."""
    clean = network(batch.noisy, batch.sigma, batch.features, batch.target_idx, batch.source)
    guess = velocity(batch.noisy, clean.float(), batch.sigma)
    return (guess - (batch.noise - batch.clean)).square().mean()


def train_step(
    run: Run,
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
        InputError: the model, the data or the run to resume is not there.
    """
    accelerator = Accelerator(mixed_precision=config.precision)
    model = vjepa.load(config.model, device=accelerator.device)
    source = open_source(config.data, model.config, levels=config.levels, device=accelerator.device)
    run = start(config, model)
    folder = RunFolder(config.out)
    state = folder.begin(resume=config.resume)
    if state:
        restore(run, state, str(folder.last))
    run.average.to(accelerator.device)
    wrapped, run.optimizer = accelerator.prepare(run.network, run.optimizer)

    def advance(_: bool) -> dict[str, float]:
        batch = draw_batch(source, model, config, run.step, accelerator)
        return train_step(run, wrapped, batch, config, accelerator)

    train_steps(run, config, folder, accelerator, advance)
    if accelerator.is_main_process:
        export(run, config.out / "decoder")
        write_recipe(config.out / "decoder", config)
    return config.out / "decoder"


def export(run: Run, folder: Path) -> None:
    """Writes the averaged weights as a pipeline folder, in float16."""
    run.average.copy_to(run.network.parameters())
    make_pipeline(run.network.half()).save_pretrained(folder)
