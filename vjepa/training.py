"""The machinery of every training run: settings, loop, run folder, optimizers, schedules, health.

Schedules are pure functions of the step, and the randomness of a step depends on nothing but seed
and step: a resumed run follows the trajectory of one that was never stopped.
"""

from __future__ import annotations

import json
import math
import os
import pickle
import platform
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Protocol, runtime_checkable

import torch
from accelerate import Accelerator
from jaxtyping import Float
from timm.optim import Muon, param_groups_weight_decay
from timm.optim import muon as timm_muon
from torch import Generator, Tensor, nn
from tqdm import tqdm

from vjepa.errors import InputError
from vjepa.formats.files import default_device, default_dtype


@dataclass(frozen=True)
class RunConfig:
    """Settings of any training run.

    Attributes:
        out: folder of the run: metrics.jsonl, last.pt, and what was trained when it is done.
        data: "world", "pans", "bundled", a .npy file of stored clips, a folder of videos, a list
            of them, or several, as in "8*world+pans".
        levels: difficulties of the world, mixed equally.
        steps: optimizer steps.
        batch_size: clips a step, over all processes.
        optimizer: one of `vjepa.training.OPTIMIZERS`.
        lr: peak learning rate; Muon wants about five times AdamW's.
        warmup: steps that lead to it.
        max_targets: hidden tokens per clip and mask; fewer make a step cheaper.
        seed: of weights, data, masks and noise.
        precision: "auto" (bf16 where the machine computes in it), "bf16" or "no" (float32).
        save_every: steps between checkpoints.
        log_every: steps between lines of metrics.
        resume: go on from last.pt in `out`.
    """

    out: Path
    data: str = "world"
    levels: tuple[int, ...] = (0, 1, 2, 3, 4)
    steps: int = 4000
    batch_size: int = 32
    optimizer: str = "muon"
    lr: float = 3e-3
    warmup: int = 300
    max_targets: int = 128
    seed: int = 0
    precision: str = "auto"
    save_every: int = 200
    log_every: int = 20
    resume: bool = False

    def __post_init__(self) -> None:
        for name in ("steps", "batch_size", "max_targets", "save_every", "log_every"):
            if getattr(self, name) < 1:
                raise InputError(f"{name} must be at least 1, not {getattr(self, name)}.")
        if self.optimizer not in OPTIMIZERS:
            raise InputError(
                f"There is no optimizer {self.optimizer!r}; choose {' or '.join(OPTIMIZERS)}."
            )
        if self.precision not in ("auto", "bf16", "no"):
            raise InputError(f"precision must be auto, bf16 or no, not {self.precision!r}.")

    @property
    def mixed_precision(self) -> str:
        """As Accelerate takes it; bf16 that is emulated would take a hundred times as long."""
        if self.precision != "auto":
            return self.precision
        return "bf16" if default_dtype(default_device()) == torch.bfloat16 else "no"


@runtime_checkable
class TrainingState(Protocol):
    """What changes while a run goes on."""

    step: int

    def state(self) -> dict:
        """What a checkpoint holds."""
        ...


def step_generator(seed: int, step: int, device: str | torch.device = "cpu") -> Generator:
    """The generator of one step: its draws depend on nothing but seed and step.

    A checkpoint so needs no random state: a resumed run follows the trajectory of one that was
    never stopped.
    """
    return Generator(device).manual_seed(seed * 1_000_003 + step)


def train_steps(
    run: TrainingState,
    config: RunConfig,
    folder: RunFolder,
    accelerator: Accelerator,
    advance: Callable[[bool], dict[str, float]],
) -> None:
    """Takes steps to the end of the run, with progress, metrics and checkpoints.

    Args:
        run: counts its own steps.
        config: how many, and how often to log and to save.
        folder: where to.
        accelerator: tells the process that reports.
        advance: takes one step and gives its metrics; told whether they will be logged.
    """
    clock, first, main = time.monotonic(), run.step, accelerator.is_main_process
    bar = tqdm(initial=run.step, total=config.steps, unit="step", disable=not main)
    while run.step < config.steps:
        step = run.step + 1
        logs = step % config.log_every == 0 or step == config.steps
        metrics = advance(logs)
        bar.update()
        bar.set_postfix(loss=f"{metrics['loss']:.3f}")
        if logs and main:
            speed = (run.step - first) * config.batch_size / (time.monotonic() - clock)
            folder.log({"step": run.step, **metrics, "clips_per_second": speed})
        if run.step % config.save_every == 0 and main:
            folder.save(run.state())


def write_recipe(folder: Path, config: RunConfig) -> None:
    """Writes training.json beside a finished model: how it was made, and on what."""
    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else None
    recipe = {
        "config": json.loads(json.dumps(asdict(config), default=str)),
        "precision": config.mixed_precision,
        "hardware": gpu or f"{os.cpu_count()} CPU cores ({platform.machine()})",
        "torch": torch.__version__,
    }
    (folder / "training.json").write_text(json.dumps(recipe, indent=1) + "\n")


