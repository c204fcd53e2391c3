"""The machinery of every training run: settings, loop, optimizers, schedules, health.

Schedules are pure functions of the step, and the randomness of a step depends on nothing but seed
and step: a resumed run follows the trajectory of one that was never stopped.
"""

from __future__ import annotations

import json
import math
import os
import platform
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import ClassVar, Protocol, runtime_checkable

import torch
from accelerate import Accelerator
from jaxtyping import Float
from timm.optim import Muon, param_groups_weight_decay
from timm.optim import muon as timm_muon
from torch import Generator, Tensor, nn
from torch.utils.checkpoint import checkpoint
from tqdm import tqdm

from vjepa.errors import InputError
from vjepa.formats.files import default_device, default_dtype
from vjepa.runs import RunFolder, StopSign
from vjepa.storage import replacing, require_room


@dataclass(frozen=True)
class RunConfig:
    """Settings of any training run.

    Attributes:
        out: folder of the run: metrics.jsonl, last.pt, and what was trained when it is done.
        data: "world", "pans", "bundled", a .npy file of stored clips, a folder of videos, a list
            of them, or several, as in "8*world+pans+still:pans" (of which nothing moves).
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
        keep_every: steps between checkpoints that are kept, in `out`/snapshots; 0: none is.
        log_every: steps between lines of metrics.
        resume: go on from last.pt in `out`, with the settings that it was made with.
        change: settings, by name, that may be others when a run goes on; what changed is recorded.
    """

    least_targets: ClassVar[int] = 1

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
    keep_every: int = 0
    log_every: int = 20
    resume: bool = False
    change: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        least = {"steps": 1, "batch_size": 1, "save_every": 1, "log_every": 1, "keep_every": 0}
        for name, number in (least | {"max_targets": self.least_targets}).items():
            if getattr(self, name) < number:
                raise InputError(f"{name} must be at least {number}, not {getattr(self, name)}.")
        if self.optimizer not in OPTIMIZERS:
            raise InputError(
                f"There is no optimizer {self.optimizer!r}; choose {' or '.join(OPTIMIZERS)}."
            )
        if self.precision not in ("auto", "bf16", "no"):
            raise InputError(f"precision must be auto, bf16 or no, not {self.precision!r}.")

    def settings(self) -> dict:
        """All of them, as plain JSON values."""
        return json.loads(json.dumps(asdict(self), default=str))

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
    advance: Callable[[bool], Mapping[str, Tensor | float]],
) -> None:
    """Takes steps to the end of the run, with progress, metrics and checkpoints.

    Asked to end (Ctrl-C, SIGTERM), the run ends after the step that it is at, and saves it.

    Args:
        run: counts its own steps.
        config: how many, and how often to log and to save.
        folder: where to.
        accelerator: tells the process that reports.
        advance: takes one step and gives its metrics; told whether they will be looked at, in the
            same steps by all processes.

    Raises:
        InputError: the loss is no number any more, or a checkpoint cannot be written.
        StoppedError: the run was asked to end.
    """
    if accelerator.is_main_process:
        write_recipe(config.out, config, folder.changes)
        _require_room(run, config.out)
    clock, first, main = time.monotonic(), run.step, accelerator.is_main_process
    bar = tqdm(initial=run.step, total=config.steps, unit="step", disable=not main)
    with bar, StopSign(accelerator.num_processes) as stop:
        while run.step < config.steps:
            step = run.step + 1
            logs = step % config.log_every == 0 or step == config.steps
            keeps = bool(config.keep_every) and step % config.keep_every == 0
            saves = keeps or step % config.save_every == 0
            metrics = advance(logs or saves)
            bar.update()
            if logs or saves:
                metrics = {name: float(value) for name, value in metrics.items()}
                bar.set_postfix(loss=f"{metrics['loss']:.3f}")
                _require_number(metrics["loss"], step)
            if logs and main:
                speed = (run.step - first) * config.batch_size / (time.monotonic() - clock)
                folder.log({"step": run.step, **metrics, "clips_per_second": speed})
            stops = stop.agreed()
            if (saves or stops) and main:
                folder.save(run.state(), keep=keeps)
            if stops:
                stop.stop(run.step)


def _require_room(run: TrainingState, folder: Path) -> None:
    """A checkpoint is written beside the one before; a fresh one lacks the optimizer's averages."""
    size = _bytes(run.state())
    require_room(folder, size if run.step else 4 * size, "checkpoints")


def _bytes(state: object) -> int:
    """Memory of all tensors in nested dictionaries and lists."""
    if isinstance(state, Tensor):
        return state.nbytes
    if isinstance(state, dict):
        state = list(state.values())
    return sum(map(_bytes, state)) if isinstance(state, list | tuple) else 0


def _require_number(loss: float, step: int) -> None:
    if not math.isfinite(loss):
        raise InputError(
            f"The loss is {loss} at step {step}, and the checkpoint before was kept: go on from it "
            "with --resume, a lower --lr and --change lr."
        )


def write_recipe(folder: Path, config: RunConfig, changes: Sequence[dict] = ()) -> None:
    """Writes training.json: how a run is made, and on what.

    Args:
        folder: of the run, or of the model that came of it.
        config: its settings.
        changes: of the settings, on the way.
    """
    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else None
    recipe = {
        "config": config.settings(),
        "changes": list(changes),
        "precision": config.mixed_precision,
        "hardware": gpu or f"{os.cpu_count()} CPU cores ({platform.machine()})",
        "torch": torch.__version__,
    }
    with replacing(folder / "training.json") as file:
        file.write_text(json.dumps(recipe, indent=1) + "\n", encoding="utf-8")


def prepare_blocks(model: nn.Module, *, gradient_checkpointing: bool, compiled: bool) -> None:
    """Changes how the blocks of a transformer are computed, and no result.

    Args:
        model: has its blocks in module lists named `blocks`; changed in place.
        gradient_checkpointing: what is inside of a block is computed again for the gradients, so
            that memory holds the activations between blocks alone.
        compiled: each block is compiled, which takes a minute once.
    """
    for name, block in model.named_modules():
        if "blocks" in name.split(".")[-2:-1]:
            if gradient_checkpointing:
                block.forward = partial(checkpoint, block.forward, use_reentrant=False)
            if compiled:
                block.compile(dynamic=True)


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


def linear(step: int, steps: float, start: float, end: float) -> float:
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
    if not features.isfinite().all():
        return math.nan
    centred = (features.float() - features.float().mean(dim=0)).flatten(0, 1)  # (B N, D)
    singular = torch.linalg.eigvalsh(centred.T @ centred).clamp_min(0).sqrt()
    shares = singular / singular.sum().clamp_min(1e-12)
    return torch.exp(-(shares * shares.clamp_min(1e-12).log()).sum()).item()
