"""What every training run has in common: settings, the loop, its randomness."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, runtime_checkable

import torch
from accelerate import Accelerator
from torch import Generator
from tqdm import tqdm

from vjepa.errors import InputError
from vjepa.optimizer import OPTIMIZERS
from vjepa.run_folder import RunFolder


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
        optimizer: one of `vjepa.optimizer.OPTIMIZERS`.
        lr: peak learning rate; Muon wants about five times AdamW's.
        warmup: steps that lead to it.
        max_targets: hidden tokens per clip and mask; fewer make a step cheaper.
        seed: of weights, data, masks and noise.
        precision: "bf16" or "no" (float32).
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
    precision: str = "bf16"
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
        if self.precision not in ("bf16", "no"):
            raise InputError(f"precision must be bf16 or no, not {self.precision!r}.")


@runtime_checkable
class Run(Protocol):
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
    run: Run,
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