class RunFolder:
    """Metrics and the last checkpoint of a run.

    Args:
        path: the folder; made when it is missing.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.metrics = path / "metrics.jsonl"
        self.last = path / "last.pt"
        path.mkdir(parents=True, exist_ok=True)

    def begin(self, *, resume: bool) -> dict | None:
        """The state to go on from, or None for a fresh run.

        Raises:
            InputError: nothing to resume from, or a run that a fresh one would overwrite.
        """
        if not resume:
            if self.last.exists():
                raise InputError(
                    f"{self.path} holds a run already: add --resume to go on with it, "
                    "or choose another --out."
                )
            self.metrics.unlink(missing_ok=True)
            return None
        state = self._read()
        self._drop_metrics_after(state["step"])
        return state

    def log(self, metrics: dict[str, float]) -> None:
        """Appends one line of metrics, six digits each."""
        rounded = {name: float(f"{value:.6g}") for name, value in metrics.items()}
        with self.metrics.open("a") as file:
            file.write(json.dumps(rounded) + "\n")

    def save(self, state: dict) -> None:
        """Writes last.pt; an interrupted write leaves the one before."""
        partial = self.last.with_suffix(".partial")
        torch.save(state, partial)
        partial.rename(self.last)

    def _read(self) -> dict:
        if not self.last.is_file():
            raise InputError(f"{self.path} has no last.pt to resume from: start without --resume.")
        try:
            return torch.load(self.last, map_location="cpu", weights_only=True)
        except (pickle.UnpicklingError, RuntimeError, EOFError) as error:
            raise InputError(f"{self.last} is damaged: start again without --resume.") from error

    def _drop_metrics_after(self, step: int) -> None:
        with suppress(FileNotFoundError):
            lines = self.metrics.read_text().splitlines(keepends=True)
            kept = [line for line in lines if json.loads(line)["step"] <= step]
            self.metrics.write_text("".join(kept))


BETAS = (0.9, 0.999)
ORTHOGONALIZE = timm_muon.zeropower_via_newtonschulz
FALLBACK = 0.2
"""Muon's learning rate for what is no matrix of a block, relative to that for those."""


def adamw(model: nn.Module, lr: float, weight_decay: float) -> torch.optim.Optimizer:
    """AdamW, as published; biases and other 1-D parameters are not decayed."""
    groups = param_groups_weight_decay(model, weight_decay)
    return torch.optim.AdamW(groups, lr=lr, betas=BETAS, fused=True)


def muon(model: nn.Module, lr: float, weight_decay: float) -> torch.optim.Optimizer:
    """Muon (Jordan et al. 2024) for the matrices of the blocks, AdamW for the rest.

    An update of a matrix is orthogonalised: all its directions are learned equally fast.

    Args:
        model: has its blocks in module lists named `blocks`.
        lr: of those matrices, on AdamW's scale (Liu et al. 2025, "Muon is scalable for LLM
            training"); the rest has `FALLBACK` times as much.
        weight_decay: of what is not 1-D.
    """
    # timm orthogonalises in bf16; where that is emulated, it took four fifths of a step
    precise = partial(ORTHOGONALIZE, dtype=default_dtype(default_device()))
    timm_muon.zeropower_via_newtonschulz = precise
    names = {
        f"{name}.weight"
        for name, module in model.named_modules()
        if isinstance(module, nn.Linear) and "blocks" in name.split(".")
    }
    trained = [(name, p) for name, p in model.named_parameters() if p.requires_grad]
    rest = [p for name, p in trained if name not in names]
    groups = [
        {"params": [p for name, p in trained if name in names], "nesterov": True},
        {"params": [p for p in rest if p.ndim > 1], "use_fallback": True},
        {"params": [p for p in rest if p.ndim <= 1], "use_fallback": True, "weight_decay": 0.0},
    ]
    return Muon(groups, lr, weight_decay, fallback_lr_scale=FALLBACK, betas=BETAS)


OPTIMIZERS = {"muon": muon, "adamw": adamw}
"""By name: each takes a model, a learning rate and a weight decay."""


def linear(step: int, steps: int, start: float, end: float) -> float:
    """A straight line from `start` to `end`."""
    return start + (end - start) * min(step / max(steps, 1), 1.0)


def cosine(step: int, steps: int, start: float, end: float) -> float:
    """Half a cosine from `start` to `end`."""
    return end + (start - end) * (1 + math.cos(math.pi * min(step / max(steps, 1), 1.0))) / 2


def warmup_cosine(
    step: int, steps: int, *, warmup: int, start: float, peak: float, end: float
) -> float:
    """A line from `start` to `peak` over the warm-up, then half a cosine to `end`."""
    if step < warmup:
        return linear(step, warmup, start, peak)
    return cosine(step - warmup, steps - warmup, peak, end)


def feature_spread(features: Float[Tensor, "B N D"]) -> float:
    """Standard deviation over clips at the same position, averaged: 0 is collapse to positions."""
    return features.float().std(dim=0).mean().item()


def effective_rank(features: Float[Tensor, "B N D"]) -> float:
    """exp of the entropy of the singular values, positions' means removed.

    Source: Roy and Vetterli 2007, "The effective rank": how many
    directions are used; 1 is full collapse, D the most.
    """
    centred = (features.float() - features.float().mean(dim=0)).flatten(0, 1)  # (B N, D)
    singular = torch.linalg.eigvalsh(centred.T @ centred).clamp_min(0).sqrt()
    shares = singular / singular.sum().clamp_min(1e-12)
    return torch.exp(-(shares * shares.clamp_min(1e-12).log()).sum()).item()
