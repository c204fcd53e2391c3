"""Settings of a pretraining run, and sets of them that have names: the published runs, and ours.

Source of the published ones: the configurations beside the official code (facebookresearch/jepa at
51c59d5, configs/pretrain), and the paper's table 8.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

import tyro

from vjepa.config import preset
from vjepa.data.clips import DEFAULT_FPS
from vjepa.errors import InputError
from vjepa.masks import ASPECT_RATIO, KINDS
from vjepa.training import RunConfig, cosine, linear, warmup_cosine

OBJECTIVES = ("dense", "predictor", "features", "pixels")
MOST_TOGETHER = 32
"""Clips whose masks are cut to one length where nobody says how many: more would leave short
contexts, because the shortest one counts."""
LEAST_TOGETHER = 8


@dataclass(frozen=True)
class PretrainConfig(RunConfig):
    """What a pretraining run is made of; the defaults are the bundled model's.

    Attributes:
        preset: shape of the model, one of `vjepa.config.SHAPES`.
        begin_with: a model to go on from instead, by name or path, with its own shape: `--from`.
        objective: what is predicted, one of `OBJECTIVES`: features of the hidden tokens (V-JEPA
            as published), of the visible ones too (dense, after V-JEPA 2.1), pixels, the baseline;
            or features by the predictor alone, whose encoder is the target encoder and stays as it
            is, as V-JEPA 2-AC's does: only with `--from`.
        mask_batch: clips whose masks are cut to one length (a GPU's share of the published runs);
            0: all of a step, or of its largest equal parts of at most 32.
        micro_batch: clips that a process computes at a time; 0: as many as it can, but for memory
            it makes no difference. The gradients of several are added up.
        future: share of the steps whose long-range masks hide the rest of the clip instead, after
            its first 1 to t / 2 time steps (the published code's `max_keep`).
        span: share of the steps whose long-range masks are boxes over a part of the time instead,
            as a person draws them: what was seen, and is then hidden, has to go on. Half of them
            lie around what moves.
        rarity: power with which tokens that are rare in their clip, as things on a floor are, count
            more in the loss (`vjepa.model.token_weights`); 0: all count alike, as published.
        max_targets: hidden tokens per clip and mask; fewer make a step cheaper, 0: all.
        start_lr: learning rate before the first step; a fifth of `lr` if not given.
        final_lr: learning rate that a cosine leads to after the warm-up.
        weight_decay: before the first step, and where a cosine leads to.
        ema: momentum of the target encoder at the first step, and where a line leads to.
        stretch: the schedules are those of a run that is so many times as long, and break off.
        crop_scale, crop_aspect: least and greatest area of the random crop, and width over height.
        fps, frame_step: frames a second of clips that are cut out of videos; or, when it is not 0,
            how many source frames apart they are, whatever their rate.
        clip_grad: largest norm of the gradient, of each network by itself.
        clip_after: steps before which no gradient is clipped.
        workers: processes that read and crop ahead, of each process that trains; -1: 8, or as many
            as there are cores, where a GPU trains, and none on a CPU.
        gradient_checkpointing: takes a third more time, and a fraction of the memory.
        compile: blocks are compiled.
    """

    least_targets: ClassVar[int] = 0

    batch_size: int = 16
    preset: str = "demo"
    begin_with: Annotated[str | None, tyro.conf.arg(name="from")] = None
    objective: str = "dense"
    mask_batch: int = 0
    micro_batch: int = 0
    future: float = 0.5
    span: float = 0.0
    rarity: float = 0.0
    max_targets: int = 96
    start_lr: float | None = None
    final_lr: float = 3e-5
    weight_decay: tuple[float, float] = (0.04, 0.04)
    ema: tuple[float, float] = (0.998, 0.9999)
    stretch: float = 1.0
    crop_scale: tuple[float, float] = (0.5, 1.0)
    crop_aspect: tuple[float, float] = (0.75, 1.35)
    fps: float = DEFAULT_FPS
    frame_step: int = 0
    clip_grad: float = 10.0
    clip_after: int = 0
    workers: int = -1
    gradient_checkpointing: bool = False
    compile: bool = False

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
        if self.rarity < 0 or (self.rarity and self.objective == "pixels"):
            raise InputError(
                f"rarity must be 0 or more, not {self.rarity}, and 0 where pixels are predicted."
            )
        if not (0 < self.crop_scale[0] <= self.crop_scale[1] <= 1):
            raise InputError(f"crop_scale must be two shares of the area, not {self.crop_scale}.")
        _require_rate(self)
        self.clips_together(1)

    @property
    def group(self) -> int:
        """Clips whose masks are cut to one length.

        Raises:
            InputError: the clips of a step are not made of such groups.
        """
        size = self.batch_size
        if not self.mask_batch:
            best = max(n for n in range(1, MOST_TOGETHER + 1) if size % n == 0)
            if best >= min(size, LEAST_TOGETHER):
                return best
        elif size % self.mask_batch == 0:
            return self.mask_batch
        raise InputError(
            f"batch_size ({size}) must be a multiple of mask_batch ({self.mask_batch or 'none'}), "
            "the clips whose masks are cut to one length: choose others, 24 is the published one."
        )

    def clips_together(self, processes: int) -> int:
        """Clips that a process computes at a time; a step's gradients are the same for any number.

        Args:
            processes: that share a step.

        Raises:
            InputError: numbers that do not divide.
        """
        share, rest = divmod(self.batch_size, processes)
        if rest:
            raise InputError(
                f"batch_size ({self.batch_size}) must be a multiple of the {processes} processes."
            )
        most = math.gcd(share, self.group)
        together = self.micro_batch or most
        if together < 1 or most % together:
            raise InputError(
                f"micro_batch ({self.micro_batch}) must divide {most}, a process's clips whose "
                "masks have one length."
            )
        return together

    def schedules(self, step: int) -> dict[str, float]:
        """Learning rate, weight decay and momentum of a step, the first of which is 0.

        As in the official code: rate and decay advance before the step, momentum after it, and all
        three are made for `stretch` times the steps.
        """
        steps = int(self.stretch * self.steps)
        start = self.lr / 5 if self.start_lr is None else self.start_lr
        bends = {"warmup": self.warmup, "start": start, "peak": self.lr, "end": self.final_lr}
        return {
            "lr": warmup_cosine(step + 1, steps, **bends),
            "weight_decay": cosine(step + 1, steps, *self.weight_decay),
            "momentum": linear(step, self.stretch * self.steps, *self.ema),
        }


def _require_rate(config: PretrainConfig) -> None:
    if not (config.fps > 0 and config.frame_step >= 0):
        raise InputError(
            f"fps must be positive and frame_step 0 or more, not {config.fps} and "
            f"{config.frame_step}."
        )
    if not (config.stretch >= 1 and config.clip_grad > 0):
        raise InputError(
            f"stretch must be 1 or more and clip_grad positive, not {config.stretch} and "
            f"{config.clip_grad}."
        )


IPE = 300
"""Steps of what the published configurations call an epoch."""
PUBLISHED = {
    "objective": "features",
    "future": 0.0,
    "max_targets": 0,
    "batch_size": 128 * 24,
    "mask_batch": 24,
    "precision": "bf16",
    "seed": 234,
    "workers": 12,
    "crop_scale": (0.3, 1.0),
    "crop_aspect": (0.75, 1.35),
    "frame_step": 4,
    "optimizer": "adamw",
    "steps": 300 * IPE,
    "warmup": 40 * IPE,
    "stretch": 1.25,
    "start_lr": 2e-4,
    "lr": 6.25e-4,
    "final_lr": 1e-6,
    "weight_decay": (0.04, 0.4),
    "ema": (0.998, 1.0),
    "clip_grad": 10.0,
    "clip_after": 41 * IPE,
    "save_every": IPE,
    "keep_every": 30 * IPE,
}
RECIPES: dict[str, dict[str, Any]] = {
    "demo": {},
    "physics": {"preset": "physics", "data": "runs/physics.npy", "future": 0.25, "span": 0.5},
    "predictor": {"objective": "predictor", "lr": 2e-3, "warmup": 60, "future": 0.2, "span": 0.7}
    | {"data": "runs/physics.npy", "crop_scale": (0.6, 1.0), "rarity": 1.5},
    "vitl16": PUBLISHED | {"preset": "vitl16"},
    "vith16": PUBLISHED | {"preset": "vith16"},
    "vith16-384": PUBLISHED | {"preset": "vith16-384", "batch_size": 240 * 10, "mask_batch": 10},
    "continue": PUBLISHED
    | {"batch_size": 96, "steps": 3000, "warmup": 300, "stretch": 1.0, "clip_after": 0}
    | {"start_lr": 1e-6, "lr": 7.5e-5, "weight_decay": (0.4, 0.4), "ema": (0.9996, 1.0)},
}
"""What each changes in the defaults. Of a published GPU's clips the masks are cut to one length,
and its clipping begins an epoch after the warm-up. "continue", which `--from` stands for, begins
with the rates that the published runs ended with."""


def described(config: PretrainConfig) -> dict[str, Any]:
    """All numbers of a run: its settings, its model's shape, its masks."""
    hidden = {"aspect_ratio": ASPECT_RATIO, "through_all_time": True}
    return {
        **config.settings(),
        "model": None if config.begin_with else preset(config.preset).to_dict(),
        "masks": [
            {"kind": kind, "num_blocks": count, "spatial_scale": scale, **hidden}
            for kind, (count, scale) in KINDS.items()
        ],
    }


def expanded(words: list[str]) -> list[str]:
    """A command line whose recipe is written out; what it says itself comes later, and counts.

    Raises:
        InputError: there is no such recipe.
    """
    name = _after(words, "--recipe") or ("continue" if _after(words, "--from") else "demo")
    if name not in RECIPES:
        raise InputError(f"There is no recipe {name!r}; choose one of {', '.join(RECIPES)}.")
    out = ["--out", f"runs/{name}"] if "--print" in words else []
    return [*out, *_as_words(RECIPES[name]), *words]


def _after(words: list[str], option: str) -> str | None:
    for word, following in zip(words, [*words[1:], None], strict=True):
        if word == option:
            return following
        if word.startswith(f"{option}="):
            return word.partition("=")[2]
    return None


def _as_words(recipe: dict[str, Any]) -> list[str]:
    words = []
    for name, value in recipe.items():
        values = value if isinstance(value, tuple) else (value,)
        words += [f"--{name.replace('_', '-')}", *map(str, values)]
    return words
